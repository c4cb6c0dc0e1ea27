"""Frameworks imported as fast as they can be."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing(module: str) -> Iterator[None]:
    """Keeps the garbage collector out of an import, and the modules out of every collection to come.

    Importing lightning makes a million objects that stay. Looking through them again and again while they are made
    costs a tenth of its time, and every full collection in training would look through all of them once more.
    Where the module is there already, nothing is done: what is garbage by then must not be kept.

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
        atexit.register(gc.unfreeze)  # triton's binding complains of what is not taken down in the end
        gc.enable()
