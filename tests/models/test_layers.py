"""What layers do: attention, windows, borders, merged convolutions, heads of each scale, activations."""

import math

import pytest
import torch
from torch import nn

from sr_lightning.errors import UserError
from sr_lightning.inference.forward import apply_network
from sr_lightning.models import EDSR, MDSR, RFDN, VDSR, NinaSR, SwinIR
from sr_lightning.models.span import MergedConv
from sr_lightning.models.swinir import WindowAttention


def test_vdsr_has_the_same_weights_for_all_scales():
    net, x = VDSR([2, 3, 4], n_feats=4, n_layers=3), torch.rand(1, 1, 8, 9)
    alone = VDSR(3, n_feats=4, n_layers=3)
    alone.load_state_dict(net.state_dict())
    torch.testing.assert_close(net(x, scale=3), alone(x))
    assert net(x, scale=4).shape == (1, 1, 32, 36)


def test_merged_convolutions_equal_the_layers_they_are_made_of():
    torch.manual_seed(0)
    layer, x = MergedConv(5, 7, 2), torch.rand(2, 5, 9, 8)
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    expected = layer.reduce(layer.conv(layer.expand(padded))) + layer.skip(x)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_local_attention_does_not_depend_on_what_is_far_away():
    torch.manual_seed(0)
    net = NinaSR(2, n_feats=8, n_resblocks=2).eval()
    x = torch.rand(1, 3, 32, 256)
    other = x.clone()
    other[..., 200:] = 0
    torch.testing.assert_close(net(x)[..., :128], net(other)[..., :128])


def test_shifted_windows_do_not_see_over_the_border():
    """The layer against attention written out: every pixel sees those of its shifted window that were beside it."""
    torch.manual_seed(0)
    layer = WindowAttention(4, n_heads=2, window=4, shift=2)
    x = torch.rand(1, 8, 12, 4)
    q, k, v = layer.qkv(x).split(4, dim=-1)
    expected = torch.zeros_like(x)
    places = [(i, j) for i in range(8) for j in range(12)]
    for i, j in places:
        near = [(a, b) for a, b in places if (a + 2) // 4 == (i + 2) // 4 and (b + 2) // 4 == (j + 2) // 4]
        for head in range(2):
            part = slice(2 * head, 2 * head + 2)
            scores = torch.stack([q[0, i, j, part] @ k[0, a, b, part] / 2**0.5 for a, b in near])
            bias = torch.stack([layer.bias[(i - a + 3) * 7 + j - b + 3, head] for a, b in near])
            weights = (scores + bias).softmax(0)
            expected[0, i, j, part] = sum(w * v[0, a, b, part] for w, (a, b) in zip(weights, near, strict=True))
    torch.testing.assert_close(layer(x), layer.out(expected), atol=1e-5, rtol=1e-4)


def test_swinir_takes_any_size():
    net = SwinIR(2, n_feats=12, n_blocks=1, n_layers=2, n_heads=2).eval()
    assert net(torch.rand(1, 3, 1, 19)).shape == (1, 3, 2, 38)


def test_an_image_too_small_for_rfdn_is_refused():
    with pytest.raises(UserError, match="RFDN needs 15 LR pixels on each side, found 14 x 40"):
        apply_network(RFDN(2), torch.rand(1, 3, 14, 40), 2)


def test_mdsr_uses_the_heads_of_the_scale_asked_for():
    net = MDSR([2, 3, 4], n_feats=8, n_resblocks=1)
    x = torch.rand(1, 3, 6, 5)
    for scale in (2, 3, 4):
        net.zero_grad()
        net(x, scale=scale).sum().backward()
        used = {
            name.split(".")[1]
            for name, p in net.named_parameters()
            if name[:3] in ("pre", "ups") and p.grad is not None
        }
        assert used == {str(scale)}
        for p in net.parameters():
            p.grad = None
    with pytest.raises(ValueError, match="built for 2, 3, 4"):
        net(x)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "prelu", "gelu", "silu"])
def test_activations_differ(activation):
    x = torch.linspace(-2, 2, 9).view(1, 1, 3, 3).repeat(1, 8, 1, 1)
    layer = EDSR(2, n_feats=8, n_resblocks=1, activation=activation).body[0].body[1]
    expected = {
        "relu": lambda v: max(v, 0),
        "leaky_relu": lambda v: v if v > 0 else 0.2 * v,
        "prelu": lambda v: v if v > 0 else 0.25 * v,
        "gelu": lambda v: v * 0.5 * (1 + math.erf(v / math.sqrt(2))),
        "silu": lambda v: v / (1 + math.exp(-v)),
    }[activation]
    torch.testing.assert_close(
        layer(x.clone())[0, 0].flatten(), torch.tensor([expected(v) for v in x[0, 0].flatten().tolist()])
    )
