"""Imports of large frameworks without the garbage collector's share of the time."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing(module: str) -> Iterator[None]:
    """Keeps the garbage collector out of an import, and the modules out of every collection to come.

    Importing lightning makes a million objects that stay. Traversing them again and again while they are made costs a
    tenth of the time, and every full collection during training would traverse all of them once more. Where the module
    has been imported already, nothing is done: what is garbage by then must not be kept.

    Args:
        module: What the body is expected to import.
    """
    if module in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # else triton's binding reports leaks at exit
        gc.enable()
