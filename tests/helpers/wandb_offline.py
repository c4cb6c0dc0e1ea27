"""Offline runs of W&B, read back."""

import json
import subprocess
import sys
import time


def wandb_records(job):
    """What an offline run holds, read by W&B's own reader: type -> records.

    W&B's service writes the file's end after the run is finished, on a busy machine seconds later.
    """
    (path,) = (job / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    for _ in range(20):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode == 0:
            break
        time.sleep(0.5)
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        record = json.loads(line)
        found.setdefault(record["type"], []).append(record[record["type"]])
    return path, found
