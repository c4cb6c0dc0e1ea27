"""The smallest of the pretrained networks."""

import pytest

from sr_lightning.builders.load_network import load_network


@pytest.fixture(scope="module")
def tiny():
    return load_network("edsr_tiny_y_x2").net
