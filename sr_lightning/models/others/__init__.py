"""Third-party networks, one file each, using the code of spandrel (an optional extra)."""

from sr_lightning.models.others.atd import ATD
from sr_lightning.models.others.craft import CRAFT
from sr_lightning.models.others.dat import DAT
from sr_lightning.models.others.drct import DRCT
from sr_lightning.models.others.hat import HAT
from sr_lightning.models.others.mosr import MoSR
from sr_lightning.models.others.omnisr import OmniSR
from sr_lightning.models.others.plksr import PLKSR
from sr_lightning.models.others.rgt import RGT
from sr_lightning.models.others.safmn import SAFMN
from sr_lightning.models.others.seemore import SeemoRe
from sr_lightning.models.others.swin2sr import Swin2SR

# Networks that a checkpoint may name; `SpandrelNetwork` accepts any module, so it is not among them.
__all__ = ["ATD", "CRAFT", "DAT", "DRCT", "HAT", "PLKSR", "RGT", "SAFMN", "MoSR", "OmniSR", "SeemoRe", "Swin2SR"]
