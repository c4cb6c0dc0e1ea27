"""The ways a run ends early on purpose; anything else is a bug and shows its traceback."""

from sr_lightning.text import printable


class _ToldError(Exception):
    """Its message is for a terminal."""

    def __str__(self) -> str:
        return printable(super().__str__())


class UserError(_ToldError):
    """The user's input is wrong: a config key, a path, a file. Exit status 2, no traceback.

    The message names the key or file, what was found and what is allowed.
    """


class FailedError(_ToldError, RuntimeError):
    """A run cannot give all that was asked for, for a reason that the message explains. Exit status 1, no traceback."""


class TrainingFailedError(FailedError):
    """Training cannot go on."""


class InterruptedRun(BaseException):
    """A signal stopped the run after it saved its state; passes through Hydra, which catches Exception only."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_status = 128 + signal_number
