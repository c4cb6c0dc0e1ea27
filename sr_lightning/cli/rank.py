"""One rank of a multi-process run: `python -m sr_lightning.cli.rank <command> <run folder> <parent> <locks>`.

It runs the whole job from a file of plain data, so it does not matter how the command itself was started: with `-m`,
through a console script, inside a sweep or by a launcher plugin.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import re
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sr_lightning.cli.commands import COMMANDS, RunConfig
from sr_lightning.distributed.environment import ranks
from sr_lightning.distributed.parent import end_with_parent
from sr_lightning.errors import FailedError, InterruptedRun, UserError
from sr_lightning.runs.lock import inherit_locks
from sr_lightning.runs.run import Run
from sr_lightning.text import Formatter, is_for_screen, tolerate_encodings

RANKS = "ranks"
"""Subfolder of the run folder with the job and the report of each rank."""


def write_job(config: RunConfig, run: Run) -> None:
    """Writes what each process needs to `<run folder>/ranks/job.json`."""
    plain = {"config": asdict(config), "run": run.to_plain()}
    (run.folder / RANKS / "job.json").write_text(json.dumps(plain), encoding="utf-8")


def remove_job(folder: Path) -> None:
    """Removes the files of a job and its ranks; if their folder holds anything else, that and the folder are kept."""
    for path in (folder / RANKS).iterdir():
        if re.fullmatch(r"job\.json|rank\d+\.(json|log)", path.name) and not path.is_dir():
            path.unlink()
    with contextlib.suppress(OSError):  # the folder holds something else
        (folder / RANKS).rmdir()


def read_job(folder: Path, name: str) -> tuple[RunConfig, Run]:
    """Returns the config and the run written by `write_job`."""
    plain: dict[str, Any] = json.loads((folder / RANKS / "job.json").read_text(encoding="utf-8"))
    return COMMANDS[name].config_from_plain(plain["config"]), Run.from_plain(plain["run"])


def _log_to(folder: Path, name: str, rank: int) -> None:
    console = logging.StreamHandler(sys.stdout)
    console.setFormatter(Formatter("%(message)s"))
    console.addFilter(is_for_screen)
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, handlers=[console])
    if rank == 0:
        file = logging.FileHandler(folder / f"{name}.log", encoding="utf-8")
        file.setFormatter(Formatter("[%(asctime)s][%(name)s][%(levelname)s] %(message)s"))
        logging.getLogger().addHandler(file)


def main() -> int:
    """Runs the job, writes its objective or its error to `rank<n>.json`, and returns the exit status."""
    end_with_parent(int(sys.argv[3]))
    inherit_locks(int(lock) for lock in sys.argv[4:])
    name, folder, rank = sys.argv[1], Path(sys.argv[2]), ranks().rank
    report = folder / RANKS / f"rank{rank}.json"
    tolerate_encodings()
    _log_to(folder, name, rank)
    config, run = read_job(folder, name)
    task = getattr(importlib.import_module(f"sr_lightning.{name}"), name)
    try:
        report.write_text(json.dumps({"objective": task(config, run)}), encoding="utf-8")
    except InterruptedRun as stopped:
        return stopped.exit_status
    except (UserError, FailedError) as error:
        report.write_text(json.dumps({"type": type(error).__name__, "message": str(error)}), encoding="utf-8")
        return 2 if isinstance(error, UserError) else 1
    except Exception as error:
        traceback.print_exc()
        report.write_text(json.dumps({"type": "", "message": f"process {rank}: {error}"}), encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: after a failure, threads of the process group may still wait for the other ranks.
    os._exit(status)
