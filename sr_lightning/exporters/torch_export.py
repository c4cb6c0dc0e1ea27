"""`torch.export`: a program of torch operations, run by torch before it gets its name."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from sr_lightning.exporters.card import KEY
from sr_lightning.exporters.export_network import LARGEST, Export
from sr_lightning.exporters.parity import Comparison
from sr_lightning.exporters.refusals import holds_for_some_sizes_only, refusal

EXTRA_FILE = f"{KEY}.json"
"""`torch.export.load(path, extra_files={EXTRA_FILE: ""})` reads the metadata."""


def export_torch(export: Export, path: Path) -> list[Comparison]:
    """Writes a `.pt2` file for any batch, height and width, or for the sizes that its card says.

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
        export, content = _most_general(export)
    except Exception as error:  # its own kinds, and whatever a network raises while it is traced
        raise refusal("torch_export", export.card.network, error) from error
    path.write_bytes(content)
    with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
        loaded = torch.export.load(file)
    return export.prove(loaded.module())


def _most_general(export: Export) -> tuple[Export, bytes]:
    """For any size; where that is not to be had, for no tiny images."""
    for found in export.without_tiny_images():
        try:
            return found, _saved(found)
        except Exception as error:
            if not holds_for_some_sizes_only(error):
                raise
            refused = error
    raise refused


def _saved(export: Export) -> bytes:
    content = io.BytesIO()
    program = export.program(Dim("batch", max=LARGEST), checks_sizes=True)
    _clean(program)
    with warnings.catch_warnings(action="ignore"):
        torch.export.save(program, content, extra_files={EXTRA_FILE: export.card.text()})
    return content.getvalue()


def _clean(program: ExportedProgram) -> None:
    """Takes out where on this machine each node comes from."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
