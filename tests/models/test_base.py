"""The contract of a network, for the package's own and for a user's plain module."""

import pytest
from torch import nn

from helpers.small_networks import OURS
from sr_lightning import models
from sr_lightning.errors import UserError
from sr_lightning.models.base import SRNetwork, check_network, network_traits


class Plain(nn.Module):
    """All that a user has to write."""

    def __init__(self, scale=4):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return nn.functional.interpolate(x, scale_factor=self.scale)


class Learned(Plain):
    """Uses a name of the contract for something else."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Linear(1, 1).weight


class Several(Plain):
    scales = [2, 3]  # noqa: RUF012  # as a user writes it

    def forward(self, x, scale):
        return nn.functional.interpolate(x, scale_factor=scale)


def test_defaults_are_filled_in_for_a_plain_module():
    assert network_traits(Plain(4)) == (3, (4,), 1)
    assert network_traits(Learned()) == (3, (), 1)
    assert network_traits(Several()) == (3, (2, 3), 1)
    for net in (Plain(), Learned(), Several()):
        check_network(net)


@pytest.mark.parametrize("name", models.__all__)
def test_our_networks_state_the_contract(name):
    network = getattr(models, name)
    assert issubclass(network, SRNetwork)
    net = network(**OURS[name])
    check_network(net)
    assert network_traits(net).scales


WRONG = {
    "width": (lambda: setattr_(Plain(), channels=64), r"Plain\.channels: found 64, allowed: 1 \(it works on Y\) or 3"),
    "tensor": (lambda: setattr_(Plain(), scales=nn.Linear(1, 1).weight), r"Plain\.scales: found \(Parameter"),
    "text": (lambda: setattr_(Plain(), scales="24"), r"Plain\.scales: found \('2', '4'\), allowed: whole numbers"),
    "several": (lambda: setattr_(Plain(), scales=(2, 3)), r"Plain\.scales: found \(2, 3\), but its forward takes no"),
    "size": (lambda: setattr_(Plain(), min_size=0), r"Plain\.min_size: found 0, allowed: 1 and more pixels"),
    "forward": (lambda: nn.ParameterList(), "ParameterList has no forward"),
}


def setattr_(net, **attributes):
    for name, value in attributes.items():
        setattr(net, name, value)
    return net


@pytest.mark.parametrize("kind", list(WRONG))
def test_what_breaks_the_contract_is_named(kind):
    make, reason = WRONG[kind]
    with pytest.raises(UserError, match=reason):
        check_network(make())
