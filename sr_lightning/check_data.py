"""Command `check_data`: finds everything that is wrong with the images before a run starts."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_lightning.cli.main import run_command
from sr_lightning.config.check_data import CheckDataConfig
from sr_lightning.config.containers import as_list
from sr_lightning.errors import UserError
from sr_lightning.files import write_atomically
from sr_lightning.text import Table, counted, printable

if TYPE_CHECKING:
    from sr_lightning.data.inspection.report import Report, SetSpec

_SHOWN = 20  # findings shown of each kind; the file lists all


def check_data(config: CheckDataConfig) -> None:
    """Checks the data sets of a config, or any other folders; shows the findings and writes all of them to a file.

    Args:
        config: The validated config.

    Raises:
        UserError: Something is wrong with the images.
    """
    report = _check(config)
    _show(report)
    write_atomically(config.output, json.dumps(report.as_json(), indent=1) + "\n")
    if report.wrong:
        raise UserError(f"{counted(len(report.wrong), 'finding')}, listed above and in {config.output}")
    print(f"nothing is wrong; {config.output}")


def _check(config: CheckDataConfig) -> Report:
    from sr_lightning.data.files import EXTENSIONS
    from sr_lightning.data.inspection.checker import DataCheck

    data, folders = config.train.data, config.folders
    specs = _specs(data) if folders is None else _folders(folders)
    if folders is None and data.get("shards"):
        print("packed training images are not looked at: `pack` did, and a run warns of those that are tested on")
    if folders is None and data.get("source"):
        print("training images of data.source are not looked at: they are no folder")
    check = DataCheck(
        scales=config.train.scale,
        patch_size=data.get("patch_size", 32) if folders is None else None,
        on_small=data.get("on_small", "error"),
        on_bad_image=data.get("on_bad_image", "error"),
        extensions=data.get("extensions") or EXTENSIONS,
        exclude=(data.get("exclude_files") or ()) if folders is None else (),
        holdout=0 if data.get("val") or folders is not None else data.get("val_holdout", 0),
    )
    return check.run(specs)


def _folders(folders: list[str]) -> list[SetSpec]:
    from sr_lightning.data.inspection.report import SetSpec

    return [SetSpec("folder", Path(folder).name, folder, "check_data.folders") for folder in folders]


def _specs(data: dict[str, Any]) -> list[SetSpec]:
    from sr_lightning.data.inspection.report import SetSpec

    folders, lr = (as_list(data.get(key)) for key in ("train_dir", "train_lr_dir"))
    if lr and len(lr) != len(folders):
        raise UserError(f"data.train_lr_dir: found {len(lr)} folders for {len(folders)} in data.train_dir")
    files = tuple(data["train_files"]) if data.get("train_files") else None
    specs = [
        SetSpec("train", Path(folder).name, folder, "data.train_dir", lr[i] if lr else None, files)
        for i, folder in enumerate(folders)
    ]
    for role in ("val", "test"):
        for name, entry in (data.get(role) or {}).items():
            entry = entry if isinstance(entry, dict) else {"hr": entry}
            files = tuple(entry["files"]) if entry.get("files") else None
            specs.append(SetSpec(role, name, entry["hr"], f"data.{role}.{name}", entry.get("lr"), files))
    return specs


def _show(report: Report) -> None:
    table = Table(
        ["set", "used for", "images", "smallest", "largest", "format, mode"], ["images", "smallest", "largest"]
    )
    for s in report.sets:
        count = str(s.pictures) if s.readable == s.pictures else f"{s.readable} of {s.pictures}"
        modes = ", ".join(f"{mode}" if len(s.modes) == 1 else f"{mode} {n}" for mode, n in s.modes.items())
        table.add(s.name, s.role, count, s.smallest, s.largest, modes)
    table.show()
    for is_wrong in (True, False):
        chosen = [finding for finding in report.findings if finding.is_wrong == is_wrong]
        for kind in dict.fromkeys(finding.kind for finding in chosen):
            found = [finding for finding in chosen if finding.kind == kind]
            print(f"{kind}: {len(found)}" + ("" if is_wrong else " (worth knowing)"))
            for finding in found[:_SHOWN]:
                names = "\n  = ".join(finding.files) if finding.files else finding.set
                print(printable(f"  {names}"))
                print(textwrap.fill(printable(finding.message), 80, initial_indent=" " * 4, subsequent_indent=" " * 4))
            if len(found) > _SHOWN:
                print(f"  … and {len(found) - _SHOWN} more")
    rate = report.pictures / max(report.seconds, 1e-9)
    # A file in several sets is read once; more files than the table counts are those of LR.
    both = " (HR and LR)" if report.pictures > sum(s.pictures for s in report.sets) else ""
    print(f"{counted(report.pictures, 'file')}{both} read in {report.seconds:.1f} s, {rate:.0f} a second")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0 if nothing is wrong, otherwise 2."""
    return run_command("check_data", check_data, argv)


if __name__ == "__main__":
    sys.exit(main())
