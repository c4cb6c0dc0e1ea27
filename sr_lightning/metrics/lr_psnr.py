"""LR-PSNR: consistency of a downscaled SR image with its LR image (Lugmayr et al. 2021, NTIRE)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from sr_lightning.image.color import to_uint8
from sr_lightning.image.row_resampler import RowResampler, Rows, row_pieces, unit_range


class LRPSNR:
    """PSNR over RGB between the LR image and the downscaled SR image; the HR image is not used.

    The HR images of Set5 and Set14 themselves reach 51 to 59 dB rather than infinity: LR is rounded to 8 bits after
    each pass, whereas the downscaled image is not.
    """

    name = "lr_psnr"
    higher_is_better = True
    protocol = (
        "LR-PSNR in dB: 8-bit RGB shrunk by MATLAB's bicubic, clamped, not rounded, against the LR image, nothing "
        "shaved; where LR was made in another way, even HR falls short"
    )
    smallest = 1
    takes_lr = True

    def __call__(self, sr: Tensor, lr: Tensor) -> float:
        """Maps (1, 3, h·s, w·s) and (1, 3, h, w), uint8 or floating point in [0, 1] -> dB; see `QualityMetric`."""
        return lr_psnr(sr, lr)


def lr_psnr(sr: Tensor, lr: Tensor) -> float:
    """Consistency of an SR image with its LR image.

    Args:
        sr: (1, C, H, W), uint8 or floating point in [0, 1], which is rounded to 8 bits as in a saved file.
        lr: (1, C, h, w), likewise.

    Returns:
        PSNR in dB over all channels and pixels; infinite for identical images, NaN if `sr` is not finite.
    """
    if sr.ndim != 4 or sr.shape[:2] != lr.shape[:2] or len(sr) != 1:
        raise ValueError(f"expected (1, C, H, W) and (1, C, h, w), found {tuple(sr.shape)} and {tuple(lr.shape)}")
    sr = sr if sr.dtype == torch.uint8 or not sr.isfinite().all() else to_uint8(sr)
    rows, small = (x[0].detach().permute(1, 2, 0).cpu().numpy() for x in (sr, lr))  # (1, C, H, W) -> (H, W, C)
    consistency = Consistency(small, rows.shape[:2])
    consistency.look_at(rows)
    return consistency.psnr


class Consistency:
    """`lr_psnr` of an image whose rows arrive in blocks.

    Args:
        lr: (h, w, C), as given to the network; an alpha channel is ignored.
        size: (H, W) of the SR image.
    """

    def __init__(self, lr: Rows, size: tuple[int, int]) -> None:
        self._lr = lr[..., : lr.shape[2] - (lr.shape[2] % 2 == 0)]
        self._resampler = RowResampler(size, (lr.shape[0], lr.shape[1]))
        self._row, self._squares = 0, 0.0

    def watch(self, rows: Iterable[Rows]) -> Iterator[Rows]:
        """Passes the rows on while processing them."""
        for block in rows:
            self.look_at(block)
            yield block

    def look_at(self, block: Rows) -> None:
        """Processes the next rows, (n, W, C)."""
        for piece in row_pieces(block[..., : self._lr.shape[2]]):
            shrunken = self._resampler.push(torch.from_numpy(unit_range(piece)).permute(2, 0, 1))  # (C, m, w)
            stop = self._row + shrunken.shape[1]
            expected = torch.from_numpy(unit_range(self._lr[self._row : stop])).permute(2, 0, 1)
            # LR images are clamped too: at hard edges of HR, the downscaled values exceed black and white.
            self._squares += float((shrunken.clamp(0, 1) - expected).square().sum(dtype=torch.float64))
            self._row = stop

    @property
    def psnr(self) -> float:
        """LR-PSNR in dB, after all rows have been processed; infinite for identical images."""
        mean = self._squares / self._lr.size
        return math.inf if mean == 0 else -10 * math.log10(mean)
