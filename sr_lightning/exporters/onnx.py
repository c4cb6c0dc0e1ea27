"""ONNX export; the file is verified with onnxruntime before it gets its final name."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.export import Dim, ExportedProgram

from sr_lightning.errors import UserError
from sr_lightning.exporters.card import KEY, Card
from sr_lightning.exporters.export_network import Export
from sr_lightning.exporters.onnx_network import OnnxNetwork
from sr_lightning.exporters.parity import Comparison
from sr_lightning.exporters.refusals import binds_sides_alone, holds_for_some_sizes_only, refusal

if TYPE_CHECKING:
    import onnx

_OPSET = 20


def export_onnx(export: Export, path: Path) -> list[Comparison]:
    """Writes an ONNX file for any batch, height and width, or for those that its input `lr` and its card state.

    Args:
        export: The network.
        path: The file.

    Returns:
        The parity comparisons.

    Raises:
        UserError: The optional dependencies `export` are not installed.
        FailedError: Torch cannot export the network, or the file's result differs.
    """
    _check_installed()
    try:
        program, card = _most_general(export)
        model = _converted(program)
    except Exception as error:  # the exporter's own kinds, and anything that a network raises during tracing
        raise refusal("onnx", export.card.network, error) from error
    _clean(model, card)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, card.text()
    path.write_bytes(model.SerializeToString(deterministic=True))
    return replace(export, card=card).prove(OnnxNetwork.load(path))


def _check_installed() -> None:
    try:
        import onnxruntime  # noqa: F401  # looked for before the work
        import onnxscript  # noqa: F401  # torch's exporter needs it
    except ImportError as error:
        raise UserError(f"format=onnx needs {error.name}; allowed: pip install 'sr_lightning[export]'") from None


def _most_general(export: Export) -> tuple[ExportedProgram, Card]:
    """Exports for any batch and size; failing that, without tiny images, for a single image, or both."""
    one = replace(export.card, input=_of_one(export.card.input), output=_of_one(export.card.output))
    for card, batch in ((export.card, Dim("batch")), (one, None)):
        for found in replace(export, card=card).without_tiny_images():
            try:
                return found.program(batch), found.card
            except Exception as error:
                if not holds_for_some_sizes_only(error):
                    raise
                refused = error
                if batch is not None and not binds_sides_alone(error):
                    break
    raise refused


def _of_one(shape: str) -> str:
    return shape.replace("(N,", "(1,")


def _converted(program: ExportedProgram) -> onnx.ModelProto:
    with contextlib.redirect_stdout(io.StringIO()), _quiet():  # suppresses its progress output
        made = torch.onnx.export(
            program, dynamo=True, opset_version=_OPSET, input_names=["lr"], output_names=["sr"], verbose=False
        )
    assert made is not None
    model: onnx.ModelProto = made.model_proto
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter, which reports on every node whether it was simplified."""
    loggers = [logging.getLogger(name) for name in ("onnx_ir", "onnxscript")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _clean(model: onnx.ModelProto, card: Card) -> None:
    """Removes each node's origin on this machine, and names the dynamic dimensions."""
    model.producer_name, model.producer_version = card.program.split()
    model.doc_string = f"{card.network} x{card.scale}: {card.input} -> {card.output}"
    graph = model.graph
    del graph.value_info[:]  # onnxruntime infers the shapes itself
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    for value, factor in ((graph.input[0], ""), (graph.output[0], f"{card.scale}*")):
        batch, _, height, width = value.type.tensor_type.shape.dim
        height.dim_param, width.dim_param = f"{factor}height", f"{factor}width"
        if not batch.dim_value:
            batch.dim_param = "batch"
