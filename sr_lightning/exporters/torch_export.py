"""`torch.export` program of torch operations, verified by running it before the file gets its final name."""

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
    """Writes a `.pt2` file for any batch size, height and width, or for the sizes that its card states.

    Args:
        export: The network.
        path: The file.

    Returns:
        The parity comparisons.

    Raises:
        UserError: torch.export cannot describe the network for all sizes.
        FailedError: torch.export fails for another reason, or the file's result differs.
    """
    try:
        export, content = _most_general(export)
    except Exception as error:  # its own kinds, and anything that a network raises during tracing
        raise refusal("torch_export", export.card.network, error) from error
    path.write_bytes(content)
    with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
        loaded = torch.export.load(file)
    return export.prove(loaded.module())


def _most_general(export: Export) -> tuple[Export, bytes]:
    """Exports for any size; failing that, without tiny images."""
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
    """Removes each node's origin on this machine."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
