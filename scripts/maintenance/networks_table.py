"""Lists every network as a Markdown table: parameters, multiply-adds, receptive field.

    python scripts/maintenance/networks_table.py                 # at x4
    python scripts/maintenance/networks_table.py --scale 2 edsr_baseline rcan

Multiply-adds are torch's own count for one output image of 1280x720 pixels. The receptive field is measured: the number
of LR pixels in a row on which one SR pixel depends, or "whole" if the network averages over the image.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from sr_lightning.builders.network import build_network
from sr_lightning.config.conf_files import conf_dir, register_resolvers
from sr_lightning.config.train import check_train
from sr_lightning.inference.cost import multiply_adds
from sr_lightning.inference.tiling import receptive_field
from sr_lightning.models.base import network_traits


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
            config = check_train(compose("train", [f"model={name}", f"scale={arguments.scale}"]))
        torch.manual_seed(0)
        net = build_network(config.model).eval()
        count = multiply_adds(net, arguments.scale) or 0  # the counter does not see bicubic's 0.04 G
        columns = receptive_field(net, arguments.scale)
        cells = [
            f"`{name}`",
            "Y" if network_traits(net).channels == 1 else "RGB",
            f"{sum(p.numel() for p in net.parameters()):,}",
            f"{count / 1e9:.1f} G",
            "whole" if columns is None else str(columns),
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
