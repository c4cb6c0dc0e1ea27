"""Published weights in our networks: the same function as the published code, and the config that fits is named."""

import pytest
import torch

from helpers.published_networks import (
    BASICSR,
    FSRCNN_LORNATANG,
    FSRCNN_YJN,
    LORNATANG,
    MMEDITING,
    MMSR,
    RDN_EDSR,
    RDN_YJN,
    TWTYGQYY,
    Layers,
    agree,
    edsr,
    edsr_basicsr,
    espcn,
    fsrcnn,
    imdn,
    mdsr,
    msrresnet,
    ninasr,
    rcan_basicsr,
    rdn,
    rfdn,
    srcnn,
    srresnet,
    vdsr,
)
from sr_lightning.builders.identify_network import suggest_overrides
from sr_lightning.checkpoints.weights import WeightsFile, load_weights
from sr_lightning.errors import UserError
from sr_lightning.models import (
    EDSR,
    ESPCN,
    FSRCNN,
    IMDN,
    MDSR,
    RCAN,
    RDN,
    RFDN,
    SRCNN,
    VDSR,
    MSRResNet,
    NinaSR,
    RRDBNet,
    SRResNet,
)

CASES = {
    **{
        f"{name}_x{s}": (
            lambda w, x, s=s, reference=reference: reference(w, x, s, 0.1),
            lambda s=s: EDSR(s, n_feats=6, n_resblocks=2, res_scale=0.1),
            f"model=edsr model.n_feats=6 model.n_resblocks=2 scale={s}",
        )
        for name, reference in (("edsr", edsr), ("edsr_basicsr", edsr_basicsr))
        for s in (2, 3, 4)
    },
    **{
        f"mdsr_x{s}": (
            lambda w, x, s=s: mdsr(w, x, s),
            lambda s=s: Called(MDSR([2, 3, 4], n_feats=6, n_resblocks=2), s),
            "model=mdsr model.n_feats=6 model.n_resblocks=2 'scale=[2,3,4]'",
        )
        for s in (2, 3, 4)
    },
    **{
        f"{name}_x{s}": (
            lambda w, x, s=s, names=names: rdn(w, x, s, names),
            lambda s=s: RDN(s, n_feats=6, n_blocks=2, n_layers=3, growth=6),
            f"model=rdn model.n_feats=6 model.n_blocks=2 model.n_layers=3 model.growth=6 scale={s}",
        )
        for name, names in (("rdn_yjn", RDN_YJN), ("rdn_edsr", RDN_EDSR))
        for s in (2, 3, 4)
    },
    "rcan_basicsr": (
        lambda w, x: rcan_basicsr(w, x, 4),
        lambda: RCAN(4, n_feats=8, n_groups=2, n_blocks=2, reduction=2),
        "model=rcan model.n_feats=8 model.n_groups=2 model.n_blocks=2 model.reduction=2 scale=4",
    ),
    "imdn": (
        lambda w, x: imdn(w, x, 3),
        lambda: IMDN(3, n_feats=32, n_blocks=2),
        "model=imdn model.n_feats=32 model.n_blocks=2 scale=3",
    ),
    "rfdn": (
        lambda w, x: rfdn(w, x, 4),
        lambda: RFDN(4, n_feats=16, n_blocks=2),
        "model=rfdn model.n_feats=16 model.n_blocks=2 scale=4",
    ),
    "ninasr": (
        lambda w, x: ninasr(w, x, 2),
        lambda: NinaSR(2, n_feats=8, n_resblocks=3),
        "model=ninasr model.n_feats=8 model.n_resblocks=3 scale=2",
    ),
    **{
        f"msrresnet_{kind}": (
            lambda w, x, s=scale, names=names: msrresnet(w, x, s, names),
            lambda s=scale: MSRResNet(s, n_feats=6, n_resblocks=2),
            f"model=msrresnet model.n_feats=6 model.n_resblocks=2 scale={scale}",
        )
        for kind, names, scale in (("basicsr", BASICSR, 4), ("mmsr", MMSR, 3), ("mmediting", MMEDITING, 2))
    },
    "srresnet": (
        lambda w, x: srresnet(w, x, 4),
        lambda: SRResNet(4, n_feats=6, n_resblocks=2),
        "model=srresnet model.n_feats=6 model.n_resblocks=2 scale=4",
    ),
    "srresnet_older": (
        lambda w, x: srresnet(w, x, 2, "conv_block"),
        lambda: SRResNet(2, n_feats=6, n_resblocks=2),
        "model=srresnet model.n_feats=6 model.n_resblocks=2 scale=2",
    ),
    "vdsr": (
        lambda w, y: vdsr(w, y, 3, TWTYGQYY),
        lambda: VDSR(3, n_feats=6, n_layers=5),
        "model=vdsr model.n_feats=6 model.n_layers=5",
    ),
    "vdsr_lornatang": (
        lambda w, y: vdsr(w, y, 2, LORNATANG),
        lambda: VDSR(2, n_feats=6, n_layers=5),
        "model=vdsr model.n_feats=6 model.n_layers=5",
    ),
    "srcnn": (
        lambda w, y: srcnn(w, y, 2, ("conv1", "conv2", "conv3"), (9, 5, 5)),
        lambda: SRCNN(2, kernel_sizes=(9, 5, 5), n_feats=(8, 4)),
        "model=srcnn 'model.kernel_sizes=[9,5,5]' 'model.n_feats=[8,4]'",
    ),
    "srcnn_lornatang": (
        lambda w, y: srcnn(w, y, 2, ("features.0", "map.0", "reconstruction"), (9, 1, 5)),
        lambda: SRCNN(2, n_feats=(8, 4)),
        "model=srcnn 'model.n_feats=[8,4]'",
    ),
    "fsrcnn": (
        lambda w, y: fsrcnn(w, y, 3, FSRCNN_YJN),
        lambda: FSRCNN(3, d=8, s=4, m=2),
        "model=fsrcnn model.d=8 model.s=4 model.m=2",
    ),
    "fsrcnn_lornatang": (
        lambda w, y: fsrcnn(w, y, 2, FSRCNN_LORNATANG),
        lambda: FSRCNN(2, d=8, s=4, m=2),
        "model=fsrcnn model.d=8 model.s=4 model.m=2",
    ),
    "espcn": (
        lambda w, y: espcn(w, y, 3, ("first_part", "last_part")),
        lambda: ESPCN(3, n_feats=8),
        "model=espcn model.n_feats=8 scale=3",
    ),
    "espcn_lornatang": (
        lambda w, y: espcn(w, y, 4, ("feature_maps", "sub_pixel")),
        lambda: ESPCN(4, n_feats=8),
        "model=espcn model.n_feats=8 scale=4",
    ),
}


class Called:
    """A multi-scale network at one of its scales."""

    def __init__(self, net, scale):
        self.net, self.scale = net, scale

    def __call__(self, x):
        return self.net(x, scale=self.scale)


@pytest.mark.parametrize("name", list(CASES))
@torch.no_grad()
def test_published_weights_give_the_published_function(tmp_path, name):
    reference, make, fits = CASES[name]
    net = make()
    inner = getattr(net, "net", net)
    x = torch.rand(1, inner.channels, 16, 19, generator=torch.Generator().manual_seed(1))
    layers = Layers()
    expected = reference(layers, x)
    torch.save(layers.state, tmp_path / "official.pth")
    load_weights(inner, tmp_path / "official.pth")
    inner.eval()
    agree(net(x), expected)
    assert suggest_overrides(WeightsFile.read(tmp_path / "official.pth")) == f"it fits: {fits}"


def test_real_esrgans_x2_network_is_another(tmp_path):
    """BasicSR's RRDBNet of scale 2 sees the image folded into 12 channels."""
    layers, x = Layers(), torch.rand(1, 12, 4, 4)
    for name in ("conv_first", "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"):
        layers.conv(x if name == "conv_first" else torch.rand(1, 4, 4, 4), name, 4)
    torch.save(layers.state, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"head\.weight \(4, 12, 3, 3\), the network has \(4, 3, 3, 3\)"):
        load_weights(RRDBNet(2, n_feats=4, n_blocks=0, growth=2), tmp_path / "a.pth")
