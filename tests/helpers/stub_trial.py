"""Stands in for a training run, without torch: `stub_trial.py <parent> <arguments of train>`.

The gain follows from `loss.beta` (best at 0.01); a validation every 10 of 100 steps. `STUB_PAUSE` is the time between
two of them, `STUB_FAIL` makes a beta above it fail.
"""

import json
import math
import os
import signal
import sys
import time
import zipfile
from pathlib import Path

from sr_lightning.checkpoints.integrity import Trailer, write_trailer

arguments = dict(argument.lstrip("+").split("=", 1) for argument in sys.argv[2:])
folder = Path((arguments.get("ckpt_path") or arguments["hydra.run.dir"]).strip("'"))
config, metrics = folder / ".hydra/config.yaml", folder / "metrics.csv"
if "ckpt_path" in arguments:
    arguments = json.loads(config.read_text())
else:
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps(arguments))
beta = float(arguments.get("loss.beta", 0.01))
print("training")
if beta > float(os.environ.get("STUB_FAIL", "inf")):
    sys.exit("python -m sr_lightning.train: the loss is not finite at step 3")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
if not metrics.exists():
    metrics.write_text("step,train/loss,val/gain,val/perceptual\n")
done = metrics.read_text().count("\n") - 1
best = 2 - abs(math.log10(beta) + 2)
for step in range(10 * done + 10, 110, 10):
    time.sleep(float(os.environ.get("STUB_PAUSE", "0")))
    with metrics.open("a") as file:
        file.write(f"{step},,{best * step / 100},{beta}\n")
(folder / "checkpoints").mkdir(exist_ok=True)
with (folder / "checkpoints/best.ckpt").open("w+b") as file:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("weights", "of the last step")
    write_trailer(file, Trailer(100, None))
rows = [{"method": "bicubic"}, {"method": "EDSR", "set": "A", "scale": 4, "psnr_y": 1, "ssim_y": 1, "params": 7}]
(folder / "results.json").write_text(json.dumps({"objective": best, "rows": rows}))
