"""Exceptions that end a run with a message or an exit status; any other is a bug and shows its traceback."""

import sysconfig
import traceback
from pathlib import Path

from sr_lightning.text import printable, shown

_NOT_THE_USERS = (Path(__file__).resolve().parent, Path(sysconfig.get_paths()["stdlib"]).resolve())


class _MessageError(Exception):
    """An exception whose message is safe to print to a terminal."""

    def __str__(self) -> str:
        return printable(super().__str__())


class UserError(_MessageError):
    """The user's input is wrong: a config key, a path, a file. Exit status 2, no traceback.

    The message names the key or file, what was found and what is allowed.
    """


class FailedError(_MessageError, RuntimeError):
    """A run cannot deliver what was requested; the message explains why. Exit status 1, no traceback."""


class TrainingFailedError(FailedError):
    """Training cannot continue."""


class InterruptedRun(BaseException):
    """A signal stopped the run; Hydra only catches Exception, so it passes through.

    Args:
        signal_number: The signal.
        is_told: Whether the user has been told, since the state was saved, or by the process that the signal reached.
    """

    def __init__(self, signal_number: int, *, is_told: bool = False) -> None:
        super().__init__(signal_number)
        self.exit_status = 128 + signal_number
        self.is_told = is_told


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the machine or the GPU ran out of memory, which torch reports in several ways."""
    if isinstance(error, FailedError):  # its message may mention memory, but needs no further explanation
        return False
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # without importing torch
        return True
    signs = (
        *("can't allocate memory", "Cannot allocate memory", "out of memory"),
        *("ALLOC_FAILED", "ALLOCATION_FAILED", "unable to find an engine"),  # cuDNN's, cuBLAS's and cuFFT's
    )
    return any(sign in str(error) for sign in signs)


def user_place(error: BaseException) -> str | None:
    """Finds the innermost line of the user's own code that an error passed through.

    Returns:
        `mynet.py:12, in forward`; None if only this package, Python and installed packages were involved, so that the
        error is not the user's mistake.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        is_library = {"site-packages", "dist-packages"} & set(path.parts)
        if path.is_file() and not is_library and not any(path.resolve().is_relative_to(own) for own in _NOT_THE_USERS):
            return f"{shown(path)}:{frame.lineno}, in {frame.name}"
    return None


def one_line(error: BaseException) -> str:
    """Formats an error as its type and the first line of its message: `KeyError: 'width'`."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
