"""The process of one trial: `python -m sr_lightning.tuning.trial_process <parent> <arguments of train>`.

It is an ordinary `train` run, but ends with the study that has started it.
"""

from __future__ import annotations

import importlib
import sys

from sr_lightning.distributed.parent import end_with_parent


def main() -> int:
    """Trains; returns the exit status."""
    end_with_parent(int(sys.argv[1]))
    status: int = importlib.import_module("sr_lightning.train").main(sys.argv[2:])
    return status


if __name__ == "__main__":
    sys.exit(main())
