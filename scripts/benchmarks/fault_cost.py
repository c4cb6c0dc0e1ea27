"""Cost of fault tolerance: a section of `bench_faults.py`."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fault_runs import Row
from PIL import Image

from sr_lightning.callbacks.exact_resume import _random_state
from sr_lightning.checkpoints.lightning_io import SafeCheckpointIO
from sr_lightning.image.decoder import decode
from sr_lightning.models import EDSR


def cost(n: int, draw: random.Random) -> list[Row]:
    """Compares saving with plain `torch.save`, decoding with plain Pillow, and the checks of a step with the step."""
    repeats = max(n, 15)
    return [*_cost_of_saving(repeats), _cost_of_decoding(repeats), _cost_of_a_step(repeats)]


def medians(repeats: int, **calls: Callable[[], Any]) -> dict[str, float]:
    """Returns the median milliseconds of each call, measured in turn so that other load affects all alike."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            taken[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(times) for name, times in taken.items()}


@contextmanager
def without_fsync() -> Iterator[None]:
    real, os.fsync = os.fsync, lambda _: None
    try:
        yield
    finally:
        os.fsync = real


def _cost_of_saving(repeats: int) -> list[Row]:
    draw = torch.Generator().manual_seed(0)
    parts = {f"layer{i}": torch.rand(64, 64, 3, 3, generator=draw) for i in range(41)}  # EDSR-baseline's weights
    moments = [{name: value.clone() for name, value in parts.items()} for _ in range(2)]
    content: dict[str, Any] = {"state_dict": parts, "optimizer_states": moments, "global_step": 1}
    ours, plain = SafeCheckpointIO(), Path("plain.ckpt")

    def plain_and_fsync() -> None:
        with plain.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())

    def ours_without() -> None:
        with without_fsync():
            ours.save_checkpoint(content, "ours/last.ckpt")

    found = medians(
        repeats,
        plain=lambda: torch.save(content, plain),
        plain_and_fsync=plain_and_fsync,
        ours=lambda: ours.save_checkpoint(content, "ours/last.ckpt"),
        ours_without=ours_without,
    )
    size = plain.stat().st_size / 1e6
    rows = []
    for what, a, b in (("", "ours", "plain"), (", both with fsync", "ours", "plain_and_fsync")):
        ratio = found[a] / found[b]
        seen = f"{found[a]:.1f} ms, torch.save {found[b]:.1f} ms: {ratio:.2f} x"
        rows.append(Row(f"saving {size:.0f} MB{what}", "at most 1.2 x torch.save", seen, ratio <= 1.2))
    ratio = found["ours_without"] / found["plain"]
    seen = f"{found['ours_without']:.1f} ms, torch.save {found['plain']:.1f} ms: {ratio:.2f} x"
    rows.append(Row(f"saving {size:.0f} MB, both without fsync", "at most 1.2 x torch.save", seen, ratio <= 1.2))
    return rows


def _cost_of_decoding(repeats: int) -> Row:
    waves = np.cumsum(np.random.default_rng(0).normal(0, 6, (480, 640, 3)), axis=1) + 128
    for kind in ("png", "jpg"):
        Image.fromarray(waves.clip(0, 255).astype(np.uint8)).save(f"photograph.{kind}")

    def plain() -> None:
        for kind in ("png", "jpg"):
            with Image.open(f"photograph.{kind}") as image:
                np.ascontiguousarray(image.convert("RGB"))

    found = medians(repeats, plain=plain, ours=lambda: [decode(f"photograph.{kind}") for kind in ("png", "jpg")])
    ratio = found["ours"] / found["plain"]
    seen = f"{found['ours']:.2f} ms, plain Pillow {found['plain']:.2f} ms: {100 * (ratio - 1):+.1f} %"
    return Row("decoding a PNG and a JPEG of 640x480", "at most 2 % slower than without a check", seen, ratio <= 1.02)


def _cost_of_a_step(repeats: int) -> Row:
    net = EDSR(4, n_feats=16, n_resblocks=4)
    lr, hr = torch.rand(16, 3, 32, 32), torch.rand(16, 3, 128, 128)

    def step() -> None:
        net.zero_grad()
        torch.nn.functional.l1_loss(net(lr), hr).backward()

    def checks() -> None:  # what `NonFiniteGuard` and `ExactResume` do
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        bool(torch.isfinite(torch.nn.utils.get_total_norm(gradients)))
        bool(torch.isfinite(torch.zeros(())))
        _random_state()

    step()
    found = medians(repeats, step=step, checks=checks)
    share = 100 * found["checks"] / found["step"]
    seen = f"{found['checks']:.2f} ms of {found['step']:.1f} ms: {share:.1f} %"
    return Row("a step's checks: loss, gradients, random state", "at most 2 % of a step", seen, share <= 2)
