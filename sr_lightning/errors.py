"""Exceptions that end a run with a message or a status; any other is a bug and shows its traceback."""

from sr_lightning.text import printable


class _MessageError(Exception):
    """An exception whose message is safe to print on a terminal."""

    def __str__(self) -> str:
        return printable(super().__str__())


class UserError(_MessageError):
    """The user's input is wrong: a config key, a path, a file. Exit status 2, no traceback.

    The message names the key or file, what was found and what is allowed.
    """


class FailedError(_MessageError, RuntimeError):
    """A run cannot deliver what was asked for; the message explains why. Exit status 1, no traceback."""


class TrainingFailedError(FailedError):
    """Training cannot continue."""


class InterruptedRun(BaseException):
    """A signal stopped the run after its state was saved; Hydra, which catches Exception only, lets it pass."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_status = 128 + signal_number
