"""`torch.export`: a program of torch operations, run by torch before it gets its name."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from sr_lightning.exporters.card import KEY
from sr_lightning.exporters.export_network import LARGEST, Export
from sr_lightning.exporters.parity import Comparison
from sr_lightning.exporters.refusals import holds_for_some_sizes_only, refusal

EXTRA_FILE = f"{KEY}.json"
"""`torch.export.load(path, extra_files={EXTRA_FILE: ""})` reads the metadata."""
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
        try:
            content = _saved(export)
        except Exception as error:
            if not holds_for_some_sizes_only(error):
                raise
            export = replace(export, card=replace(export.card, min_size=_SMALLEST))  # pooling may leave too little
            content = _saved(export)
    except Exception as error:  # its own kinds, and whatever a network raises while it is traced
        raise refusal("torch_export", export.card.network, error) from error
    path.write_bytes(content)
    with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
        loaded = torch.export.load(file)
    return export.prove(loaded.module())


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
