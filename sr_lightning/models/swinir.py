"""SwinIR: Liang et al., Image Restoration Using Swin Transformer, ICCVW 2021; the lightweight variant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_lightning.errors import UserError
from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import DIV2K_MEAN, check_scale, conv, sub_pixel
from sr_lightning.models.conversion import Names, Official, State, count, rename, sub_pixel_scale


class SwinIR(SRNetwork):
    """Self-attention in windows, shifted in every second layer (fig. 2). The defaults are the lightweight network.

    Images are padded at the right and bottom by mirroring, with the edge pixel repeated, to a multiple of the window.
    In evaluation, sides that already are a multiple are padded by one more window, as in the authors' test program
    that produced the published results (JingyunLiang/SwinIR, main_test_swinir.py). Their network itself, and
    spandrel's, mirror without repeating the edge.

    Args:
        scale: Scale factor.
        n_feats: Number of channels; a multiple of `n_heads`.
        n_blocks: Number of residual Swin transformer blocks.
        n_layers: Number of attention layers in each block.
        n_heads: Number of attention heads.
        window: Side length of a window in LR pixels; even.
        mlp_ratio: Hidden width of the MLP, as a multiple of the channels.
        rgb_mean: Subtracted from the input and added to the output; by default the mean of DIV2K.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        n_feats: int = 60,
        n_blocks: int = 4,
        n_layers: int = 6,
        n_heads: int = 6,
        window: int = 8,
        mlp_ratio: float = 2.0,
        rgb_mean: Sequence[float] = DIV2K_MEAN,
    ) -> None:
        super().__init__()
        self.scales = (check_scale(scale),)
        if n_feats % n_heads:
            raise UserError(f"model.n_feats: found {n_feats}, allowed: a multiple of n_heads ({n_heads})")
        if window % 2:
            raise UserError(f"model.window: found {window}, allowed: even numbers")
        self.window = window
        self.register_buffer("rgb_mean", torch.tensor(rgb_mean).view(3, 1, 1), persistent=False)
        self.rgb_mean: Tensor
        self.head = conv(3, n_feats)
        self.norm_in = nn.LayerNorm(n_feats)
        self.blocks = nn.ModuleList(
            _Block(n_feats, n_layers, n_heads=n_heads, window=window, hidden=int(n_feats * mlp_ratio))
            for _ in range(n_blocks)
        )
        self.norm_out = nn.LayerNorm(n_feats)
        self.body = conv(n_feats, n_feats)
        self.tail = sub_pixel(n_feats, 3, scale)

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts the authors' names (JingyunLiang/SwinIR) for the lightweight network, on 0..1 with DIV2K's mean.

        Index and masks of the windows are dropped, as they are not weights.
        """
        if "layers.0.residual_group.blocks.0.norm1.weight" not in state:
            return None
        layer = r"layers\.(\d+)\.residual_group\.blocks\.(\d+)\."
        names: Names = {
            r"conv_first\.": "head.",
            r"patch_embed\.norm\.": "norm_in.",
            rf"{layer}attn\.relative_position_bias_table": r"blocks.\1.layers.\2.attention.bias",
            rf"{layer}attn\.qkv\.": r"blocks.\1.layers.\2.attention.qkv.",
            rf"{layer}attn\.proj\.": r"blocks.\1.layers.\2.attention.out.",
            rf"{layer}mlp\.fc1\.": r"blocks.\1.layers.\2.mlp.0.",
            rf"{layer}mlp\.fc2\.": r"blocks.\1.layers.\2.mlp.2.",
            layer: r"blocks.\1.layers.\2.",
            r"layers\.(\d+)\.conv\.": r"blocks.\1.conv.",
            r"norm\.": "norm_out.",
            r"conv_after_body\.": "body.",
            r"upsample\.": "tail.",
        }
        kept = {
            key: value for key, value in state.items() if not key.endswith(("attn_mask", "relative_position_index"))
        }
        return Official(rename(kept, names), {"rgb_mean": list(DIV2K_MEAN)})

    @staticmethod
    def infer(state: State) -> dict[str, Any]:
        """Infers arguments from shapes."""
        n_feats = state["head.weight"].shape[0]
        bias = state["blocks.0.layers.0.attention.bias"]  # ((2·window - 1)², heads)
        return {
            "scale": sub_pixel_scale(state, r"tail\.0\.weight", 3),
            "n_feats": n_feats,
            "n_blocks": count(state, "blocks"),
            "n_layers": count(state, "blocks.0.layers"),
            "n_heads": bias.shape[1],
            "window": (math.isqrt(bias.shape[0]) + 1) // 2,
            "mlp_ratio": state["blocks.0.layers.0.mlp.0.weight"].shape[0] / n_feats,
        }

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, h, w) RGB in [0, 1] -> (N, 3, h·s, w·s)."""
        height, width = x.shape[-2:]
        filled = _mirrored(x, self.window, always=not self.training)
        shallow = self.head(filled - self.rgb_mean)
        features = self.norm_in(shallow.permute(0, 2, 3, 1))  # (N, H, W, C)
        for block in self.blocks:
            features = block(features)
        features = self.norm_out(features).permute(0, 3, 1, 2)  # (N, C, H, W)
        y: Tensor = self.tail(self.body(features) + shallow) + self.rgb_mean
        return y[..., : height * self.scales[0], : width * self.scales[0]]


def _mirrored(x: Tensor, multiple: int, *, always: bool) -> Tensor:
    """Mirrors the right and bottom until the sides are a multiple; `always`: extends sides that already are, too."""
    for dim in (-2, -1):
        n = x.shape[dim]
        # Not -(-n // multiple), because ONNX rounds integer division towards zero.
        filled = (n // multiple + 1) * multiple if always else (n + multiple - 1) // multiple * multiple
        index = torch.arange(filled, device=x.device)
        index = index - index // (2 * n) * (2 * n)  # as in resize
        x = x.index_select(dim, torch.where(index < n, index, 2 * n - 1 - index))
    return x


class _Block(nn.Module):
    """Attention layers and a convolution in a residual branch (eq. 5)."""

    def __init__(self, n_feats: int, n_layers: int, *, n_heads: int, window: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(
                _Layer(n_feats, n_heads=n_heads, window=window, shift=window // 2 if i % 2 else 0, hidden=hidden)
                for i in range(n_layers)
            )
        )
        self.conv = conv(n_feats, n_feats)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, H, W, C) -> the same shape."""
        residual: Tensor = self.conv(self.layers(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + residual


class _Layer(nn.Module):
    """Window attention and an MLP, each with layer normalisation before it (eq. 8)."""

    def __init__(self, n_feats: int, *, n_heads: int, window: int, shift: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(n_feats)
        self.attention = WindowAttention(n_feats, n_heads=n_heads, window=window, shift=shift)
        self.norm2 = nn.LayerNorm(n_feats)
        self.mlp = nn.Sequential(_linear(n_feats, hidden), nn.GELU(), _linear(hidden, n_feats))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, H, W, C) -> the same shape."""
        x = x + self.attention(self.norm1(x))
        residual: Tensor = self.mlp(self.norm2(x))
        return x + residual


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, with a learned relative position bias (Liu et al. 2021).

    Args:
        n_feats: Number of channels.
        n_heads: Number of heads.
        window: Side length of a window.
        shift: Cyclic shift of the windows in pixels; pixels that are adjacent only through the wrap-around do not
            attend to each other.
    """

    def __init__(self, n_feats: int, *, n_heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.n_heads, self.window, self.shift = n_heads, window, shift
        self.qkv = _linear(n_feats, 3 * n_feats)
        self.out = _linear(n_feats, n_feats)
        self.bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, n_heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        places = torch.stack([rows, columns]).flatten(1)  # (2, window²)
        apart = places[:, :, None] - places[:, None] + window - 1  # (2, window², window²), from 0
        self.register_buffer("index", apart[0] * (2 * window - 1) + apart[1], persistent=False)
        self.index: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, H, W, C), H and W multiples of the window -> the same shape."""
        n, height, width, c = x.shape
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        windows = _windows(x, self.window)  # (N, nW, window², C)
        # (N, nW, window², 3, heads, C / heads) -> three of (N, nW, heads, window², C / heads)
        q, k, v = self.qkv(windows).unflatten(-1, (3, self.n_heads, -1)).permute(3, 0, 1, 4, 2, 5)
        bias = self.bias[self.index].permute(2, 0, 1)  # (heads, window², window²)
        if self.shift:
            bias = bias + self._mask(height, width, x.device)[:, None]  # (nW, heads, window², window²)
        found = _attention(q, k, v, bias.to(q.dtype))
        y: Tensor = self.out(found.transpose(-2, -3).flatten(-2))  # (N, nW, heads, window², …) -> (N, nW, window², C)
        rows = height // self.window
        y = y.reshape(n, rows, -1, self.window, self.window, c)  # (N, rows, columns, window, window, C)
        y = y.transpose(2, 3).reshape(n, height, width, c)
        return y.roll((self.shift, self.shift), (1, 2)) if self.shift else y

    def _mask(self, height: int, width: int, device: torch.device) -> Tensor:
        """Returns (nW, window², window²): -100 between pixels on different sides of the wrapped image border."""

        def sides(n: int) -> Tensor:
            # The last window contains pixels from both ends; all others are contiguous.
            return (torch.arange(n, device=device) >= n - self.shift).long()

        region = 2 * sides(height)[:, None] + sides(width)  # (H, W)
        region = _windows(region[None, :, :, None], self.window)[0, :, :, 0]  # (nW, window²)
        return torch.where(region[:, :, None] == region[:, None], 0.0, -100.0)


def _attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Returns softmax(q·kᵀ / √d + bias) · v: (…, window², d) three times -> the same shape."""
    if not torch.compiler.is_exporting():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    # Torch's ONNX exporter supports that function for four dimensions only; there are five here.
    weights: Tensor = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + bias
    return weights.softmax(-1) @ v


def _windows(x: Tensor, side: int) -> Tensor:
    """Maps (N, H, W, C) -> (N, H / side · W / side, side², C)."""
    n, height, width, c = x.shape
    x = x.reshape(n, height // side, side, width // side, side, c)  # (N, rows, side, columns, side, C)
    return x.transpose(2, 3).reshape(n, -1, side * side, c)


def _linear(n_in: int, n_out: int) -> nn.Linear:
    layer = nn.Linear(n_in, n_out)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer
