"""`from sr_lightning import …`, for programs."""

import ast
import doctest
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sr_lightning
from sr_lightning import api, list_pretrained, load, upscale_image
from sr_lightning.errors import UserError
from sr_lightning.inference.predict import super_resolve
from sr_lightning.models import EDSR, MDSR

ROOT = Path(sr_lightning.__file__).parent.parent


@pytest.fixture(scope="module")
def net():
    return load("edsr_tiny_y_x2")


def test_names_are_imported_when_they_are_asked_for():
    """The package alone costs a few milliseconds; torch alone costs seconds."""
    code = (
        "import sys; before = set(sys.modules); import sr_lightning; sr_lightning.list_pretrained();"
        "new = set(sys.modules) - before; print(len(new)); assert not new & {'torch', 'numpy', 'PIL', 'hydra'}"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(run.stdout) < 40
    for name in sr_lightning.__all__:
        assert getattr(sr_lightning, name).__module__.startswith("sr_lightning.")
        assert name in dir(sr_lightning)
    with pytest.raises(AttributeError, match="no attribute 'upscale_picture'"):
        sr_lightning.upscale_picture  # noqa: B018 (looking it up is the test)


def test_no_name_is_that_of_a_module():
    """Importing a module would rebind it."""
    assert not [name for name in sr_lightning.__all__ if (ROOT / "sr_lightning" / f"{name}.py").exists()]
    assert not [name for name in sr_lightning.__all__ if (ROOT / "sr_lightning" / name).exists()]


def test_load(net, tmp_path):
    assert isinstance(net, EDSR)
    assert (net.scale, net.scales, net.channels, net.training) == (2, (2,), 1, False)
    assert "edsr_tiny_y_x2" in list_pretrained()
    with pytest.raises(UserError, match=r"found 4: .*is for x2"):
        load("edsr_tiny_y_x2", scale=4)
    with pytest.raises(UserError, match=r"nothing\.ckpt is not there"):
        load(tmp_path / "nothing.ckpt")
    torch.save(EDSR(3, n_feats=4, n_resblocks=1).state_dict(), tmp_path / "plain.pth")
    assert load(tmp_path / "plain.pth").scale == 3


def lr_levels(channels, dtype, size=(9, 7)):
    rng = np.random.default_rng(0)
    levels = rng.random((*size, channels), np.float32)
    return levels if dtype == np.float32 else (levels * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_arrays_come_back_as_they_were_given(net, dtype, channels):
    image = lr_levels(channels, dtype)
    before = image.copy()
    result = upscale_image(net, image)
    assert (result.shape, result.dtype) == ((18, 14, channels), dtype)
    np.testing.assert_array_equal(image, before)
    if channels == 1:
        np.testing.assert_array_equal(upscale_image(net, image[:, :, 0]), result[:, :, 0])
    if dtype != np.uint8:  # the same image in another type gives the same, to half a level
        levels = upscale_image(net, image.astype(np.float64) / (1 if dtype == np.float32 else 65535))
        assert levels.dtype == np.float64
        unit = result / (1 if dtype == np.float32 else 65535)
        np.testing.assert_allclose(levels, unit, atol=0.6 / 65535 if dtype == np.uint16 else 1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_tensors(net, channels):
    x = torch.rand(2, channels, 9, 7, generator=torch.Generator().manual_seed(0))
    y = upscale_image(net, x)
    assert (y.shape, y.dtype) == ((2, channels, 18, 14), torch.float32)
    with torch.no_grad():
        expected = super_resolve(net, x.expand(-1, 3, -1, -1), 2).clamp(0, 1)[:, :channels]
    torch.testing.assert_close(y, expected, atol=2e-6, rtol=0)
    assert upscale_image(net, (x * 255).byte()).dtype == torch.uint8


@pytest.mark.parametrize(("mode", "result"), [("L", "L"), ("LA", "LA"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("P", "RGB")])
def test_pillow_images_and_files(net, tmp_path, image, mode, result):
    picture = Image.fromarray(image(9, 7, 0)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    from_file, from_memory = upscale_image(net, tmp_path / "a.png"), upscale_image(net, picture)
    assert (from_file.mode, from_file.size) == (result, (18, 14))
    assert (from_memory.mode, from_memory.size) == (result, (14, 18))
    turned = from_memory.transpose(Image.Transpose.ROTATE_270)
    # The network has no symmetry, so that a turned image gives nearly the same.
    assert np.abs(np.asarray(from_file).astype(int) - np.asarray(turned)).mean() < 6


def test_sixteen_bit_grey_files_stay_so_and_colour_has_no_pillow_image(net, tmp_path):
    Image.fromarray(lr_levels(1, np.uint16)[:, :, 0]).save(tmp_path / "a.png")
    assert upscale_image(net, str(tmp_path / "a.png")).mode == "I;16"
    from sr_lightning.image.encoder import Layout, write_image

    write_image(tmp_path / "b.png", [lr_levels(3, np.uint16)], Layout(9, 7, 3, 16), format="png")
    with pytest.raises(UserError, match="Pillow has no such image; allowed: an array"):
        upscale_image(net, tmp_path / "b.png")


def test_networks_of_several_scales_and_in_training():
    net = MDSR([2, 3], n_feats=4, n_resblocks=1).train()
    image = lr_levels(3, np.uint8)
    assert upscale_image(net, image).shape == (27, 21, 3)
    assert upscale_image(net, image, scale=2).shape == (18, 14, 3)
    assert net.training
    with pytest.raises(UserError, match="scale: found 4, allowed: 2, 3"):
        upscale_image(net, image, scale=4)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), r"found an array \(4, 4, 5\)"),
        (np.zeros((4, 4), np.int32), "found an array of int32"),
        (np.full((4, 4), 255.0), r"found values from 255 to 255, allowed: \[0, 1\]"),
        (np.full((4, 4), np.nan), "found values from nan to nan"),
        (torch.zeros(3, 4, 4), r"found a tensor \(3, 4, 4\)"),
        (Image.new("F", (4, 4)), "range is undefined"),
        (None, "found NoneType, allowed: a file, a Pillow image"),
    ],
)
def test_what_is_no_image_is_refused(net, image, message):
    with pytest.raises(UserError, match=message):
        upscale_image(net, image)
    with pytest.raises(UserError, match=r"net: found 'edsr_tiny_y_x2', allowed: a network"):
        upscale_image("edsr_tiny_y_x2", image)


def test_the_page_under_the_docstring_runs(tmp_path, image):
    """The lines of the package's docstring, as they stand there."""
    Image.fromarray(image(9, 7, 0)).save("photo.jpg")
    lines = [line[4:] for line in sr_lightning.__doc__.splitlines() if line.startswith("    ")]
    exec(compile(ast.parse("\n".join(lines)), "docstring", "exec"), {})
    with Image.open("photo_x4.png") as enlarged:
        assert enlarged.size == (28, 36)
    assert doctest.testmod(api).failed == 0
