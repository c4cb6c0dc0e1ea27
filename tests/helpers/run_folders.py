"""Folders of finished and unfinished runs, made without training; and what a page of `compare` says about them."""

import csv
import json
import re

import numpy as np
import yaml

PROTOCOL = {"channel": "Y", "shave": "scale", "lr_kernel": "matlab_bicubic", "rounding": "uint8", "hardware": "a CPU"}
SETS = {"Five": 5, "Many": 24}


def figures(name, count, *, gain, seed, method="EDSR", scale=4, noise=0.02):
    """Rows of `per_image.csv`: bicubic's figures depend on the set alone, the method's lie `gain` above."""
    base = np.random.default_rng([len(name), count, scale]).normal(28, 3, count)
    own = base + gain + np.random.default_rng([seed, count]).normal(0, noise, count)
    return [
        {
            "set": name,
            "scale": scale,
            "name": f"{i}.png",
            "key": i,
            "method": method,
            "checkpoint": "checkpoints/best.ckpt",
            "psnr_y": own[i],
            "ssim_y": 0.8 + 0.01 * (own[i] - base[i]),
            "bicubic_psnr_y": base[i],
            "bicubic_ssim_y": 0.8,
            "gain": own[i] - base[i],
        }
        for i in range(count)
    ]


def make_run(
    folder,
    *,
    gain=1.0,
    seed=1,
    beta=0.0,
    sets=SETS,
    scale=4,
    method="EDSR",
    protocol=PROTOCOL,
    config=None,
    more=None,
    finished=True,
    images=None,
):
    """A run of `train` as its folder looks at the end; `more`: further metrics of its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".hydra").mkdir(exist_ok=True)
    saved = {
        "scale": scale,
        "seed": seed,
        "model": {"_target_": f"sr_lightning.models.{method}", "n_feats": 16},
        "loss": {"alpha": 1.0, "beta": beta},
        "optimizer": {"lr": 1e-3},
        "trainer": {"max_steps": 100},
        "paths": {"data": "${oc.env:SR_DATA,data}", "runs": str(folder)},
    }
    (folder / ".hydra/config.yaml").write_text(yaml.safe_dump(saved | (config or {}), sort_keys=False))
    (folder / ".hydra/overrides.yaml").write_text("[]")
    steps = (50, 100) if finished else (50,)
    write_csv(folder / "metrics.csv", [{"step": s, "val/gain": gain * s / 100, "val/psnr_y": 28} for s in steps])
    if not finished:
        return folder
    images = images or [row for name, n in sets.items() for row in figures(name, n, gain=gain, seed=seed, scale=scale)]
    images = [row | {"method": method} for row in images]
    write_csv(folder / "per_image.csv", images)
    rows = []
    for name in dict.fromkeys(row["set"] for row in images):
        own = [row for row in images if row["set"] == name]
        common = {"set": name, "scale": scale, "images": len(own)}
        mean = {key: float(np.mean([row[key] for row in own])) for key in own[0] if key.endswith("_y")}
        rows.append(common | {"method": "bicubic", "psnr_y": mean["bicubic_psnr_y"], "ssim_y": mean["bicubic_ssim_y"]})
        rows.append(
            common
            | {"method": method, "checkpoint": "checkpoints/best.ckpt", "params": 28000, "seconds_per_image": 0.01}
            | {"psnr_y": mean["psnr_y"], "ssim_y": mean["ssim_y"], "multiply_adds": 16 * 10**8}
            | (more or {})
        )
    document = {"protocol": protocol, "rows": rows, "objective": gain, "steps": 100, "minutes": 0.5, "split": "test"}
    document |= {"run": {"command": f"python -m sr_lightning.train loss.beta={beta} seed={seed}"}}
    (folder / "results.json").write_text(json.dumps(document))
    return folder


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def make_sweep(folder):
    """Three betas with two seeds each: 0 is the best by 0.1 dB; a further job failed, one was stopped."""
    number = 0
    for beta, gain in ((0.0, 1.0), (0.01, 0.9), (0.1, 0.4)):
        for seed in (1, 2):
            make_run(folder / str(number), beta=beta, gain=gain + 0.01 * seed, seed=seed)
            number += 1
    failed = make_run(folder / "6", beta=1.0, finished=False)
    (failed / "train.log").write_text("[2026] step 50\n[2026][ERROR] job 6 (loss.beta=1) failed: CUDA out of memory\n")
    make_run(folder / "7", beta=2.0, finished=False)
    return folder


def compared(*folders, metric="psnr_y"):
    """The comparison of these runs, as the command makes it."""
    from sr_lightning.report.comparison import compare_records
    from sr_lightning.runs.find import find_runs
    from sr_lightning.runs.record import read_run

    return compare_records([read_run(f) for f in find_runs([str(f) for f in folders])], metric=metric, command="again")


def data_of(page):
    text = page.read_text()
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
