"""Networks of other groups, in the code of spandrel (an optional extra), padded to the sizes that they take."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sr_lightning.errors import UserError
from sr_lightning.models.base import SRNetwork
from sr_lightning.models.conversion import Official, State

# What a checkpoint may name; `SpandrelNetwork` takes any module, so that it is none of these.
__all__ = [
    "ATD",
    "CRAFT",
    "DAT",
    "DRCT",
    "HAT",
    "PLKSR",
    "RGT",
    "SAFMN",
    "MoSR",
    "OmniSR",
    "SeemoRe",
    "Swin2SR",
]


class SpandrelNetwork(SRNetwork):
    """Adapts a class of spandrel to our interface, for training and inference.

    Args:
        net: (N, 3, h, w) in [0, 1] -> (N, 3, h·s, w·s).
        scale: Its s.
        multiple_of: Sides are padded to a multiple of it, and the SR image is cut after.
        minimum: Sides are padded to it.
    """

    def __init__(self, net: nn.Module, scale: int, *, multiple_of: int = 1, minimum: int = 1) -> None:
        super().__init__()
        self.scales = (scale,)
        self.net = net
        self.multiple_of, self.minimum = multiple_of, minimum

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, h, w) in [0, 1] -> (N, 3, h·s, w·s)."""
        height, width = x.shape[-2:]
        least = self._least(height, width)
        for axis, side in ((2, height), (3, width)):
            wanted = torch.sym_max(side, least) if least > self.multiple_of else side
            wanted = (wanted + self.multiple_of - 1) // self.multiple_of * self.multiple_of
            if torch.compiler.is_exporting() or wanted != side:  # what is exported is asked nothing about sizes
                x = x.index_select(axis, _reflected(side, wanted, x.device))
        y: Tensor = self.net(x)
        return y[..., : height * self.scales[0], : width * self.scales[0]]

    def _least(self, height: int, width: int) -> int:
        """What the sides of an image of that size are padded to."""
        return self.minimum

    @staticmethod
    def from_official(state: State) -> Official | None:
        """The authors' files hold the network without the adapter."""
        if any(name.startswith("net.") for name in state):
            return None
        return Official({f"net.{name}": value for name, value in state.items()}, {})


def _reflected(side: int, wanted: int | torch.SymInt, device: torch.device) -> Tensor:
    """(wanted,) indices into a side: to its end, back without that end, and so on, as often as needed."""
    index = torch.arange(wanted, device=device)
    period = (2 * torch.arange(side, device=device)[-1]).clamp(min=1)  # a tensor: an exported side is no number
    index = index - torch.div(index, period, rounding_mode="floor") * period
    return torch.minimum(index, period - index)


def _refuse_to_be_exported(net: nn.Module, why: str) -> None:
    """Where torch would try for minutes, and fail."""
    if torch.compiler.is_exporting():
        raise UserError(
            f"format: {type(net).__name__} is not the same for images of all sizes: {why}; "
            "allowed: safetensors, spandrel"
        )


def _spandrel(name: str) -> Any:
    """Spandrel's class of an architecture.

    Raises:
        UserError: spandrel is not installed.
    """
    try:
        module = importlib.import_module(f"spandrel.architectures.{name}")
    except ImportError:
        raise UserError(
            f"model: {name} is in spandrel, which is not installed; allowed: pip install 'sr_lightning[spandrel]'"
        ) from None
    return getattr(module, name)


class HAT(SpandrelNetwork):
    """Chen et al. 2023, Activating More Pixels in Image Super-Resolution Transformer, CVPR."""

    def __init__(
        self,
        scale: int = 4,
        *,
        embed_dim: int = 48,
        depths: Sequence[int] = (6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6),
        window_size: int = 16,
        compress_ratio: int = 3,
        squeeze_factor: int = 30,
        mlp_ratio: float = 2.0,
    ) -> None:
        net = _spandrel("HAT")(
            upscale=scale,
            embed_dim=embed_dim,
            depths=tuple(depths),
            num_heads=tuple(num_heads),
            window_size=window_size,
            compress_ratio=compress_ratio,
            squeeze_factor=squeeze_factor,
            mlp_ratio=mlp_ratio,
        )
        super().__init__(net, scale, multiple_of=window_size, minimum=16)


class DAT(SpandrelNetwork):
    """Chen et al. 2023, Dual Aggregation Transformer for Image Super-Resolution, ICCV."""

    def __init__(
        self,
        scale: int = 4,
        *,
        embed_dim: int = 60,
        depth: Sequence[int] = (18,),
        num_heads: Sequence[int] = (6,),
        split_size: Sequence[int] = (8, 32),
        expansion_factor: float = 2.0,
        resi_connection: str = "3conv",
        upsampler: str = "pixelshuffledirect",
    ) -> None:
        net = _spandrel("DAT")(
            upscale=scale,
            embed_dim=embed_dim,
            depth=list(depth),
            num_heads=list(num_heads),
            split_size=list(split_size),
            expansion_factor=expansion_factor,
            resi_connection=resi_connection,
            upsampler=upsampler,
        )
        super().__init__(net, scale, minimum=16)

    def _least(self, height: int, width: int) -> int:
        """As given."""
        _refuse_to_be_exported(self, "each of its blocks fills them to multiples of a window")
        return self.minimum


class ATD(SpandrelNetwork):
    """Zhang et al. 2024, Transcending the Limit of Local Window, CVPR: an adaptive dictionary of tokens."""

    def __init__(
        self,
        scale: int = 4,
        *,
        embed_dim: int = 48,
        depths: Sequence[int] = (6, 6, 6, 6),
        num_heads: Sequence[int] = (4, 4, 4, 4),
        window_size: int = 16,
        category_size: int = 128,
        num_tokens: int = 64,
        reducted_dim: int = 8,
        convffn_kernel_size: int = 7,
        mlp_ratio: float = 1.0,
        upsampler: str = "pixelshuffledirect",
    ) -> None:
        net = _spandrel("ATD")(
            upscale=scale,
            embed_dim=embed_dim,
            depths=tuple(depths),
            num_heads=tuple(num_heads),
            window_size=window_size,
            category_size=category_size,
            num_tokens=num_tokens,
            reducted_dim=reducted_dim,
            convffn_kernel_size=convffn_kernel_size,
            mlp_ratio=mlp_ratio,
            upsampler=upsampler,
        )
        super().__init__(net, scale, multiple_of=window_size)


class RGT(SpandrelNetwork):
    """Chen et al. 2024, Recursive Generalization Transformer for Image Super-Resolution, ICLR."""

    def __init__(
        self,
        scale: int = 4,
        *,
        embed_dim: int = 48,
        depth: Sequence[int] = (6, 6),
        num_heads: Sequence[int] = (6, 6),
        split_size: Sequence[int] = (8, 32),
        c_ratio: float = 0.5,
        mlp_ratio: float = 2.0,
    ) -> None:
        net = _spandrel("RGT")(
            upscale=scale,
            embed_dim=embed_dim,
            depth=list(depth),
            num_heads=list(num_heads),
            split_size=list(split_size),
            c_ratio=c_ratio,
            mlp_ratio=mlp_ratio,
        )
        super().__init__(net, scale, minimum=16)

    def _least(self, height: int, width: int) -> int:
        """Its recursion shrinks both sides by the same factor, which the longer one decides."""
        _refuse_to_be_exported(self, "the longer side decides how often it shrinks them")
        longest = max(height, width, self.minimum)
        return int(4 ** max(2, int(math.log(longest // 16, 4))))  # as spandrel counts


class DRCT(SpandrelNetwork):
    """Hsu et al. 2024, DRCT: Saving Image Super-Resolution away from Information Bottleneck, CVPR workshops."""

    def __init__(
        self,
        scale: int = 4,
        *,
        embed_dim: int = 48,
        depths: Sequence[int] = (6, 6),
        num_heads: Sequence[int] = (6, 6),
        window_size: int = 16,
        gc: int = 16,
        mlp_ratio: float = 2.0,
    ) -> None:
        net = _spandrel("DRCT")(
            upscale=scale,
            embed_dim=embed_dim,
            depths=tuple(depths),
            num_heads=tuple(num_heads),
            window_size=window_size,
            gc=gc,
            mlp_ratio=mlp_ratio,
            upsampler="pixelshuffle",
        )
        super().__init__(net, scale, multiple_of=window_size)


class CRAFT(SpandrelNetwork):
    """Li et al. 2023, Feature Modulation Transformer: Cross-Refinement of Global Representation, ICCV."""

    def __init__(
        self,
        scale: int = 4,
        *,
        embed_dim: int = 48,
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (6, 6, 6, 6),
    ) -> None:
        net = _spandrel("CRAFT")(
            upscale=scale, embed_dim=embed_dim, depths=list(depths), num_heads=list(num_heads), window_size=16
        )
        super().__init__(net, scale, multiple_of=16)


class PLKSR(SpandrelNetwork):
    """Lee et al. 2024, Partial Large Kernel CNNs for Efficient Super-Resolution."""

    def __init__(
        self,
        scale: int = 4,
        *,
        dim: int = 64,
        n_blocks: int = 12,
        kernel_size: int = 13,
        ccm_type: str = "DCCM",
        split_ratio: float = 0.25,
        use_ea: bool = False,
    ) -> None:
        net = _spandrel("PLKSR")(
            upscaling_factor=scale,
            dim=dim,
            n_blocks=n_blocks,
            kernel_size=kernel_size,
            ccm_type=ccm_type,
            split_ratio=split_ratio,
            use_ea=use_ea,
        )
        super().__init__(net, scale)


class SAFMN(SpandrelNetwork):
    """Sun et al. 2023, Spatially-Adaptive Feature Modulation for Efficient Image Super-Resolution, ICCV."""

    def __init__(self, scale: int = 4, *, dim: int = 36, n_blocks: int = 8, ffn_scale: float = 2.0) -> None:
        net = _spandrel("SAFMN")(upscaling_factor=scale, dim=dim, n_blocks=n_blocks, ffn_scale=ffn_scale)
        for module in net.modules():
            if type(module).__name__ == "SAFM":
                module.forward = MethodType(_modulated, module)  # copied and converted with its module
        super().__init__(net, scale, multiple_of=8)


def _modulated(self: Any, x: Tensor) -> Tensor:
    """As spandrel's SAFM for sides that are multiples of 8, where its adaptive pooling is plain, for any such size."""
    found = []
    for level, (part, convolution) in enumerate(zip(x.chunk(self.n_levels, dim=1), self.mfr, strict=True)):
        if level:
            pooled = convolution(functional.max_pool2d(part, 2**level))
            found.append(functional.interpolate(pooled, scale_factor=2**level, mode="nearest"))
        else:
            found.append(convolution(part))
    modulated: Tensor = self.act(self.aggr(torch.cat(found, dim=1))) * x
    return modulated


class OmniSR(SpandrelNetwork):
    """Wang et al. 2023, Omni Aggregation Networks for Lightweight Image Super-Resolution, CVPR."""

    def __init__(self, scale: int = 4, *, num_feat: int = 64, res_num: int = 5, window_size: int = 8) -> None:
        net = _spandrel("OmniSR")(up_scale=scale, num_feat=num_feat, res_num=res_num, window_size=window_size)
        super().__init__(net, scale, multiple_of=window_size, minimum=16)


class SeemoRe(SpandrelNetwork):
    """Zamfir et al. 2024, See More Details: Efficient Image Super-Resolution by Experts Mining, ICML."""

    def __init__(
        self,
        scale: int = 4,
        *,
        embedding_dim: int = 36,
        num_layers: int = 6,
        num_experts: int = 3,
        recursive: int = 2,
        lr_space: str = "exp",
    ) -> None:
        net = _spandrel("SeemoRe")(
            scale=scale,
            embedding_dim=embedding_dim,
            num_layers=num_layers,
            num_experts=num_experts,
            recursive=recursive,
            lr_space=lr_space,
        )
        super().__init__(net, scale, minimum=16)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, h, w) in [0, 1] -> (N, 3, h·s, w·s); trained, it chooses experts for one image at a time."""
        if self.training or len(x) == 1:
            return super().forward(x)
        return torch.cat([super(SeemoRe, self).forward(image[None]) for image in x])


class MoSR(SpandrelNetwork):
    """MoSR of the project neosr: gated convolutions (Yu and Wang 2024, MambaOut) for super-resolution."""

    def __init__(self, scale: int = 4, *, dim: int = 64, n_block: int = 12, kernel_size: int = 7) -> None:
        net = _spandrel("MoSR")(upscale=scale, dim=dim, n_block=n_block, kernel_size=kernel_size)
        super().__init__(net, scale)


class Swin2SR(SpandrelNetwork):
    """Conde et al. 2022, Swin2SR: SwinV2 Transformer for Compressed Image Super-Resolution, ECCV workshops."""

    def __init__(
        self,
        scale: int = 4,
        *,
        embed_dim: int = 60,
        depths: Sequence[int] = (6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6),
        window_size: int = 8,
        mlp_ratio: float = 2.0,
        upsampler: str = "pixelshuffledirect",
    ) -> None:
        net = _spandrel("Swin2SR")(
            upscale=scale,
            img_size=64,
            embed_dim=embed_dim,
            depths=list(depths),
            num_heads=list(num_heads),
            window_size=window_size,
            mlp_ratio=mlp_ratio,
            upsampler=upsampler,
        )
        super().__init__(net, scale, multiple_of=window_size, minimum=16)
