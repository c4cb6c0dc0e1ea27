"""Messages for machine failures: disks, memory, data loader processes."""

from __future__ import annotations

import errno
from pathlib import Path

from sr_lightning.errors import is_out_of_memory

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SAVES_MEMORY = (
    "a smaller data.patch_size or a smaller network, and with trainer.accumulate_grad_batches=2 at the same "
    "data.batch_size"
)
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EISDIR)


def explain(error: Exception, folder: Path, *, saves_memory: str = _SAVES_MEMORY) -> str | None:
    """Returns a message for the user; None if the cause is not the machine and the traceback is more informative.

    Args:
        error: The exception that ended the run.
        folder: The run's folder.
        saves_memory: Advice for when there is not enough memory.
    """
    if (full := _full_disk(error)) is not None:
        return f"{full.filename or folder}: no space is left to write ({full.strerror})"
    if isinstance(error, OSError) and error.errno in _GONE and _lies_in(error.filename, folder):
        return f"{error.filename}: cannot be written any more ({error.strerror}): was the run's folder moved away?"
    if is_out_of_memory(error):
        said = (str(error).splitlines() or ["MemoryError"])[0]
        return f"not enough memory ({said}); less is needed with {saves_memory}"
    if str(error).startswith("DataLoader worker"):
        return f"data: {str(error).splitlines()[0]}; data.num_workers=0 does without such processes"
    return None


def _full_disk(error: BaseException | None) -> OSError | None:
    """Finds the system's own error; torch raises another one while closing the file that it could not write."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return error
        error = error.__cause__ or error.__context__
    return None


def _lies_in(name: object, folder: Path) -> bool:
    return isinstance(name, str) and Path(name).absolute().is_relative_to(folder.absolute())
