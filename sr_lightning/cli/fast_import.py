"""Faster imports of large frameworks, with garbage collection paused."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing(module: str) -> Iterator[None]:
    """Pauses garbage collection during an import, and excludes the imported objects from all later collections.

    Importing lightning creates a million long-lived objects. Traversing them repeatedly during the import costs a tenth
    of the time, and every full collection during training would traverse all of them again. If the module has already
    been imported, nothing is done, so that objects that are garbage by then are not kept alive.

    Args:
        module: Module that the body of the `with` block is expected to import.
    """
    if module in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # otherwise triton's bindings report leaks at exit
        gc.enable()
