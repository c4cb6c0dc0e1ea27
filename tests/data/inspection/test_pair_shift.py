"""Shifts of LR images are found, whatever made the LR; other downscalers' pixel centres are no false alarm."""

import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from sr_lightning.check_data import main as check_data
from sr_lightning.data import SRDataModule
from sr_lightning.data.inspection.pair_shift import common_shift, measure_shift

NAMES = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png")
PAD = 12


@pytest.fixture(scope="module")
def photographs():
    folder = Path(skimage.data.__file__).parent
    return [np.asarray(Image.open(folder / name).convert("RGB").crop((40, 30, 340, 330))) for name in NAMES]


def interpolated(hr, scale, **settings):
    x = torch.from_numpy(hr.copy()).permute(2, 0, 1)[None].float()
    size = [side // scale for side in hr.shape[:2]]
    return F.interpolate(x, size=size, **settings)[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()


def pillow(kernel):
    return lambda hr, s: np.asarray(Image.fromarray(hr).resize((hr.shape[1] // s, hr.shape[0] // s), kernel))


bicubic = pillow(Image.Resampling.BICUBIC)


def noisy(sigma):
    def shrink(hr, scale):
        lr = bicubic(hr, scale)
        return (lr + np.random.default_rng(0).normal(0, sigma, lr.shape)).clip(0, 255).round().astype(np.uint8)

    return shrink


def jpeg(quality, shrink=bicubic):
    def compressed(hr, scale):
        file = io.BytesIO()
        Image.fromarray(shrink(hr, scale)).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file).convert("RGB"))

    return compressed


def blurred(hr, sigma):
    return gaussian_filter(hr.astype(float), (sigma, sigma, 0)).round().astype(np.uint8)


ALIGNED = {
    "bicubic": bicubic,
    "bilinear": pillow(Image.Resampling.BILINEAR),
    "lanczos": pillow(Image.Resampling.LANCZOS),
    "box": pillow(Image.Resampling.BOX),
    "torch bilinear": lambda hr, s: interpolated(hr, s, mode="bilinear", align_corners=False),
    "torch bicubic": lambda hr, s: interpolated(hr, s, mode="bicubic", align_corners=False),
    "corners": lambda hr, s: interpolated(hr, s, mode="bilinear", align_corners=True),
    "area": lambda hr, s: interpolated(hr, s, mode="area"),
    "blur": lambda hr, s: bicubic(blurred(hr, 2), s),
    "noise 10": noisy(10),
    "noise 25": noisy(25),
    "JPEG 75": jpeg(75),
    "JPEG 30": jpeg(30),
    "blur, noise, JPEG": lambda hr, s: jpeg(50, noisy(10))(blurred(hr, 2), s),
}
# With other pixel centres: (s - 1) / 2 HR pixels off, or half an HR pixel.
CONVENTIONS = {
    "first": lambda hr, s: hr[::s, ::s],
    "last": lambda hr, s: hr[s - 1 :: s, s - 1 :: s],
    "nearest": pillow(Image.Resampling.NEAREST),
    "blur, first": lambda hr, s: blurred(hr, 0.5 * s)[::s, ::s],
}


def pair(rgb, scale, down=0, right=0):
    """An HR window, and the window whose LR shows its content that many pixels further down and right."""
    height, width = ((side - 2 * PAD) // scale * scale for side in rgb.shape[:2])
    own = rgb[PAD : PAD + height, PAD : PAD + width]
    moved = rgb[PAD - down : PAD - down + height, PAD - right : PAD - right + width]
    return np.ascontiguousarray(own), np.ascontiguousarray(moved)


def measured(photographs, scale, shrink, down=0, right=0):
    found = []
    for rgb in photographs:
        hr, moved = pair(rgb, scale, down, right)
        found.append(measure_shift(np.ascontiguousarray(shrink(moved, scale)), hr, scale))
    return found


def at_all_scales(values, *, quick):
    """At x2 and x3 those that are not `quick` run with `-m slow`."""
    return [
        pytest.param(scale, value, marks=[] if scale == 4 or value in quick else pytest.mark.slow)
        for scale in (2, 3, 4)
        for value in values
    ]


@pytest.mark.parametrize(
    ("scale", "shrink"),
    at_all_scales(ALIGNED | CONVENTIONS, quick=["bicubic", "area", "JPEG 30", "nearest", "blur, first"]),
)
@pytest.mark.fault("D24", "no false alarm")
def test_D24_no_downscaler_is_a_false_alarm(photographs, scale, shrink):
    found = measured(photographs, scale, (ALIGNED | CONVENTIONS)[shrink])
    assert not any(shift.is_misaligned for shift in found)
    if shrink in ALIGNED:
        assert common_shift(found) is None


@pytest.mark.parametrize(
    ("scale", "shift"),
    at_all_scales([(1, 0), (0, -1), (1, -1), (2, 0), (3, 3), (-6, 5), (0, 12), (12, -12)], quick=[(1, -1), (12, -12)]),
)
@pytest.mark.fault("D24", "found, and measured to a tenth of an HR pixel")
def test_D24_each_shifted_pair_is_found(photographs, scale, shift):
    for found in measured(photographs, scale, bicubic, *shift):
        assert found.is_misaligned
        assert max(abs(found.down - shift[0]), abs(found.right - shift[1])) < 0.1


@pytest.mark.parametrize("shrink", ["lanczos", "torch bilinear", "noise 25", "JPEG 30", "blur, noise, JPEG"])
@pytest.mark.fault("D24", "found")
def test_D24_large_shifts_of_bad_lr_are_found(photographs, shrink):
    for shift in ((4, 0), (-7, 7), (0, 12)):
        found = measured(photographs, 4, ALIGNED[shrink], *shift)
        assert sum(bool(shift and shift.is_misaligned) for shift in found) >= 4  # of five, one of them nearly black


@pytest.mark.fault("D24", "told as what it is")
def test_D24_a_convention_of_a_whole_set_is_told(photographs):
    common = common_shift(measured(photographs, 4, CONVENTIONS["blur, first"]))
    assert common.down == pytest.approx(1.5, abs=0.1)
    assert str(common) == f"{common.down:.1f} down and {common.right:.1f} right"


def test_a_shift_of_a_fraction_agrees_with_interpolation(photographs):
    """Against scipy's spline: LR is sampled from the HR image 2.5 pixels further up."""
    hr = photographs[0][:288, :288]
    smooth = gaussian_filter(hr.astype(float), (2, 2, 0))
    rows, columns = np.mgrid[0:72, 0:72] * 4 + 1.5
    planes = [map_coordinates(smooth[..., c], [rows - 2.5, columns], mode="nearest") for c in range(3)]
    found = measure_shift(np.stack(planes, 2).clip(0, 255).round().astype(np.uint8), hr, 4)
    assert (found.down, found.right) == (pytest.approx(2.5, abs=0.2), pytest.approx(0, abs=0.2))


def test_what_shows_nothing_is_not_judged(photographs):
    flat = np.full((128, 128, 3), 90, np.uint8)
    assert measure_shift(flat[:32, :32], flat, 4) is None
    assert measure_shift(photographs[0][:12, :12], photographs[0][:48, :48], 4) is None  # too small
    other = bicubic(photographs[1][:288, :288], 4)
    found = measure_shift(other, photographs[0][:288, :288], 4)
    assert found is None or not found.is_misaligned  # another image is another finding


@pytest.fixture
def folders(photographs, tmp_path):
    """Five pairs at x4, of which the third is shifted."""
    for name in ("hr", "lr"):
        (tmp_path / name).mkdir()
    for i, rgb in enumerate(photographs):
        hr, moved = pair(rgb, 4, *((5, -2) if i == 2 else (0, 0)))
        Image.fromarray(hr).save(tmp_path / f"hr/{i}.png")
        Image.fromarray(bicubic(moved, 4)).save(tmp_path / f"lr/{i}.png")
    return tmp_path / "hr", tmp_path / "lr"


@pytest.mark.usefixtures("_hydras_logging")
@pytest.mark.fault("D24", "status 2, the pair is named with its shift")
def test_D24_check_data_names_the_pair(folders, capsys):
    hr, lr = folders
    settings = ["data=folder", f"data.train_dir={hr}", f"data.train_lr_dir={lr}", "data.patch_size=12"]
    assert check_data([*settings, "data.val_holdout=1", "check_data.output=found.json"]) == 2
    findings = [f for f in json.loads(Path("found.json").read_text())["findings"] if f["kind"] == "pairs"]
    assert [finding["files"] for finding in findings] == [[str(lr / "2.png"), str(hr / "2.png")]]
    assert findings[0]["message"] == "the LR image is shifted by 5.0 down and 2.0 left, in HR pixels"
    assert "5.0 down and 2.0 left" in capsys.readouterr().out


@pytest.mark.fault("D24", "a warning names the pair with its shift")
def test_D24_a_run_warns_of_the_pair(folders, caplog):
    hr, lr = folders
    with caplog.at_level(logging.WARNING):
        data = SRDataModule(
            train_dir=str(hr), train_lr_dir=str(lr), scale=4, patch_size=12, cache_dir="cache", val_holdout=1
        )
        data.setup("fit")
    (told,) = [record.getMessage() for record in caplog.records if "misaligned" in record.getMessage()]
    assert f"{lr / '2.png'}: by 5.0 down and 2.0 left" in told
