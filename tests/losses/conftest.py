"""A backbone of a user's own."""

import pytest
import torch

from helpers.loss_inputs import Features


@pytest.fixture
def features():
    torch.manual_seed(0)
    return Features()
