"""`torch.export`: a program of torch operations, run by torch before it gets its name."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from sr_lightning.errors import FailedError, UserError, one_line
from sr_lightning.exporters.card import KEY
from sr_lightning.exporters.export_network import Export
from sr_lightning.exporters.parity import Comparison
from sr_lightning.models import SwinIR

EXTRA_FILE = f"{KEY}.json"
"""`torch.export.load(path, extra_files={EXTRA_FILE: ""})` reads the metadata."""
_LARGEST = 65_536  # pixels of a side, and images of a batch


def export_torch(export: Export, path: Path) -> list[Comparison]:
    """Writes a `.pt2` file for any batch, height and width.

    Args:
        export: The network.
        path: The file.

    Returns:
        The proof.

    Raises:
        UserError: It is a network that torch.export cannot describe for all sizes.
        FailedError: Another one that it cannot, or the file computes something else.
    """
    if any(isinstance(part, SwinIR) for part in export.net.modules()):
        raise UserError(
            "format: torch_export keeps one remainder of the sizes by the window of SwinIR, and refuses images with "
            "another; allowed: onnx"
        )
    name, least = export.card.network, export.card.min_size
    sides = {2: Dim("height", min=least, max=_LARGEST), 3: Dim("width", min=least, max=_LARGEST)}
    content = io.BytesIO()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                export.network(), (export.example(),), dynamic_shapes=({0: Dim("batch", max=_LARGEST)} | sides,)
            )
            _clean(program)
            torch.export.save(program, content, extra_files={EXTRA_FILE: export.card.text()})
    except Exception as error:  # its own kinds, and whatever a network raises while it is traced
        raise FailedError(f"torch.export does not take {name}: {one_line(error)}") from error
    path.write_bytes(content.getvalue())
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.export.load(file)
    return export.prove(loaded.module())


def _clean(program: ExportedProgram) -> None:
    """Takes out where on this machine each node comes from."""
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
