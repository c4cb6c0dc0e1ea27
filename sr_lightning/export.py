"""Command `export`: writes a trained network to a file for other programs, and verifies that the outputs match."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from sr_lightning.cli.main import run_command
from sr_lightning.config.export import SUFFIXES, ExportConfig
from sr_lightning.errors import FailedError, UserError
from sr_lightning.files import replacing

if TYPE_CHECKING:
    from sr_lightning.builders.load_network import LoadedNetwork
    from sr_lightning.exporters.export_network import Export
    from sr_lightning.exporters.parity import Comparison

_RUNNER = "upscale_onnx.py"


def export(config: ExportConfig) -> None:
    """Verifies the exported network, writes the file, and prints the comparison.

    Args:
        config: The validated config.

    Raises:
        UserError: The network cannot be loaded or does not support the format, or a file is in the way.
        FailedError: The network cannot be exported, or the file's outputs differ; nothing is left behind.
    """
    from sr_lightning.builders.load_network import load_network
    from sr_lightning.exporters.card import Card
    from sr_lightning.exporters.export_network import Export
    from sr_lightning.exporters.figures import known_figures

    network = load_network(config.checkpoint, model=config.model)
    scale = network.choose_scale(config.scale)
    output = _output(network, scale, config)
    runner = output.with_name(f"{output.stem}_upscale.py") if config.runner else None
    _check_free([path for path in (output, runner) if path is not None], network.file, overwrite=config.overwrite)
    print(f"exporting {network.label} x{scale} as {config.format}, {config.precision} …", flush=True)
    checksum = network.sha256
    card = Card.of(
        network.net,
        scale,
        network=network.label,
        precision=config.precision,
        weights=network.file.name,
        sha256=checksum,
        figures=known_figures(network.file, checksum, scale),
    )
    with _writing(output) as part:
        proof = _write(Export(network.net, card), network, part, config)
    print(_table(proof))
    print(_summary(output, proof, card.precision))
    if runner is not None:
        with _writing(runner) as part:
            part.write_bytes(files("sr_lightning.exporters").joinpath(_RUNNER).read_bytes())
        print(f"{runner}: python {runner.name} photo.png, with onnxruntime, numpy and Pillow alone")


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """Like `replacing`, but reports an unwritable location before the work begins."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.touch()
            yield part
    except OSError as error:
        reason = f"output: cannot write {path}: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise FailedError(reason) from None
        raise UserError(f"{reason}; allowed: a folder of yours") from None


def _write(export: Export, network: LoadedNetwork, path: Path, config: ExportConfig) -> list[Comparison]:
    from sr_lightning.builders.load_network import load_network
    from sr_lightning.checkpoints.network_config import BESIDE_THE_NETWORK
    from sr_lightning.exporters.onnx import export_onnx
    from sr_lightning.exporters.safetensors import export_safetensors
    from sr_lightning.exporters.spandrel import export_spandrel
    from sr_lightning.exporters.torch_export import export_torch

    if config.format == "onnx":
        return export_onnx(export, path)
    if config.format == "torch_export":
        return export_torch(export, path)
    if network.model is None:
        raise UserError(
            f"format: {config.checkpoint} is another project's network, which its own programs read as it is; "
            "allowed: onnx, torch_export"
        )
    if config.format == "spandrel":
        return export_spandrel(export, path)
    section = {key: value for key, value in network.model.items() if key not in BESIDE_THE_NETWORK}
    return export_safetensors(
        export,
        path,
        config={"model": section, "scale": list(network.scales or (export.card.scale,))},
        load=lambda file: load_network(file, model=section).net,
    )


def _output(network: LoadedNetwork, scale: int, config: ExportConfig) -> Path:
    """Returns the output path, by default named after the weights or their run, and distinguishing settings."""
    given = Path(config.output or ".")
    if given.suffix == SUFFIXES[config.format] and not given.is_dir():
        return given
    file = network.file
    name = file.parent.parent.name if file.parent.name == "checkpoints" else ""
    name = name or file.stem
    name += f"_x{scale}" if len(network.scales) > 1 and config.format != "safetensors" else ""
    name += "_spandrel" if config.format == "spandrel" else ""
    name += "_float16" if config.precision == "float16" else ""
    return given / (name + SUFFIXES[config.format])


def _check_free(paths: list[Path], checkpoint: Path, *, overwrite: bool) -> None:
    for path in paths:
        if path.is_dir():
            raise UserError(f"output: {path} is a folder; allowed: another output")
        if path.exists() and path.samefile(checkpoint):
            raise UserError(f"output: {path} is the checkpoint itself; allowed: another output")
        if path.exists() and not overwrite:
            raise UserError(f"output: {path} is there; allowed: another output, or overwrite=true")


def _table(proof: list[Comparison]) -> str:
    lines = ["  LR size   images   largest difference   of the largest value"]
    for found in proof:
        n, _, height, width = found.shape
        lines.append(f"{f'{width}x{height}':>9}{n:>9}{found.difference:>21.1e}{found.relative:>23.1e}")
    return "\n".join(lines)


def _summary(output: Path, proof: list[Comparison], precision: str) -> str:
    from sr_lightning.exporters.parity import TOLERANCE

    worst = max(found.relative for found in proof)
    allowed = TOLERANCE["float16" if precision == "float16" else "float32"]
    size = output.stat().st_size / 1e6
    return f"{output}: {size:.2f} MB; differs by at most {worst:.1e} of the largest value, allowed: {allowed:g}"


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command("export", export, argv)


if __name__ == "__main__":
    sys.exit(main())
