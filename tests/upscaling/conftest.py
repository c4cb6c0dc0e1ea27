"""A small photograph, and the smallest network by default."""

import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def _small_network(monkeypatch):
    """The smallest of the pretrained networks by default, so that the tests are fast."""
    monkeypatch.setattr("sr_lightning.config.upscale.DEFAULT_WEIGHTS", "edsr_tiny_y")


@pytest.fixture
def photo(tmp_path, image):
    Image.fromarray(image(24, 30, 0)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"
