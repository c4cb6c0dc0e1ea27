"""Training callbacks, one per file, and their order."""

from sr_lightning.callbacks.checkpoints import Checkpoints
from sr_lightning.callbacks.elapsed import Elapsed
from sr_lightning.callbacks.ema import EMA
from sr_lightning.callbacks.exact_resume import ExactResume, PendingValidation
from sr_lightning.callbacks.gradient_norm import GradientNorm
from sr_lightning.callbacks.logged_steps import StepConnector, is_logged
from sr_lightning.callbacks.non_finite import NonFiniteGuard
from sr_lightning.callbacks.order import in_order
from sr_lightning.callbacks.pictures import Pictures
from sr_lightning.callbacks.progress import Progress
from sr_lightning.callbacks.safe_stop import SafeStop
from sr_lightning.callbacks.throughput import Throughput

__all__ = [
    "EMA",
    "Checkpoints",
    "Elapsed",
    "ExactResume",
    "GradientNorm",
    "NonFiniteGuard",
    "PendingValidation",
    "Pictures",
    "Progress",
    "SafeStop",
    "StepConnector",
    "Throughput",
    "in_order",
    "is_logged",
]
