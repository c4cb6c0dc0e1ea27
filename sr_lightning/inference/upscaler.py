"""Enlargement of images of any size and type: tile by tile, yielded in blocks of finished rows."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sr_lightning.errors import FailedError, UserError, is_out_of_memory
from sr_lightning.image.color import SYMMETRIES, dihedral, inverse_dihedral
from sr_lightning.image.resize import enlarge, resize
from sr_lightning.inference.blending import blended_rows
from sr_lightning.inference.planes import apply_to_planes
from sr_lightning.inference.tile_grid import Rectangle, TileGrid, inside, original_part, transformed_part
from sr_lightning.inference.tiling import tile_margin
from sr_lightning.models.precision import is_fast_in_bf16

log = logging.getLogger(__name__)

Precision = Literal["float32", "bf16", "auto"]
Tile = int | Literal["auto"] | None
Image = NDArray[Any]  # uint8, uint16 or float32

# Above some 300 pixels per side, the buffers of small networks exceed what the C library keeps for reuse (32 MB).
_TILE_CPU = 256
_TILE_GPU = 512
_SMALLEST_TILE = 16
_BACK_PROJECTION = 5  # LR pixels that one step adds to the receptive radius


class Upscaler:
    """A network together with every setting that affects its output.

    Args:
        net: A network in evaluation mode; moved to the device.
        scale: The scale factor.
        device: Device to compute on.
        tile: Largest side of a tile in LR pixels, without the overlap; `auto` picks what suits the device, or the whole
            image for a network whose receptive field is the whole image; None processes the whole image at once.
        overlap: LR pixels that a tile sees beyond each side; None uses as many as the network needs, so that the result
            equals the whole image's (up to rounding, below 1e-6). With an explicit overlap, tiles of a network whose
            receptive field is the whole image are blended, which changes the result.
        self_ensemble: As in `super_resolve`.
        precision: `bf16` runs the network in bfloat16, `auto` does so where the device is fast at it. bfloat16 is not
            accurate enough for results of more than 8 bits, which are always computed in float32.
        back_projection: Number of iterative back-projection steps, which correct the result until it downscales to the
            LR image (Irani and Peleg 1991). Appropriate where the LR image was made by bicubic downscaling.

    Raises:
        UserError: A setting is not one of the allowed values.
    """

    def __init__(
        self,
        net: nn.Module,
        scale: int,
        *,
        device: torch.device | str = "cpu",
        tile: Tile = "auto",
        overlap: int | None = None,
        self_ensemble: bool = False,
        precision: Precision = "float32",
        back_projection: int = 0,
    ) -> None:
        _check(tile, overlap, precision, back_projection)
        self.device = torch.device(device)
        self.net = net.to(self.device)
        self.scale = scale
        self.tile, self.overlap, self.precision = tile, overlap, precision
        self.self_ensemble, self.back_projection = self_ensemble, back_projection
        self.is_bf16 = precision == "bf16" or (precision == "auto" and is_fast_in_bf16(self.device))
        self.notes: dict[str, str] = {}
        """Remarks for the user on how images were enlarged, by topic."""
        self._most: int | None = None
        """Largest tile side that fits into memory, set after one did not."""

    def on(self, device: torch.device | str) -> Upscaler:
        """Returns a copy of this upscaler, network included, on another device."""
        return Upscaler(
            copy.deepcopy(self.net),
            self.scale,
            device=device,
            tile=self.tile,
            overlap=self.overlap,
            self_ensemble=self.self_ensemble,
            precision=self.precision,
            back_projection=self.back_projection,
        )

    def rows(self, lr: Image, dtype: type[Any]) -> Iterator[Image]:
        """Enlarges an image, yielding it row block by row block.

        Args:
            lr: (h, w, C) uint8, uint16 or float32 in [0, 1]; C as in `image.encoder.Layout`.
            dtype: Type of the result: uint8 or uint16 (both clamped and rounded half up), or float32 (neither).

        Yields:
            Blocks (n, w·s, C) of successive rows.

        Raises:
            UserError: Tiles are requested, and would change the network's result.
            FailedError: Not even a small tile fits into memory, or the network's output is not finite.
        """
        height, width, channels = lr.shape
        grid, row = self._grid(height, width), 0
        if self._blends and grid.tile < max(height, width):
            yield from self._blended(lr, grid, dtype)
            return
        while row < height:
            stop = next(rows.stop for rows in grid.rows() if rows.stop > row)
            block: Any = np.empty(((stop - row) * self.scale, width * self.scale, channels), dtype)
            try:
                for columns in grid.columns():
                    place = slice(columns.start * self.scale, columns.stop * self.scale)
                    part = self._part(lr, (slice(row, stop), columns), grid, is_exact=_is_exact(dtype))
                    block[:, place] = _as_levels(part, dtype)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                grid = self._halved(grid)
                continue
            yield block
            row = stop

    def _blended(self, lr: Image, grid: TileGrid, dtype: type[Any]) -> Iterator[Image]:
        """Yields rows of blended tiles, for a network whose result for a tile is not that for the whole image."""
        overlap, name = self.overlap or 0, type(self.net).__name__
        self.notes["blending"] = f"{name} sees whole images: tiles of {grid.tile} LR pixels, blended over {2 * overlap}"

        def enlarge(part: Rectangle) -> Tensor:
            tile = lr[part]
            height, width = tile.shape[:2]
            alone = TileGrid(height, width, max(height, width), 0)
            return self._part(tile, (slice(0, height), slice(0, width)), alone, is_exact=_is_exact(dtype))

        try:
            for block in blended_rows(grid, overlap, self.scale, lr.shape[2], enlarge):
                yield _as_levels(block, dtype)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise FailedError(f"out of memory with tiles of {grid.tile} LR pixels; allowed: a smaller tile") from None

    def _grid(self, height: int, width: int) -> TileGrid:
        whole = TileGrid(height, width, max(height, width), 0)
        if self.tile is None and self._most is None:
            return whole
        tile = self.tile if isinstance(self.tile, int) else _TILE_GPU if self.device.type == "cuda" else _TILE_CPU
        tile = min(tile, self._most or tile)
        if self.tile == "auto" and height * width <= (tile + 64) ** 2 and self._most is None:
            return whole  # its buffers are no larger than a tile's
        if tile >= max(height, width):
            return whole
        if self._blends:
            return TileGrid(height, width, max(tile, 3 * (self.overlap or 0)), 0)  # as `blended_rows` requires
        try:
            margin, step = tile_margin(self.net, self.scale, self.overlap)
        except UserError:
            if self.tile != "auto":
                raise
            return whole
        margin += _BACK_PROJECTION * self.back_projection
        if self.tile == "auto":
            tile = max(tile, 2 * margin)  # otherwise most of the work would go into margins
        return TileGrid(height, width, min(tile, self._most or tile), margin, step)

    @functools.cached_property
    def _blends(self) -> bool:
        """Whether tiles change the network's result and the user asks for them anyway."""
        if self.overlap is None:
            return False
        try:
            needed, _ = tile_margin(self.net, self.scale, None)
        except UserError:
            return True
        if self.overlap < needed:
            self.notes["overlap"] = (
                f"tiles overlap by {self.overlap} LR pixels, but {type(self.net).__name__} sees {needed}: "
                "not the whole image's result"
            )
        return False

    def _halved(self, grid: TileGrid) -> TileGrid:
        """Returns a grid of smaller tiles.

        Raises:
            FailedError: Tiles cannot become smaller, or would change the result.
        """
        tile = max(parts.stop - parts.start for parts in (*grid.rows(), *grid.columns())) // 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if tile < _SMALLEST_TILE:
            raise FailedError(f"out of memory with tiles of {2 * tile} LR pixels; allowed: a smaller network")
        try:
            margin, step = tile_margin(self.net, self.scale, self.overlap)
        except UserError as error:
            raise FailedError(f"out of memory with the whole image; {error}") from None
        log.warning("out of memory: tiles of %d LR pixels from here on", tile)
        self.notes["memory"] = f"tiles of {tile} LR pixels: larger ones did not fit into memory"
        self._most = tile
        return TileGrid(grid.height, grid.width, tile, margin + _BACK_PROJECTION * self.back_projection, step)

    def _part(self, lr: Image, part: Rectangle, grid: TileGrid, *, is_exact: bool) -> Tensor:
        """Returns the SR pixels of a tile as (C, n, m) float32 on the device."""
        channels = lr.shape[2]
        colours = channels - 1 if channels % 2 == 0 else channels
        with torch.inference_mode():
            sr = self._planes(lr[..., :colours], part, grid, is_exact=is_exact)
            if colours == channels:
                return sr
            return torch.cat([sr, self._alpha(lr[..., colours:], part, grid, is_exact=is_exact)], dim=0)

    def _planes(self, lr: Image, part: Rectangle, grid: TileGrid, *, is_exact: bool) -> Tensor:
        """Returns the colour channels of a tile as (C, n, m) float32; C is 1 or 3."""
        size = lr.shape[0], lr.shape[1]
        codes = range(SYMMETRIES) if self.self_ensemble else range(1)
        total: Tensor | None = None
        for code in codes:
            own = transformed_part(part, size, code)
            window = grid.transformed(code).window(own)
            rows, columns = original_part(window, size, code)
            x = dihedral(_as_tensor(lr[rows, columns], self.device), code)  # (1, C, ·, ·)
            inner = inside(own, window, self.scale)
            y = inverse_dihedral(self._enlarged(x, is_exact=is_exact)[..., inner[0], inner[1]], code)
            total = y if total is None else total.add_(y)
        assert total is not None
        return total[0] / len(codes) if len(codes) > 1 else total[0]

    def _alpha(self, lr: Image, part: Rectangle, grid: TileGrid, *, is_exact: bool) -> Tensor:
        """Enlarges opacity as a grey image: (1, n, m), exactly 0 or 1 where it is so all around the LR pixel."""
        window = grid.window(part)
        x = _as_tensor(lr[window], self.device)
        lowest, highest = (float(value) for value in torch.aminmax(x))
        inner = inside(part, window, self.scale)
        if lowest == highest:
            shape = [s.stop - s.start for s in inner]
            return torch.full((1, *shape), lowest, device=self.device)
        alpha = self._planes(lr, part, grid, is_exact=is_exact)
        for value, most in ((1.0, -functional.max_pool2d(-x, 3, 1, 1)), (0.0, functional.max_pool2d(x, 3, 1, 1))):
            flat = (most == value).repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)
            alpha = alpha.masked_fill(flat[0, ..., inner[0], inner[1]], value)
        return alpha

    def _enlarged(self, x: Tensor, *, is_exact: bool) -> Tensor:
        """(1, C, h, w) -> (1, C, h·s, w·s), float32 and finite."""
        use_bf16 = self.is_bf16 and not is_exact
        y = apply_to_planes(self.net, x, self.scale, precision=torch.bfloat16 if use_bf16 else torch.float32)
        if use_bf16 and not _is_finite(y):
            y = apply_to_planes(self.net, x, self.scale)
        if not _is_finite(y):
            raise FailedError(f"{type(self.net).__name__} makes values that are not finite of this image")
        for _ in range(self.back_projection):
            y = y + enlarge(x - resize(y, Fraction(1, self.scale)), self.scale)
        return y


def _check(tile: Tile, overlap: int | None, precision: Precision, back_projection: int) -> None:
    if not (tile is None or tile == "auto" or (isinstance(tile, int) and tile >= _SMALLEST_TILE)):
        raise UserError(f"tile: found {tile!r}, allowed: {_SMALLEST_TILE} and more LR pixels, 'auto', None")
    if overlap is not None and overlap < 0:
        raise UserError(f"overlap: found {overlap}, allowed: 0 and more LR pixels, None")
    if precision not in get_args(Precision):
        raise UserError(f"precision: found {precision!r}, allowed: {', '.join(get_args(Precision))}")
    if back_projection < 0:
        raise UserError(f"back_projection: found {back_projection}, allowed: 0 and more")


def _is_finite(x: Tensor) -> bool:
    return bool(torch.isfinite(x.sum()))


def _as_tensor(part: Image, device: torch.device) -> Tensor:
    """(h, w, C) -> (1, C, h, w), float32 in [0, 1]."""
    highest = np.iinfo(part.dtype).max if part.dtype.kind == "u" else 1
    x = torch.from_numpy(np.array(part.transpose(2, 0, 1), order="C")).to(device)
    x = x.to(torch.float32)
    return (x / highest if highest > 1 else x)[None]


def _is_exact(dtype: type[Any]) -> bool:
    """Returns whether a result has more bits than bfloat16's 8 bits of precision."""
    return np.dtype(dtype).itemsize > 1


def _as_levels(x: Tensor, dtype: type[Any]) -> Image:
    """Converts (C, n, m) -> (n, m, C), rounded half up and clamped for integer types."""
    with torch.inference_mode():
        if np.dtype(dtype).kind == "u":
            highest = np.iinfo(dtype).max
            x = x.mul(highest).add_(0.5).clamp_(0, highest)
            x = x.to(torch.uint8) if highest == 255 else x.to(torch.int32).to(torch.uint16)
        return x.permute(1, 2, 0).cpu().numpy()
