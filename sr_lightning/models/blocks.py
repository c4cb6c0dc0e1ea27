"""Building blocks shared by several networks: residual blocks, activations, upsampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from sr_lightning.errors import UserError
from sr_lightning.image.resize import enlarge
from sr_lightning.models.initialisation import RESIDUAL, icnr_, kaiming_

Activation = Literal["relu", "leaky_relu", "prelu", "gelu", "silu"]
Upsampling = Literal["pixelshuffle", "pixelshuffle_direct", "nearest_conv", "bicubic"]
SUB_PIXEL_SCALES = (2, 3, 4, 8)
DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean colour of DIV2K, subtracted by EDSR and its relatives (Lim et al. 2017, section 4.2)."""


def check_scale(scale: int, *, allowed: Sequence[int] = SUB_PIXEL_SCALES) -> int:
    """Returns the scale; raises UserError if the network does not support it."""
    if scale not in allowed:
        raise UserError(f"model.scale: found {scale!r}, allowed: {', '.join(map(str, allowed))}")
    return scale


def check_scales(scales: int | Sequence[int], *, allowed: Sequence[int] = SUB_PIXEL_SCALES) -> tuple[int, ...]:
    """Validates one or several scales; returns them sorted, without duplicates."""
    listed = [scales] if isinstance(scales, int) else list(scales)
    if not listed:
        raise UserError(f"model.scales: found none, allowed: {', '.join(map(str, allowed))}")
    return tuple(sorted({check_scale(scale, allowed=allowed) for scale in listed}))


def choose_scale(scales: tuple[int, ...], scale: int | None) -> int:
    """Returns the scale of one call of a multi-scale network."""
    if scale is None and len(scales) == 1:
        return scales[0]
    if scale not in scales:
        raise ValueError(f"scale: found {scale}, this network was built for {', '.join(map(str, scales))}")
    return scale


def activation(name: Activation) -> nn.Module:
    """Creates an activation function by name; a PReLU shares one slope across channels."""
    made: dict[str, nn.Module] = {
        "relu": nn.ReLU(inplace=True),
        "leaky_relu": nn.LeakyReLU(0.2, inplace=True),
        "prelu": nn.PReLU(),
        "gelu": nn.GELU(),
        "silu": nn.SiLU(inplace=True),
    }
    if name not in made:
        raise UserError(f"model.activation: found {name!r}, allowed: {', '.join(made)}")
    return made[name]


def conv(n_in: int, n_out: int, kernel_size: int = 3) -> nn.Conv2d:
    """Creates a He-initialised convolution that preserves the spatial size."""
    if kernel_size % 2 == 0:
        raise UserError(f"model: found a kernel of {kernel_size}, allowed: odd sizes")
    return kaiming_(nn.Conv2d(n_in, n_out, kernel_size, padding=kernel_size // 2))


class ResBlock(nn.Module):
    """conv - activation - conv, scaled and added to the input (Lim et al. 2017, EDSR, fig. 2c, section 3.3).

    Args:
        n_feats: Channels.
        kernel_size: Side length of both kernels.
        act: Activation function.
        res_scale: Factor of the residual; 0.1 keeps wide networks stable.
    """

    def __init__(self, n_feats: int, *, kernel_size: int = 3, act: Activation = "relu", res_scale: float = 1.0) -> None:
        super().__init__()
        last = kaiming_(conv(n_feats, n_feats, kernel_size), scale=RESIDUAL)
        self.body = nn.Sequential(conv(n_feats, n_feats, kernel_size), activation(act), last)
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, n_feats, h, w) -> the same shape."""
        residual: Tensor = self.body(x)
        return x + residual * self.res_scale


def to_image(n_feats: int, n_colors: int, kernel_size: int = 3) -> nn.Conv2d:
    """Creates the last convolution, with small weights: no ReLU follows, and images vary less than features."""
    return kaiming_(conv(n_feats, n_colors, kernel_size), scale=RESIDUAL)


def sub_pixel(n_in: int, n_out: int, scale: int) -> nn.Sequential:
    """Creates an ICNR-initialised sub-pixel convolution (Shi et al. 2016, ESPCN, section 3.2).

    It maps (N, n_in, h, w) -> (N, n_out, h·s, w·s).
    """
    convolution = nn.Conv2d(n_in, n_out * scale**2, 3, padding=1)
    return nn.Sequential(icnr_(convolution, scale), nn.PixelShuffle(scale))


def stages(scale: int) -> list[int]:
    """Returns the factors of the upsampling stages: x4 and x8 are split into stages of two, x3 is one stage."""
    return {2: [2], 3: [3], 4: [2, 2], 8: [2, 2, 2]}[scale]


class NearestConv(nn.Sequential):
    """Nearest-neighbour upsampling and a convolution for each stage (Odena et al. 2016)."""

    def __init__(self, n_feats: int, scale: int, act: Activation) -> None:
        layers: list[nn.Module] = []
        for stage in stages(scale):
            layers += [nn.Upsample(scale_factor=stage, mode="nearest"), conv(n_feats, n_feats), activation(act)]
        super().__init__(*layers)


class BicubicUpsample(nn.Module):
    """Bicubic upsampling with `enlarge`, as a layer."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, h, w) -> (N, C, h·s, w·s)."""
        return enlarge(x, self.scale)


def tail(n_feats: int, n_colors: int, scale: int, *, upsampler: Upsampling, act: Activation) -> nn.Sequential:
    """Creates the layers from LR features to the SR image.

    Args:
        n_feats: Input channels.
        n_colors: Output channels.
        scale: Scale factor.
        upsampler: `pixelshuffle`: sub-pixel convolutions in stages, then a convolution (EDSR).
            `pixelshuffle_direct`: one sub-pixel convolution directly to the image (ESPCN).
            `nearest_conv`: stages of nearest-neighbour upsampling and a convolution, then a convolution.
            `bicubic`: a convolution to the LR image, then bicubic upsampling.
        act: Activation function between the stages of `nearest_conv`.

    Returns:
        The layers; their last convolution is the last one of the network.
    """
    if upsampler == "pixelshuffle":
        shuffles = [sub_pixel(n_feats, n_feats, stage) for stage in stages(scale)]
        return nn.Sequential(*shuffles, to_image(n_feats, n_colors))
    if upsampler == "pixelshuffle_direct":
        return nn.Sequential(sub_pixel(n_feats, n_colors, scale))
    if upsampler == "nearest_conv":
        return nn.Sequential(NearestConv(n_feats, scale, act), to_image(n_feats, n_colors))
    if upsampler == "bicubic":
        return nn.Sequential(to_image(n_feats, n_colors), BicubicUpsample(scale))
    raise UserError(
        f"model.upsampler: found {upsampler!r}, allowed: pixelshuffle, pixelshuffle_direct, nearest_conv, bicubic"
    )
