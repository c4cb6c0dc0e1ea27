"""What every command sets up first: environment variables, output that any terminal takes, the user's code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sr_lightning.config.conf_files import register_resolvers
from sr_lightning.text import tolerate_encodings


@contextmanager
def prepared_environment() -> Iterator[None]:
    """Prepares the process for a command, and takes the folder of the user's code away afterwards."""
    # Errors of composition and of jobs come through as they are, not as text printed by Hydra with status 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    for name in ("SR_DATA", "SR_CACHE"):  # set to nothing means not set, as in a shell
        if not os.environ.get(name, "unset"):
            del os.environ[name]
    register_resolvers()
    tolerate_encodings()
    with _working_folder_importable():
        yield


@contextmanager
def _working_folder_importable() -> Iterator[None]:
    """`python -m` looks for modules in the working folder, a console script such as `sr-train` does not."""
    folder = os.getcwd()
    if sys.flags.safe_path or folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
