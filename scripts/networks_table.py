"""Lists every shipped network as a Markdown table: parameters, multiply-adds, receptive field.

    python scripts/networks_table.py                 # at x4
    python scripts/networks_table.py --scale 2 edsr_baseline rcan

Multiply-adds are torch's own count for one picture of 1280x720 pixels that comes out. The receptive field is
measured: the LR pixels of a row on which one SR pixel depends, "whole" where a mean over the picture is taken.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sr_lightning import build
from sr_lightning.config import check_config, conf_dir, register_resolvers
from sr_lightning.inference import apply_network

WIDTH, HEIGHT = 1280, 720
STRIP = (16, 640)  # high enough for every network, wide enough for all but those that see everything


def main() -> None:
    """Reads the arguments and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=sorted(p.stem for p in Path(conf_dir(), "model").glob("*.yaml")))
    parser.add_argument("--scale", type=int, default=4)
    arguments = parser.parse_args()
    register_resolvers()
    print(f"| `model=` | works on | parameters | multiply-adds, 1280x720 at x{arguments.scale} | receptive field, LR |")
    print("| --- | --- | --- | --- | --- |")
    for name in arguments.names:
        with initialize_config_dir(conf_dir(), version_base="1.3"):
            config = check_config(compose("train", [f"model={name}", f"scale={arguments.scale}"]))
        torch.manual_seed(0)
        net = build.build_network(config.model).eval()
        channels = getattr(net, "channels", 3)
        cells = [
            f"`{name}`",
            "Y" if channels == 1 else "RGB",
            f"{sum(p.numel() for p in net.parameters()):,}",
            f"{multiply_adds(net, channels, arguments.scale) / 1e9:.1f} G",
            receptive_field(net, channels, arguments.scale),
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def multiply_adds(net: nn.Module, channels: int, scale: int) -> float:
    """Of one forward pass; nothing is computed, only counted."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        x = torch.empty(1, channels, HEIGHT // scale, WIDTH // scale)
        apply_network(copy.deepcopy(net).to("meta"), x, scale)
    return counter.get_total_flops() / 2


def receptive_field(net: nn.Module, channels: int, scale: int) -> str:
    """From the gradient of one SR pixel in the middle of a low, wide picture."""
    x = torch.rand(1, channels, *STRIP, dtype=torch.float64, requires_grad=True)
    for parameter in net.parameters():
        if not parameter.any():  # a layer that starts at zero would hide those before it
            nn.init.normal_(parameter, std=0.01)
    y: Tensor = apply_network(net.double(), x, scale)
    y[..., STRIP[0] // 2 * scale, STRIP[1] // 2 * scale].sum().backward()
    assert x.grad is not None
    seen = x.grad.abs().sum((0, 1, 2)).nonzero().flatten()  # columns
    width = int(seen.max() - seen.min()) + 1
    return "whole" if width > STRIP[1] * 0.9 else str(width)


if __name__ == "__main__":
    main()
