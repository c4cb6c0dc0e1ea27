"""Networks: (N, C, h, w) in [0, 1] -> (N, C, h·s, w·s).

Each has `scales`, and `channels` (1: it works on Y). One of several scales is called with `scale=s`.
"""

from sr_lightning.models.bicubic import Bicubic
from sr_lightning.models.edsr import EDSR
from sr_lightning.models.espcn import ESPCN
from sr_lightning.models.fsrcnn import FSRCNN
from sr_lightning.models.mdsr import MDSR
from sr_lightning.models.srcnn import SRCNN

__all__ = ["EDSR", "ESPCN", "FSRCNN", "MDSR", "SRCNN", "Bicubic"]
