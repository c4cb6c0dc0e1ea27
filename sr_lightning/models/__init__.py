"""Super-resolution networks, one file each; `base` defines their interface."""

from sr_lightning.models.bicubic import Bicubic
from sr_lightning.models.edsr import EDSR
from sr_lightning.models.espcn import ESPCN
from sr_lightning.models.fsrcnn import FSRCNN
from sr_lightning.models.imdn import IMDN
from sr_lightning.models.mdsr import MDSR
from sr_lightning.models.msrresnet import MSRResNet
from sr_lightning.models.ninasr import NinaSR
from sr_lightning.models.rcan import RCAN
from sr_lightning.models.rdn import RDN
from sr_lightning.models.rfdn import RFDN
from sr_lightning.models.rrdb import RRDBNet
from sr_lightning.models.span import SPAN
from sr_lightning.models.srcnn import SRCNN
from sr_lightning.models.srresnet import SRResNet
from sr_lightning.models.swinir import SwinIR
from sr_lightning.models.vdsr import VDSR

__all__ = [
    "EDSR",
    "ESPCN",
    "FSRCNN",
    "IMDN",
    "MDSR",
    "RCAN",
    "RDN",
    "RFDN",
    "SPAN",
    "SRCNN",
    "VDSR",
    "Bicubic",
    "MSRResNet",
    "NinaSR",
    "RRDBNet",
    "SRResNet",
    "SwinIR",
]
