"""Weights under the names by which spandrel detects the architecture, for chaiNNer, ComfyUI and others."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from sr_lightning.errors import FailedError, UserError, one_line
from sr_lightning.exporters.card import KEY
from sr_lightning.exporters.export_network import Export
from sr_lightning.exporters.parity import Comparison, compare, sizes
from sr_lightning.exporters.safetensors import as_precision
from sr_lightning.models import RCAN, SPAN, RRDBNet, SwinIR
from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import DIV2K_MEAN
from sr_lightning.models.conversion import LEVELS, published_state
from sr_lightning.models.others.adapter import SpandrelNetwork

NO_ARCHITECTURE = "format: spandrel has no architecture for {name}, allowed: {allowed}"
"""Message also given by the config's check."""


def export_spandrel(export: Export, path: Path) -> list[Comparison]:
    """Writes a `.safetensors` file with another project's parameter names.

    Args:
        export: The network.
        path: The file.

    Returns:
        The parity comparisons, made with spandrel's own loader. SwinIR is compared at multiples of its window and
        without the extra window that evaluation adds, because spandrel pads differently at the right and lower border.
        Networks of `models.others` are compared at multiples of their window: the padding is not in the file.

    Raises:
        UserError: spandrel is not installed, lacks the architecture, or has it with other constants.
        FailedError: spandrel fails to infer the network's hyperparameters, or its result differs.
    """
    try:
        from spandrel import ModelLoader, UnsupportedModelError
    except ImportError:
        raise UserError("format=spandrel needs spandrel; allowed: pip install 'sr_lightning[spandrel]'") from None
    net = export.net
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        state = as_precision(_their_state(net, export), export.card.precision)
    tensors = {key: value.contiguous() for key, value in state.items()}
    path.write_bytes(safetensors.torch.save(tensors, metadata={KEY: export.card.text()}))
    with warnings.catch_warnings(action="ignore"):
        try:
            found = ModelLoader().load_from_state_dict(safetensors.torch.load_file(path))
        except UnsupportedModelError:
            name = type(net).__name__
            raise UserError(
                f"format: spandrel does not recognise {name} by its weights; allowed: another format"
            ) from None
        except Exception as error:  # anything that an architecture raises
            raise FailedError(f"spandrel does not load the file: {one_line(error)}") from error
    file, card = found.model.eval(), export.card
    if isinstance(net, SpandrelNetwork):
        shapes = sizes(multiple=max(net.multiple_of, net.minimum))

        def one_by_one(lr: Tensor) -> Tensor:  # spandrel's SeemoRe requires it
            return torch.cat([file(image[None]) for image in lr])

        return compare(one_by_one, net, shapes, card.scale, precision=card.precision)
    if not isinstance(net, SwinIR):
        return export.prove(file)
    net.train()  # this only disables the extra window
    try:
        shapes = sizes(multiple=net.window)
        return compare(file, net, shapes, card.scale, precision=card.precision)
    finally:
        net.eval()


def _their_state(net: nn.Module, export: Export) -> dict[str, Tensor]:
    if isinstance(net, SpandrelNetwork):
        return net.net.state_dict()
    if not isinstance(net, SRNetwork) or type(net) not in MAKERS:
        allowed = ", ".join(ours.__name__ for ours in MAKERS)
        raise UserError(NO_ARCHITECTURE.format(name=type(net).__name__, allowed=allowed))
    theirs = MAKERS[type(net)](net).eval()
    theirs.load_state_dict(published_state(net.from_official, theirs.state_dict(), net.state_dict()))
    theirs(export.example())  # SPAN merges its layers when run
    return theirs.state_dict()


def _rrdb(net: RRDBNet) -> nn.Module:
    from spandrel.architectures.ESRGAN import ESRGAN

    sizes = net.infer(net.state_dict())
    if sizes["growth"] != 32:
        raise UserError(f"format: spandrel has RRDBNet with model.growth=32, found {sizes['growth']}")
    made: nn.Module = ESRGAN(num_filters=sizes["n_feats"], num_blocks=sizes["n_blocks"], scale=net.scales[0])
    return made


def _swinir(net: SwinIR) -> nn.Module:
    from spandrel.architectures.SwinIR import SwinIR as Theirs

    _check_mean(net)
    sizes = net.infer(net.state_dict())
    made: nn.Module = Theirs(
        img_size=64,
        embed_dim=sizes["n_feats"],
        depths=[sizes["n_layers"]] * sizes["n_blocks"],
        num_heads=[sizes["n_heads"]] * sizes["n_blocks"],
        window_size=net.window,
        mlp_ratio=sizes["mlp_ratio"],
        upscale=net.scales[0],
        img_range=1.0,
        upsampler="pixelshuffledirect",
    )
    return made


def _span(net: SPAN) -> nn.Module:
    from spandrel.architectures.SPAN import SPAN as Theirs

    _check_mean(net)
    sizes = net.infer(net.state_dict())
    if sizes["expansion"] != 2:
        raise UserError(f"format: spandrel has SPAN with model.expansion=2, found {sizes['expansion']}")
    made: nn.Module = Theirs(
        num_in_ch=3, num_out_ch=3, feature_channels=sizes["n_feats"], upscale=net.scales[0], rgb_mean=DIV2K_MEAN
    )
    return made


def _rcan(net: RCAN) -> nn.Module:
    from spandrel.architectures.RCAN import RCAN as Theirs

    sizes = net.infer(net.state_dict())
    made: nn.Module = Theirs(
        scale=net.scales[0],
        n_resgroups=sizes["n_groups"],
        n_resblocks=sizes["n_blocks"],
        n_feats=sizes["n_feats"],
        reduction=sizes["reduction"],
    )
    with torch.no_grad():  # its weights include the mean
        mean = LEVELS * net.rgb_mean.flatten()
        made.get_parameter("sub_mean.bias").copy_(-mean)
        made.get_parameter("add_mean.bias").copy_(mean)
    return made


def _check_mean(net: SwinIR | SPAN) -> None:
    """Checks the mean, which is a constant in spandrel."""
    mean = net.rgb_mean.flatten()
    if not torch.allclose(mean, torch.tensor(DIV2K_MEAN), rtol=0, atol=1e-6):
        found = [round(value, 4) for value in mean.tolist()]
        raise UserError(
            f"format: spandrel has {type(net).__name__} with model.rgb_mean={list(DIV2K_MEAN)}, found {found}"
        )


# For each of our networks, a function that builds spandrel's equivalent with the same constants.
MAKERS: dict[type[SRNetwork], Callable[[Any], nn.Module]] = {RRDBNet: _rrdb, SwinIR: _swinir, SPAN: _span, RCAN: _rcan}
