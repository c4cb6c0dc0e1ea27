"""Process setup shared by all commands: environment variables, terminal-safe output, access to the user's code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sr_lightning.config.conf_files import register_resolvers
from sr_lightning.text import tolerate_encodings


@contextmanager
def prepared_environment() -> Iterator[None]:
    """Prepares the process for a command; afterwards, removes the folder of the user's code from the import path."""
    # Errors from composition and jobs are raised unchanged, rather than printed by Hydra with exit status 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    for name in ("SR_DATA", "SR_CACHE"):  # empty means unset, as in a shell
        if not os.environ.get(name, "unset"):
            del os.environ[name]
    register_resolvers()
    tolerate_encodings()
    with _working_folder_importable():
        yield


@contextmanager
def _working_folder_importable() -> Iterator[None]:
    """Makes the working folder importable, as `python -m` does and a console script such as `sr-train` does not."""
    folder = os.getcwd()
    if sys.flags.safe_path or folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
