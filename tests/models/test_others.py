"""Networks of other groups behind our interface, trained, evaluated and loaded through the commands."""

import sys

import pytest
import torch
from torch import nn

from helpers.evaluations import QUICK, document, mine
from helpers.small_networks import THEIRS
from sr_lightning.checkpoints.matching import differences
from sr_lightning.errors import UserError
from sr_lightning.evaluate import main as evaluate
from sr_lightning.models import others
from sr_lightning.models.base import check_network
from sr_lightning.models.others.adapter import SpandrelNetwork
from sr_lightning.train import main

pytestmark = [
    pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning"),
    pytest.mark.filterwarnings("ignore:'saved_variables' is deprecated:DeprecationWarning"),  # of OmniSR
    pytest.mark.usefixtures("_hydras_logging"),
]


@pytest.mark.parametrize("name", others.__all__)
def test_every_network_takes_every_size_and_the_authors_names(name):
    pytest.importorskip("spandrel", reason="needs the optional extra spandrel")
    torch.manual_seed(0)
    net = getattr(others, name)(2, **THEIRS[name])
    check_network(net)
    y = net(torch.rand(2, 3, 17, 9))  # of two images: some normalise over the batch
    assert y.shape == (2, 3, 34, 18)
    y.mean().backward()
    net.eval()
    with torch.no_grad():
        for size in ((1, 1), (24, 31)):
            y = net(torch.rand(1, 3, *size))
            assert y.shape == (1, 3, 2 * size[0], 2 * size[1])
            assert y.isfinite().all()
    official = net.from_official(net.net.state_dict())
    assert not differences(net, official.state)


def test_padding_is_cut_again():
    net = SpandrelNetwork(nn.Upsample(scale_factor=2), 2, multiple_of=8, minimum=16)
    seen = []
    net.net.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape[-2:])))
    x = torch.rand(1, 3, 5, 17)
    assert torch.equal(net(x), nn.Upsample(scale_factor=2)(x))
    assert seen == [(16, 24)]


def test_a_preset_is_trained_and_evaluated(tiny, folder):
    """A checkpoint names one of these classes, and no other: it is loaded without typing them again."""
    pytest.importorskip("spandrel", reason="needs the optional extra spandrel")
    settings = [a for a in tiny if not a.startswith("model.")]
    small = ["model=safmn", "model.dim=8", "model.n_blocks=1", "trainer.max_steps=2"]
    assert main([*settings, *small, "hydra.run.dir=a"]) == 0
    assert evaluate([*QUICK, "checkpoint=a", *mine(folder)]) == 0
    assert [row["method"] for row in document()["rows"]] == ["bicubic", "SAFMN"]


def test_without_spandrel_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("spandrel")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(UserError, match=r"HAT is in spandrel.*pip install 'sr_lightning\[spandrel\]'"):
        others.HAT(4)


def test_what_evaluation_needs_of_networks_that_look_at_their_input():
    """A batch of two chooses experts for each image; a long image recurses as often as its longer side says."""
    pytest.importorskip("spandrel", reason="needs the optional extra spandrel")
    torch.manual_seed(0)
    experts, recursive = (getattr(others, name)(2, **THEIRS[name]).eval() for name in ("SeemoRe", "RGT"))
    x = torch.rand(2, 3, 16, 20)
    with torch.no_grad():
        torch.testing.assert_close(experts(x), torch.cat([experts(x[:1]), experts(x[1:])]))
        assert recursive(torch.rand(1, 3, 8, 1030)).shape == (1, 3, 16, 2060)


def test_safmns_plain_pooling_is_its_adaptive_one():
    pytest.importorskip("spandrel", reason="needs the optional extra spandrel")
    net = others.SAFMN(2, **THEIRS["SAFMN"]).eval()
    x = torch.rand(2, 3, 16, 24)
    with torch.no_grad():
        y = net(x)
        for module in (module for module in net.modules() if type(module).__name__ == "SAFM"):
            del module.forward  # spandrel's is its class's
        torch.testing.assert_close(y, net(x))
