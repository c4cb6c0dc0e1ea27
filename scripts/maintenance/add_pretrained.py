"""Adds the best weights of a finished run to the package, without any information about the training machine.

python scripts/maintenance/add_pretrained.py runs/train/<run> edsr_tiny_y_x4
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sr_lightning.builders.network import build_network
from sr_lightning.checkpoints.weights import WeightsFile, load_weights, write_weights

FOLDER = Path(__file__).resolve().parents[2] / "sr_lightning" / "weights"


def main() -> None:
    """Reads the arguments, loads the weights into their network and writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("name", help="what users will type as model.weights")
    arguments = parser.parse_args()
    checkpoint = arguments.run / "checkpoints" / "best.ckpt"
    weights = WeightsFile.read(checkpoint)
    config, trained = weights.network_config, weights.config
    if config is None or trained is None:
        parser.error(f"{checkpoint} is no checkpoint of this project")
    net = build_network(config["model"])
    load_weights(net, weights)
    folders = trained["data"]["train_dir"]
    names = [Path(folder).name for folder in ([folders] if isinstance(folders, str) else folders)]
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{arguments.name}.safetensors"
    write_weights(file, net.state_dict(), {**config, "seed": trained["seed"], "data": {"train_dir": names}})
    print(f"{file.name}: {sum(p.numel() for p in net.parameters()):,} parameters, {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
