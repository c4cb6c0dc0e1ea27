"""Programme for a first GPU: everything that only a GPU can show, in ten minutes and without network access.

    python scripts/maintenance/gpu_programme.py --out gpu.json
    python scripts/maintenance/gpu_programme.py --only training waiting --minutes 5
    python scripts/maintenance/gpu_programme.py --small      # on the CPU: tests that it runs, not how fast

    environment  device, driver and versions; nothing that identifies the machine or its user
    tests        pytest -m gpu
    training     EDSR-baseline, batches of 16 48x48 LR patches, in bf16 compared with a plain float32 NCHW loop (goal:
                 twice as fast); with fp16, float32, cudnn.benchmark and compile; peak memory
    waiting      share of time spent waiting for data with 0, 2 and 8 workers (goal: below 1 %); throughput of the data
                 path alone
    upscaling    output megapixels per second at 0.25, 1 and 12 MP in float32 and bf16, by tile size; peak memory
    profile      the ten costliest kernels of a step, and the share of time in which the GPU is idle

Each section runs in a process of its own, with its share of the remaining time; one that fails or takes too long is
reported in a row with the reason, and its results so far. The file is written after each section. Afterwards, as much
as time allows of a training run that needs a GPU; the same command resumes it:

    SR_DATA=<root> python scripts/maintenance/gpu_programme.py --train runs/train/edsr_medium_y_x4 --minutes 20

Exit status: 0 if all sections are done and no test failed, 1 otherwise, 2 for wrong arguments, 130 or 143 if stopped.
"""

from __future__ import annotations

import argparse
import getpass
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SHARES = {"environment": 1, "tests": 8, "training": 5, "waiting": 3, "upscaling": 4, "profile": 2}
"""Sections in order, with their relative shares of the time."""
_ALL = tuple(SHARES)
_RUNS = ("tests", "training", "waiting", "upscaling", "profile")
PACKAGES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("torch", "numpy", "PIL", "safetensors"), _ALL),
    **dict.fromkeys(("lightning", "hydra", "omegaconf", "antlr4", "skimage", "scipy"), _RUNS),
    "pytest": ("tests",),
    **dict.fromkeys(("pytest_timeout", "torchvision", "timm", "wandb", "litdata", "spandrel", "gradio"), ()),
}
"""Imported packages, and the sections that cannot run without them."""
_GRACE = 5.0  # seconds between asking a section to end and killing it
_WIDTH = 80


def missing() -> dict[str, tuple[str, ...]]:
    """Returns missing packages, with the sections that cannot run without them."""
    return {name: costs for name, costs in PACKAGES.items() if importlib.util.find_spec(name) is None}


def has_gpu() -> bool:
    """Whether there is a GPU, checked in a separate process, which a broken driver may crash."""
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=300).returncode == 0


def anonymous(text: str) -> str:
    """Removes the machine's name, the user's name, and folders from a text."""
    for secret in (socket.gethostname(), getpass.getuser() if os.environ.get("USER") else ""):
        if len(secret) > 2:
            text = text.replace(secret, "…")
    return re.sub(r"(?<![\w.])(?:/[\w.+~@=-]+)+/(?=[\w.])", "…/", text)


def cleaned(value: Any) -> Any:
    """Applies `anonymous` to everything in a document."""
    if isinstance(value, str):
        return anonymous(value)
    if isinstance(value, Mapping):
        return {anonymous(str(key)): cleaned(one) for key, one in value.items()}
    return [cleaned(one) for one in value] if isinstance(value, list | tuple) else value


def section(name: str, limit: float, *, device: str, is_small: bool, folder: Path) -> dict[str, Any]:
    """Runs a section for at most `limit` seconds; returns its status, reason, measurements and details."""
    part, said = folder / f"{name}.json", folder / f"{name}.log"
    command = [sys.executable, str(HERE / "gpu_sections.py"), name, "--part", str(part), "--device", device]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),  # so that compilation takes as long as the first time
        "WANDB_MODE": "disabled",
        "TMPDIR": str(folder),
    }
    started = time.perf_counter()
    with said.open("w") as log:
        process = subprocess.Popen(
            [*command, *(["--small"] if is_small else [])],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env=environment,
            start_new_session=True,  # a process group with its workers, which is ended as a whole
        )
        try:
            process.wait(limit)
            status = "done" if process.returncode == 0 else "failed"
        except subprocess.TimeoutExpired:
            status = "out of time"
        finally:
            end_group(process)
    found = json.loads(part.read_text()) if part.is_file() else {"figures": [], "details": {}}
    reason = None
    if status == "failed":
        reason = last_words(said.read_text(errors="replace"), process.returncode)
    elif status == "out of time":
        reason = f"not done after {limit:.0f} s, in {found['details'].get('now', 'its imports')}"
    seconds = round(time.perf_counter() - started, 1)
    return cleaned({"status": status, "reason": reason, "seconds": seconds, **found})


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and its descendants."""
    for number, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        time.sleep(0.1)
    process.wait()


def last_words(text: str, returncode: int) -> str:
    """Returns the line of a log that explains why its process ended."""
    if returncode < 0:
        return f"ended by signal {-returncode} ({signal.Signals(-returncode).name})"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt|Exit)\b", line)]
    return ([*lines[-1:], *errors] or [f"status {returncode}"])[-1][:300]


def table(document: dict[str, Any]) -> Any:
    """Returns the table of all sections' results, 80 columns wide."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, width=_WIDTH, show_header=False)
    made.add_column(ratio=1)
    made.add_column(justify="right", max_width=30)
    made.add_column(no_wrap=True, min_width=10)
    for name, one in document["sections"].items():
        made.add_section()
        state = f"{one['status']}, {one['seconds']:.0f} s" if one["seconds"] else one["status"]
        made.add_row(f"[bold]{name}[/]", f"[bold]{state}[/]", "")
        if one["reason"]:
            made.add_row(f"  {escape(one['reason'])}", "", "")
        for figure in one["figures"]:
            mark = {True: " met", False: " MISSED", None: ""}[figure["is_met"]]
            goal = f"{figure['goal']}{mark}" if figure["goal"] else ""
            shown = f"{_shown(figure['value'])} {figure['unit']}".strip()
            beside = f", {figure['beside']}" if figure["beside"] else ""
            made.add_row(f"  {escape(_shortened(figure['what']))}", escape(shown + beside), goal)
    return made


def _shortened(text: str, most: int = 60) -> str:
    """Shortens a text, as kernel names can have hundreds of characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write(out: Path, document: dict[str, Any]) -> None:
    """Replaces the file."""
    part = out.with_name(out.name + ".part")
    part.write_text(json.dumps(document, indent=1))
    part.replace(out)


def programme(given: argparse.Namespace, device: str) -> dict[str, Any]:
    """Runs the sections, writing the file after each."""
    deadline = time.monotonic() + 60 * given.minutes
    lacking = missing()
    names = [name for name in SHARES if not given.only or name in given.only]
    settings = {"device": device, "small": given.small, "minutes": given.minutes}
    document: dict[str, Any] = {"programme": {**settings, "missing": sorted(lacking)}, "sections": {}}
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names):
            needs = sorted(package for package, costs in lacking.items() if name in costs)
            left = deadline - time.monotonic()
            limit = left * SHARES[name] / sum(SHARES[other] for other in names[number:])
            found: dict[str, Any] = {"status": "skipped", "reason": None, "seconds": 0, "figures": [], "details": {}}
            document["sections"][name] = found
            if needs:
                found["reason"] = f"needs {', '.join(needs)}"
            elif limit < 1:
                found["reason"] = "no time was left"
            else:
                print(f"{name}: at most {limit:.0f} s", flush=True)
                found |= {"status": "interrupted"}
                found |= section(name, limit, device=device, is_small=given.small, folder=Path(folder))
            write(given.out, document)
    return document


def announce(device: str) -> None:
    """Reports what is missing, and the consequences."""
    print(f"device: {'the GPU' if device == 'cuda' else 'the CPU'}")
    for package, costs in missing().items():
        print(f"not installed: {package}; this costs {', '.join(costs) or 'no section'}")


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="the JSON; gpu.json")
    parser.add_argument("--minutes", type=float, default=10.0, help="until everything has ended; 10")
    parser.add_argument("--small", action="store_true", help="on the CPU, everything as small as it goes")
    parser.add_argument("--only", nargs="+", choices=SHARES, metavar="section", help=", ".join(SHARES))
    parser.add_argument("--train", type=Path, metavar="FOLDER", help="begin or continue the training in this folder")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="key=value", help="with --train: overrides of its start"
    )
    given = parser.parse_args(argv)
    if given.minutes <= 0:
        parser.error(f"--minutes: found {given.minutes:g}, allowed: above 0")
    if not given.out.absolute().parent.is_dir():
        parser.error(f"--out: the folder of {given.out} is not there")
    if not given.train and given.out.exists() and not _is_ours(given.out):
        parser.error(f"--out: {given.out} is there and is no file of this programme; allowed: another name")
    return given


def _is_ours(path: Path) -> bool:
    try:
        return "programme" in json.loads(path.read_text())
    except (OSError, ValueError):
        return False


def main(argv: Sequence[str] | None = None) -> int:
    given = arguments(argv)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if given.train:
        from gpu_training import train_until

        return train_until(given.train, minutes=given.minutes, is_small=given.small, overrides=given.set)
    device = "cpu" if given.small else "cuda"
    if "torch" not in missing() and device == "cuda" and not has_gpu():
        print("no GPU is to be seen; allowed: --small, which tries everything on the CPU", file=sys.stderr)
        return 2
    announce(device)
    try:
        document = programme(given, device)
    except KeyboardInterrupt:
        print(f"\nstopped; {given.out} has the sections that were done")
        return 130
    from rich.console import Console

    Console(width=_WIDTH).print(table(document))
    print(f"all of it: {given.out}\nnext, as much as fits of a training; the same command continues it:")
    print("  SR_DATA=<root> python scripts/maintenance/gpu_programme.py \\")
    print("      --train runs/train/edsr_medium_y_x4 --minutes 20")
    is_done = all(one["status"] == "done" for one in document["sections"].values())
    failed = document["sections"].get("tests", {}).get("details", {}).get("counts", {}).get("failed", 0)
    return 0 if is_done and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
