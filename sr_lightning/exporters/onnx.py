"""ONNX: the file is run by onnxruntime before it gets its name."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sr_lightning.errors import FailedError, UserError, one_line
from sr_lightning.exporters.card import KEY
from sr_lightning.exporters.export_network import Export
from sr_lightning.exporters.onnx_network import OnnxNetwork
from sr_lightning.exporters.parity import Comparison

if TYPE_CHECKING:
    import onnx

_OPSET = 20
_NAMES = {0: "batch", 2: "height", 3: "width"}


def export_onnx(export: Export, path: Path) -> list[Comparison]:
    """Writes an ONNX file whose input `lr` and output `sr` have any batch, height and width.

    Args:
        export: The network.
        path: The file.

    Returns:
        The proof.

    Raises:
        UserError: The extra `export` is not installed.
        FailedError: Torch cannot export the network, or the file computes something else.
    """
    model = _converted(export)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, export.card.text()
    path.write_bytes(model.SerializeToString(deterministic=True))
    return export.prove(OnnxNetwork.load(path))


def _converted(export: Export) -> onnx.ModelProto:
    try:
        import onnxruntime  # noqa: F401  # looked for before the work
        import onnxscript  # noqa: F401  # torch's exporter needs it
    except ImportError as error:
        raise UserError(f"format=onnx needs {error.name}; allowed: pip install 'sr_lightning[export]'") from None
    dimensions = {axis: torch.export.Dim(name) for axis, name in _NAMES.items()}
    try:
        with contextlib.redirect_stdout(io.StringIO()), _quiet():  # its progress
            program = torch.onnx.export(
                export.network(),
                (export.example(),),
                dynamo=True,
                opset_version=_OPSET,
                dynamic_shapes=(dimensions,),
                input_names=["lr"],
                output_names=["sr"],
                verbose=False,
            )
    except Exception as error:  # the exporter's own kinds, and whatever a network raises while it is traced
        reason = one_line(error.__cause__ or error)
        raise FailedError(f"{export.card.network} cannot be exported to ONNX: {reason}") from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _clean(model, export)
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of every node that it has simplified, or not."""
    loggers = [logging.getLogger(name) for name in ("onnx_ir", "onnxscript")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _clean(model: onnx.ModelProto, export: Export) -> None:
    """Takes out where on this machine each node comes from, and names the output's size."""
    model.producer_name, model.producer_version = export.card.program.split()
    model.doc_string = f"{export.card.network} x{export.card.scale}: {export.card.input} -> {export.card.output}"
    graph = model.graph
    del graph.value_info[:]  # onnxruntime finds the shapes itself
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    for axis, name in _NAMES.items():
        dimension = graph.output[0].type.tensor_type.shape.dim[axis]
        dimension.dim_param = name if axis == 0 else f"{export.card.scale}*{name}"
