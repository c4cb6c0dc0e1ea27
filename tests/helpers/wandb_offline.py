"""Offline runs of W&B, read back."""

import json
import subprocess
import sys


def wandb_records(job):
    """What an offline run holds, read by W&B's own reader: type -> records."""
    (path,) = (job / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found = {}
    for line in done.stdout.splitlines():
        record = json.loads(line)
        found.setdefault(record["type"], []).append(record[record["type"]])
    return path, found
