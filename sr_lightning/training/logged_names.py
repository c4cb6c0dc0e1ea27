"""Names of the values that a run logs: which ones a callback can monitor, and which have a best value."""

from __future__ import annotations

from sr_lightning.data import SRDataModule
from sr_lightning.training.adversarial import AdversarialModule
from sr_lightning.training.module import SRModule


def validated(module: SRModule, data: SRDataModule) -> dict[str, bool]:
    """Returns the network's validation metrics: name -> whether higher is better; empty without validation images."""
    if not data.val_sets:
        return {}
    directions = {"psnr_y": True, "ssim_y": True}
    directions |= {name: metric.higher_is_better for name, metric in module.metrics.items()}
    means = {f"val/{name}": better for name, better in directions.items()} | {"val/gain": True}
    sets = [f"val/{images.name}/x{scale}" for images in data.val_sets for scale in data.scales]
    return means | {f"{begin}/{name}": better for begin in sets for name, better in directions.items()}


def monitorable(module: SRModule, data: SRDataModule) -> set[str]:
    """Returns all names that a callback finds among the logged values."""
    of_bicubic = {f"{head}/bicubic_{tail}" for head, _, tail in (n.rpartition("/") for n in validated(module, data))}
    known = {*validated(module, data), *(name for name in of_bicubic if name.count("/") > 1)}
    known |= {"train/loss", "train/grad_norm", "step", "epoch", "lr", "time/data_wait", "time/samples_per_s"}
    terms = module.weights_at(1.0)  # after all warm-ups
    known |= {f"train/loss/{name}" for name in terms}
    known |= {f"train/share/{name}" for name in terms if len(terms) > 1}
    if isinstance(module, AdversarialModule):
        known |= {"train/loss/discriminator", "train/discriminator/real", "train/discriminator/fake"}
    return known
