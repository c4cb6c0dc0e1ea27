"""ONNX file as a network, computed by onnxruntime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from sr_lightning.errors import FailedError, UserError, one_line
from sr_lightning.exporters.card import KEY, Card
from sr_lightning.inference.tiling import ReceptiveField, set_receptive_field
from sr_lightning.models.base import SRNetwork

if TYPE_CHECKING:
    import onnxruntime

_PROBE = 64  # side in pixels of the image used to find out the scale of a file without a card
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxNetwork(SRNetwork):
    """Runs an ONNX file for inference; created by `load`.

    Args:
        session: Session of the file.
        name: Name for tables.
        channels: 3 for RGB, 1 for Y.
        scale: Scale factor of the file.
        min_size: Smallest side of an image.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, name: str, *, channels: int, scale: int, min_size: int = 1
    ) -> None:
        super().__init__()
        self.name, self.channels, self.scales, self.min_size = name, channels, (scale,), min_size
        self._session, self._dtype = session, _TYPES[session.get_inputs()[0].type]
        self._takes_one = session.get_inputs()[0].shape[0] == 1

    @classmethod
    def load(cls, path: Path) -> Self:
        """Loads a file written by `export`, or another program's file whose scale can be found out by running it.

        For the latter, the receptive field is unknown, so that it is given whole images.

        Of the latter nothing is known about tiles, so that it gets whole images.

        Raises:
            UserError: onnxruntime is missing, or the file cannot be read or is not such a network.
        """
        session = _session(path)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        channels = inputs[0].shape[1] if len(inputs[0].shape) == 4 else None
        if len(inputs) != 1 or len(outputs) != 1 or channels not in (1, 3) or inputs[0].type not in _TYPES:
            found = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
            raise UserError(f"{path}: takes {found}; allowed: one image (N, 1 or 3, h, w) of floating-point numbers")
        text = session.get_modelmeta().custom_metadata_map.get(KEY)
        if text is None:
            net = cls(session, path.stem, channels=channels, scale=_scale(session, channels, path))
            set_receptive_field(net, net.scales[0], ReceptiveField(None, None))
            return net
        try:
            card = Card.read(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{path}: {error}; allowed: a file that sr_lightning has exported") from None
        net = cls(session, card.network, channels=channels, scale=card.scale, min_size=card.min_size)
        set_receptive_field(net, card.scale, ReceptiveField(card.tile_margin, card.tile_step))
        return net

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, h, w) -> (N, C, h·s, w·s), of the same type and on the same device, without a gradient."""
        image = x.detach().cpu().numpy().astype(self._dtype)
        parts = np.split(image, len(image)) if self._takes_one else [image]
        made = np.concatenate([_run(self._session, part) for part in parts])
        expected = (*x.shape[:2], *(side * self.scales[0] for side in x.shape[2:]))
        if made.shape != expected:  # the file's metadata is untrusted
            raise FailedError(f"the file makes {made.shape} of {tuple(x.shape)}, but says x{self.scales[0]}")
        return torch.from_numpy(made).to(x)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A session has no state that needs copying."""
        return self


def _run(session: onnxruntime.InferenceSession, image: Any) -> Any:
    try:
        return session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(image)})[0]
    except Exception as error:  # its exception classes have no common public base
        raise FailedError(f"onnxruntime cannot run the file: {one_line(error)}") from None


def _session(path: Path) -> onnxruntime.InferenceSession:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UserError(f"{path}: needs {error.name}; allowed: pip install 'sr_lightning[export]'") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    # Spin-waiting threads would take CPU time from torch's (a quarter slower).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        content = path.read_bytes()
        model = onnx.ModelProto.FromString(content)
        if any(entry.external_data for entry in model.graph.initializer):
            raise UserError(f"{path}: keeps its weights in other files; allowed: all in one")
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except (UserError, OSError):
        raise
    except Exception as error:
        raise UserError(f"{path}: cannot be read as ONNX: {one_line(error)}") from None


def _scale(session: onnxruntime.InferenceSession, channels: int, path: Path) -> int:
    """Finds out the scale of a file without a card."""
    probe = np.random.default_rng(0).random((1, channels, _PROBE, _PROBE), np.float32)
    try:
        shape = _run(session, probe.astype(_TYPES[session.get_inputs()[0].type])).shape
    except FailedError as error:
        raise UserError(f"{path}: is none of ours, and does not take an image of {_PROBE}x{_PROBE}: {error}") from None
    scale = shape[-1] // _PROBE if shape else 0
    if shape != (1, channels, _PROBE * scale, _PROBE * scale) or not 2 <= scale <= 16:
        raise UserError(f"{path}: is none of ours, and makes {shape} of {probe.shape}; allowed: an enlarged image")
    return int(scale)
