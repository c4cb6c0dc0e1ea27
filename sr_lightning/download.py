"""Command `download`: downloads data sets to the locations expected by the configs."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sr_lightning.errors import UserError
from sr_lightning.text import Table, counted, enumerated, nearest, printable, tolerate_encodings

if TYPE_CHECKING:
    from sr_lightning.data.download.fetcher import Fetcher, RemoteFile, RemoteSet

PROGRAM = "python -m sr_lightning.download"
_SHOWN = 5  # files of a set that are named individually


@dataclass(frozen=True)
class Outcome:
    """Result for one file."""

    file: RemoteFile
    fetched: bool = False
    error: str | None = None


def download(sets: Sequence[RemoteSet], root: Path, *, jobs: int) -> list[Outcome]:
    """Downloads data sets, several files at once, with progress bars.

    Args:
        sets: The data sets to download.
        root: Root of the data sets.
        jobs: Number of concurrent downloads.

    Returns:
        One outcome per file, in the order of the sets.

    Raises:
        KeyboardInterrupt: The user stopped the command; the next call resumes.
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from sr_lightning.data.download.fetcher import Fetcher

    stop = threading.Event()
    fetcher = Fetcher(stop)
    columns = (TextColumn("{task.description}"), BarColumn(None), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, expand=True) as progress, ThreadPoolExecutor(jobs) as pool:
        futures = []
        for chosen in sets:
            sizes = [file.bytes for file in chosen.files]
            bar = progress.add_task(chosen.name, total=None if None in sizes else sum(size or 0 for size in sizes))
            advance = _advancer(progress.advance, bar)
            futures += [pool.submit(_outcome, fetcher, file, root / file.folder, advance) for file in chosen.files]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _advancer(advance: Callable[..., None], bar: object) -> Callable[[int], None]:
    return lambda n: advance(bar, n)


def _outcome(fetcher: Fetcher, file: RemoteFile, folder: Path, advance: Callable[[int], None]) -> Outcome:
    from sr_lightning.data.download.archives import ArchiveError, extract, is_extracted
    from sr_lightning.data.download.fetcher import FetchError

    target = folder / Path(file.name).stem
    try:
        if not file.is_archive:
            return Outcome(file, fetcher.fetch(file, folder, advance))
        if is_extracted(target, digest=file.hash):
            return Outcome(file)
        if target.exists():
            raise FetchError(f"{target} is there and is not what the archive holds; it is kept, move it away")
        fetched = fetcher.fetch(file, folder, advance)
        extract(folder / file.name, target, digest=file.hash)
        if fetched:  # an archive placed there by the user is kept
            (folder / file.name).unlink()
        return Outcome(file, True)
    except (FetchError, ArchiveError) as error:
        return Outcome(file, error=str(error))
    except OSError as error:
        return Outcome(file, error=f"cannot write to {folder}: {error.strerror or error}")


def _chosen(names: Sequence[str], sets: dict[str, RemoteSet]) -> list[RemoteSet]:
    by_name = {name.lower(): chosen for name, chosen in sets.items()}
    unknown = [
        f"{name}: no such set; {nearest(name.lower(), list(by_name))}" for name in names if name.lower() not in by_name
    ]
    if unknown:
        raise UserError("\n".join(unknown))
    return [by_name[name] for name in dict.fromkeys(name.lower() for name in names)]


def _list(sets: Sequence[RemoteSet], *, in_full: bool) -> None:
    """Prints one line for each set, or every file of the named sets."""
    if in_full:
        for chosen in sets:
            print(f"{chosen.name}: {chosen.origin}; {chosen.licence}")
            for file in chosen.files:
                print(f"  {file.folder}/{file.name}\n    {file.hash_text}\n    {file.url}")
        return
    table = Table(["set", "files", "MB", "made by", "licence", "folder"], ["files", "MB"])
    for chosen in sets:
        sizes = [file.bytes for file in chosen.files]
        size = "?" if None in sizes else f"{sum(s or 0 for s in sizes) / 1e6:.1f}"
        folder = chosen.files[0].folder + ("/…" if chosen.files[0].is_archive else "")
        table.add(chosen.name.lower(), str(len(sizes)), size, chosen.origin, chosen.licence, folder)
    table.show()
    print(f"{PROGRAM} set5 set14   fetches these two\n{PROGRAM} --list set5   names every file, hash and address")


def _report(sets: Sequence[RemoteSet], outcomes: Sequence[Outcome], root: Path) -> int:
    """Prints the result and returns the exit status."""
    by_file = {outcome.file: outcome for outcome in outcomes}
    status = 0
    for chosen in sets:
        mine = [by_file[file] for file in chosen.files]
        failed = [outcome for outcome in mine if outcome.error]
        if failed:
            status = 1
            _report_failed(chosen, failed, root)
            continue
        fetched = sum(outcome.fetched for outcome in mine)
        print(f"{chosen.name}: {counted(len(mine), 'file')} in {_places(chosen, root)}, {fetched} of them fetched now")
    return status


def _places(chosen: RemoteSet, root: Path) -> str:
    return ", ".join(dict.fromkeys(str(root / file.folder) for file in chosen.files))


def _report_failed(chosen: RemoteSet, failed: Sequence[Outcome], root: Path) -> None:
    lines = [f"{PROGRAM}: {len(failed)} of {len(chosen.files)} files of {chosen.name} are missing"]
    reasons: dict[str, list[str]] = {}
    for outcome in failed:
        reasons.setdefault(outcome.error or "", []).append(outcome.file.name)
    for reason, names in reasons.items():
        lines.append(f"  {enumerated(names, most=3)}:\n    {reason}")
    lines.append(f"  The same command continues. Without a network, put these files into\n  {_places(chosen, root)}")
    lines.append("  and give the same command: it checks them.")
    for outcome in failed[:_SHOWN]:
        lines.append(f"    {outcome.file.name}\n      {outcome.file.hash_text}\n      {outcome.file.url}")
    if len(failed) > _SHOWN:
        lines.append(f"    … and {len(failed) - _SHOWN} more: {PROGRAM} --list {chosen.name.lower()}")
    print(printable("\n".join(lines)), file=sys.stderr, flush=True)  # it includes text sent by servers


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0, 1 if a file failed, 2 for an unknown set, 130 if stopped."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Fetches data sets to where the configs expect them.")
    parser.add_argument("sets", nargs="*", help="names such as set5; none: they are listed")
    parser.add_argument(
        "--list", action="store_true", help="list the sets, or every file of those named; fetch nothing"
    )
    root = os.environ.get("SR_DATA") or "data"
    parser.add_argument(
        "--root", type=Path, default=Path(root), help="root of the data sets (default: $SR_DATA or data)"
    )
    parser.add_argument("--jobs", type=int, default=4, choices=range(1, 17), metavar="1-16", help="files at once")
    arguments = parser.parse_args(argv)
    tolerate_encodings()

    from sr_lightning.data.download.fetcher import remote_sets

    sets = remote_sets()
    try:
        chosen = _chosen(arguments.sets, sets)
    except UserError as error:
        print(f"{PROGRAM}: the input is wrong\n  " + str(error).replace("\n", "\n  "), file=sys.stderr)
        return 2
    if arguments.list or not chosen:
        _list(chosen or list(sets.values()), in_full=bool(chosen))
        return 0
    try:
        return _report(chosen, download(chosen, arguments.root, jobs=arguments.jobs), arguments.root)
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
