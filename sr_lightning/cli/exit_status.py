"""Message and exit status of a command: 0 success, 2 wrong input, 1 failure, 130 or 143 interrupted."""

from __future__ import annotations

import errno
import re
import sys
import traceback
from collections.abc import Callable

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from sr_lightning.errors import FailedError, InterruptedRun, UserError
from sr_lightning.text import printable


def exit_status(program: str, run: Callable[[], int]) -> int:
    """Runs a command, reporting user mistakes and expected failures in one message, and bugs with a traceback.

    Args:
        program: The command as the user calls it, for messages.
        run: Function that runs the command and returns the exit status.
    """
    try:
        return run()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        _tell(f"{program}: the input is wrong\n{re.sub('^', '  ', str(error), flags=re.MULTILINE)}")
        return 2
    except FailedError as error:
        _tell(f"{program}: {error}")
        return 1
    except InterruptedRun as stopped:
        return stopped.exit_status
    except KeyboardInterrupt:
        _tell("interrupted")
        return 130
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            traceback.print_exc()
            return 1
        _tell(f"{program}: the input is wrong\n  {str(error.filename)[:80]}… is longer than a file's name may be")
        return 2
    except Exception:
        traceback.print_exc()
        return 1


def _tell(message: str) -> None:
    print(printable(message), file=sys.stderr, flush=True)
