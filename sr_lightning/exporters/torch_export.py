"""`torch.export`: a program of torch operations, run by torch before it gets its name."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from sr_lightning.errors import FailedError, UserError, one_line
from sr_lightning.exporters.card import KEY
from sr_lightning.exporters.export_network import Export
from sr_lightning.exporters.parity import Comparison

EXTRA_FILE = f"{KEY}.json"
"""`torch.export.load(path, extra_files={EXTRA_FILE: ""})` reads the metadata."""
_LARGEST = 65_536  # pixels of a side, and images of a batch
_SMALLEST = 32  # pixels of a side, where not every size will do


def export_torch(export: Export, path: Path) -> list[Comparison]:
    """Writes a `.pt2` file for any batch, height and width, or for those from 32 pixels on, where it says so.

    Args:
        export: The network.
        path: The file.

    Returns:
        The proof.

    Raises:
        UserError: It is a network that torch.export cannot describe for all sizes.
        FailedError: Another one that it cannot, or the file computes something else.
    """
    try:
        content = _saved(export)
    except _SizesError:  # pooling may have too little left of small images
        export = replace(export, card=replace(export.card, min_size=_SMALLEST))
        try:
            content = _saved(export)
        except _SizesError:
            raise UserError(
                f"format: torch_export cannot describe {export.card.network} for images of any size, because it fills "
                "or pools them to multiples; allowed: onnx"
            ) from None
    path.write_bytes(content)
    with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
        loaded = torch.export.load(file)
    return export.prove(loaded.module())


class _SizesError(Exception):
    """What torch.export found holds for some heights and widths only."""


def _saved(export: Export) -> bytes:
    card, content = export.card, io.BytesIO()
    sides = {
        2: Dim("height", min=card.min_size, max=_LARGEST),
        3: Dim("width", min=card.min_size, max=_LARGEST),
    }
    try:
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            shapes = ({0: Dim("batch", max=_LARGEST)} | sides,)
            program = torch.export.export(export.network(), (export.example(),), dynamic_shapes=shapes)
            _clean(program)
            torch.export.save(program, content, extra_files={EXTRA_FILE: card.text()})
    except Exception as error:  # its own kinds, and whatever a network raises while it is traced
        if "Constraints violated" in str(error):
            raise _SizesError from error
        raise FailedError(f"torch.export does not take {card.network}: {one_line(error)}") from error
    return content.getvalue()


def _clean(program: ExportedProgram) -> None:
    """Takes out where on this machine each node comes from."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
