"""Small networks: arguments that keep the structure of each one's config; a small EDSR, compared and renamed."""

import torch

from sr_lightning.models import EDSR

OURS = {
    "Bicubic": {},
    "EDSR": {"n_feats": 8, "n_resblocks": 1},
    "MDSR": {"n_feats": 8, "n_resblocks": 1},
    "SRCNN": {"n_feats": [8, 4]},
    "ESPCN": {"n_feats": 8},
    "FSRCNN": {"d": 8, "s": 4, "m": 1},
    "VDSR": {"n_feats": 8, "n_layers": 3},
    "SRResNet": {"n_feats": 8, "n_resblocks": 1},
    "MSRResNet": {"n_feats": 8, "n_resblocks": 1},
    "RDN": {"n_feats": 8, "n_blocks": 2, "n_layers": 2, "growth": 8},
    "RCAN": {"n_feats": 8, "n_groups": 1, "n_blocks": 1, "reduction": 2},
    "RRDBNet": {"n_feats": 8, "n_blocks": 2},
    "IMDN": {"n_feats": 16, "n_blocks": 2},
    "RFDN": {"n_feats": 16, "n_blocks": 1},
    "SPAN": {"n_feats": 48},
    "NinaSR": {"n_feats": 16, "n_resblocks": 2},
    "SwinIR": {"n_feats": 12, "n_blocks": 1, "n_layers": 2, "n_heads": 3},
}
THEIRS = {
    "ATD": {"embed_dim": 8, "depths": [1], "num_heads": [2], "window_size": 8, "category_size": 16, "num_tokens": 4},
    "CRAFT": {"embed_dim": 48, "depths": [1], "num_heads": [6]},
    "DAT": {"embed_dim": 32, "depth": [2], "num_heads": [2], "split_size": [4, 8]},
    "DRCT": {"embed_dim": 12, "depths": [1], "num_heads": [2], "window_size": 8, "gc": 4},
    "HAT": {"embed_dim": 12, "depths": [1], "num_heads": [2], "squeeze_factor": 4, "window_size": 8},
    "MoSR": {"dim": 8, "n_block": 1},
    "OmniSR": {"num_feat": 8, "res_num": 1},
    "PLKSR": {"dim": 8, "n_blocks": 1},
    "RGT": {"embed_dim": 32, "depth": [2], "num_heads": [2], "split_size": [4, 8]},
    "SAFMN": {"dim": 8, "n_blocks": 1},
    "SeemoRe": {"embedding_dim": 8, "num_layers": 1},
    "Swin2SR": {"embed_dim": 12, "depths": [1], "num_heads": [2]},
}


def small(seed=0):
    torch.manual_seed(seed)
    return EDSR(2, n_feats=4, n_resblocks=1)


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def named(prefix, state):
    return {prefix + key: value for key, value in state.items()}
