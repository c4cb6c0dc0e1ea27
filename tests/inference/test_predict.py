"""Self-ensemble against a plain loop, and the eight symmetries."""

import pytest
import torch

from sr_lightning.image.color import SYMMETRIES, dihedral, inverse_dihedral
from sr_lightning.inference.predict import super_resolve
from sr_lightning.models import EDSR, ESPCN, Bicubic


def test_the_eight_symmetries_differ_and_can_be_undone():
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    found = {tuple(dihedral(x, code).flatten().tolist()) + tuple(dihedral(x, code).shape) for code in range(SYMMETRIES)}
    assert len(found) == 8
    assert all(torch.equal(inverse_dihedral(dihedral(x, code), code), x) for code in range(SYMMETRIES))


@pytest.mark.parametrize(("make", "scale"), [(lambda: EDSR(2, n_feats=4, n_resblocks=1), 2), (lambda: ESPCN(3), 3)])
@torch.inference_mode()
def test_self_ensemble_is_the_mean_over_flips_and_turns(make, scale):
    torch.manual_seed(0)
    net, lr = make().eval(), torch.rand(2, 3, 14, 19)
    results = []
    for turns in range(4):
        for dims in ([], [-1]):
            sr = super_resolve(net, torch.rot90(lr.flip(dims), turns, (-2, -1)), scale)
            results.append(torch.rot90(sr, -turns, (-2, -1)).flip(dims))
    expected = torch.stack(results).mean(0)
    ensemble = super_resolve(net, lr, scale, self_ensemble=True)
    assert torch.allclose(ensemble, expected, rtol=0, atol=1e-6)
    assert (ensemble - results[0]).abs().max() > 1e-4  # this network knows left from right
    tiled = super_resolve(net, lr, scale, self_ensemble=True, tile=8)
    assert torch.allclose(tiled, ensemble, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_self_ensemble_leaves_what_is_symmetric_as_it_is():
    lr = torch.rand(1, 3, 17, 12, generator=torch.Generator().manual_seed(0))
    net = Bicubic([4])
    assert torch.allclose(super_resolve(net, lr, 4, self_ensemble=True), super_resolve(net, lr, 4), rtol=0, atol=2e-6)
