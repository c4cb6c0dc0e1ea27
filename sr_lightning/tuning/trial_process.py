"""Process of one trial: `python -m sr_lightning.tuning.trial_process <parent> <arguments of train>`.

An ordinary `train` run that ends together with the study that started it.
"""

from __future__ import annotations

import importlib
import sys

from sr_lightning.distributed.parent import end_with_parent


def main() -> int:
    """Trains, and returns the exit status."""
    end_with_parent(int(sys.argv[1]))
    status: int = importlib.import_module("sr_lightning.train").main(sys.argv[2:])
    return status


if __name__ == "__main__":
    sys.exit(main())
