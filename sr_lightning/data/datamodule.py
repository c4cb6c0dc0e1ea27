"""The LightningDataModule: training samples from one source, validation and test sets, and exact resume."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from sr_lightning.data.bad_files import Findings
from sr_lightning.data.batch import EvalImage, NoImage, TrainWindows
from sr_lightning.data.cache.lr_images import cached_lr
from sr_lightning.data.datasets import EvalImages, TrainSamples
from sr_lightning.data.degradations.base import (
    Degradation,
    Downscale,
    is_on_cpu,
    sample_rule,
    to_eval_batch,
    to_train_batch,
)
from sr_lightning.data.duplicates.leakage import warn_about_leakage
from sr_lightning.data.files import EXTENSIONS
from sr_lightning.data.image_sets import SetFinder
from sr_lightning.data.images import DecodedImages, Images
from sr_lightning.data.requirements import OnBadImage, OnSmall
from sr_lightning.data.sampling.loader import TimedLoader, eval_loader, train_loader
from sr_lightning.data.sampling.sampler import BatchSampler
from sr_lightning.data.shards.reader import Shards
from sr_lightning.data.sources import TrainingSource, one_source
from sr_lightning.distributed.process_group import refuse_different
from sr_lightning.errors import UserError
from sr_lightning.image.resize import Kernel
from sr_lightning.text import counted

log = logging.getLogger(__name__)

VALIDATION = "validation"
"""Key of the validation images' fingerprint in the data module's state."""


class SRDataModule(pl.LightningDataModule):
    """Training samples, validation and test images for one or several scales.

    Training images come from one source: folders (`train_dir` and the other folder settings), `shards`, or any other
    `source`.

    Args:
        train_dir: One or several folders of HR images.
        train_lr_dir: Ready-made LR images, one folder per folder in `train_dir`; may contain `{scale}`.
            None: LR is made from HR.
        train_files: Use only these files of `train_dir`.
        exclude_files: Do not use these files of `train_dir`.
        shrink: Factors of additional downscaled copies of each image of `train_dir`: scale augmentation for small
            training sets.
        on_bad_image: How to treat files of `train_dir` that are damaged or not images at all: refuse them, or leave
            them out. Validation and test images are never left out.
        val_holdout: Without `val`: the number of images of `train_dir` held out from training for validation.
        shards: Packed training images, instead of `train_dir`.
        source: Any other source of training images, instead of `train_dir`.
        scale: One or several scales; with several, each batch has one scale, and all of them are validated.
        seed: Determines every crop and augmentation.
        cache_dir: Folder in which decoded images are cached.
        store_limit_gb: Image sets larger than this when decoded (in 10^9 bytes), or than the free disk space, are not
            cached but decoded whenever needed. The samples are the same.
            Below the limit, LR images are cached as well (with any `kernel` except nearest and lanczos3).
        extensions: File name extensions that count as images; case is ignored.
        kernel: Interpolation kernel of the degradation; `bicubic` is MATLAB's on 8-bit images, `bicubic_double` is
            MATLAB's bicubic on doubles, rounded once.
        degradation: Makes LR images instead of `kernel`, e.g. `realworld.SecondOrder`; also applied to validation and
            test images without ready-made LR.
        batch_size: Samples per optimizer step, over all devices and accumulated batches.
        patch_size: Side length of the LR patch in pixels, the same at every scale.
        num_workers: Number of processes that crop windows; 0: windows are cropped in the training process.
        worker_timeout: Seconds to wait for a batch from the workers before the run is aborted.
        augment: Random dihedral transforms: flips and rotations by multiples of 90 degrees.
        permute_channels: Random permutation of the colour channels of each sample, for training sets that are small for
            the network; a network that works on Y sees different colour weights.
        on_small: How to treat training images smaller than the patch: refuse them, leave them out (named in the log),
            or mirror-pad them to its size.
        val: Name -> HR folder, or `{hr: folder, lr: folder, files: [names]}`.
        val_crop: Side length of the centre crop used for validation, in HR pixels; None: whole images.
        test: Like `val`, but always whole images. Without test sets, the whole validation images are scored at the end;
            as they selected the checkpoint, they are reported as validation (`has_test_sets`).
        accepts_other_data: When a run is resumed, accept images or crops that differ from those it began with.

    Raises:
        UserError: Folders or images do not fit the settings.
    """

    def __init__(
        self,
        *,
        train_dir: str | list[str] | None = None,
        train_lr_dir: str | list[str] | None = None,
        train_files: list[str] | None = None,
        exclude_files: list[str] | None = None,
        shrink: list[float] | None = None,
        on_bad_image: OnBadImage = "error",
        val_holdout: int = 0,
        shards: Shards | None = None,
        source: TrainingSource | None = None,
        scale: int | list[int] = 4,
        seed: int = 0,
        cache_dir: str = ".cache",
        store_limit_gb: float = 64.0,
        extensions: list[str] | None = None,
        kernel: Kernel = "bicubic",
        degradation: Degradation | None = None,
        batch_size: int = 16,
        patch_size: int = 32,
        num_workers: int = 0,
        worker_timeout: float = 300.0,
        augment: bool = True,
        permute_channels: bool = False,
        on_small: OnSmall = "error",
        val: dict[str, Any] | None = None,
        val_crop: int | None = None,
        test: dict[str, Any] | None = None,
        accepts_other_data: bool = False,
    ) -> None:
        super().__init__()
        self.scales = sorted(scale) if isinstance(scale, list) else [scale]
        self.seed = seed
        self.batch_size = batch_size
        self.patch_size = patch_size
        self.num_workers = num_workers
        self.worker_timeout = worker_timeout
        self.augment = augment
        self.permute_channels = permute_channels
        self.on_small: OnSmall = on_small
        self.val = val or {}
        self.val_crop = val_crop
        self.test = test or {}
        self.degrade: Degradation = degradation or Downscale(kernel)
        self._sets = SetFinder(
            self.scales, extensions=extensions or EXTENSIONS, cache_dir=cache_dir, store_limit=int(store_limit_gb * 1e9)
        )
        self.source = one_source(
            self._sets,
            train_dir=train_dir,
            train_lr_dir=train_lr_dir,
            train_files=train_files,
            exclude_files=exclude_files,
            shrink=shrink or [],
            on_bad_image=on_bad_image,
            holdout=0 if val else val_holdout,
            shrink_kernel="bicubic_double" if kernel == "bicubic_double" else "bicubic",
            others={"shards": shards, "source": source},
        )
        self._rounds_copies = bool(shrink) and kernel == "bicubic"
        self.k = 0
        """Samples consumed since step 0 over all ranks."""
        self.train_images: Images | None = None
        self.val_sets: list[Images] = []
        self.test_sets: list[Images] = []
        self.left_out = 0
        """Number of bad training images left out."""
        self.train_loader: TimedLoader | None = None
        self._restored_fingerprint: str | None = None
        self._restored_validation: str | None = None
        self.accepts_other_data = accepts_other_data

    def setup(self, stage: str) -> None:
        """Finds, decodes and checks the images once; every stage needs the same images."""
        if self.train_images is not None:
            return
        findings = Findings()
        with findings.collected():
            train = self.source.training(patch_size=self.patch_size, scale=max(self.scales), on_small=self.on_small)
        with findings.collected():
            self.val_sets = self._sets.evaluations("val", self.val, crop=self.val_crop)
        with findings.collected():
            self.test_sets = self._sets.evaluations("test", self.test)
        findings.raise_all()
        self.train_images, self.left_out = train.images, train.left_out
        self.val_sets += [train.held_out] if train.held_out else []
        self.test_sets = self.test_sets or self.val_sets
        log.info(
            "%s; validation: %s; test: %s",
            counted(len(self.train_images.hr), "training image"),
            _listed(self.val_sets),
            _listed(self.test_sets) if self.has_test_sets else "none (the validation images are scored at the end)",
        )
        if self.trainer is None or self.trainer.global_rank == 0:  # it reads every pixel, so once is enough
            warn_about_leakage(self.train_images, self.val_sets, self.test_sets)

    @property
    def has_test_sets(self) -> bool:
        """Whether there are test sets; if not, the images scored at the end are those that selected the checkpoint."""
        return bool(self.test)

    # -- loaders -------------------------------------------------------------------------------------

    def check_training(self, trainer: pl.Trainer, state: dict[str, Any] | None = None) -> None:
        """Raises what would otherwise end the training once it has begun.

        Args:
            trainer: The trainer that will train.
            state: This module's state in the checkpoint from which the training is to go on.

        Raises:
            UserError: The batch cannot be split, a share of the images is less than one, or the images have changed
                since the checkpoint was written.
        """
        if state is not None:
            self.load_state_dict(state)
        self._refuse_changes()
        self._sampler(trainer)
        for kind, sets in (("val", self.val_sets), ("test", self.test_sets)):
            share = getattr(trainer, f"limit_{kind}_batches")
            n = -(-len(EvalImages(sets, self.scales)) // trainer.world_size)
            if isinstance(share, float) and 0 < share < 1 and n and int(n * share) == 0:
                raise UserError(
                    f"trainer.limit_{kind}_batches: found {share}, less than one of {n} images; allowed: a larger "
                    "share, or a number of images"
                )

    def train_dataloader(self) -> TimedLoader:
        """Returns the loader of endless batches, starting at sample `k`."""
        assert self.train_images is not None
        assert self.trainer is not None
        own = [self.fingerprint(), *(images.hr.key for images in [*self.val_sets, *self.test_sets])]
        refuse_different("data: process 0 and the processes {others} see different images or settings", own)
        self._refuse_changes()
        pin = self.trainer.strategy.root_device.type == "cuda"
        if pin and is_on_cpu(self.degrade) and not self.num_workers:
            log.warning(
                "data.num_workers=0: a random degradation runs on the CPU, here in one thread, for which the GPU may "
                "have to wait; allowed: more processes, e.g. data.num_workers=8"
            )
        self.train_loader = train_loader(
            self.samples(cached_lr(self.train_images, self.scales, self.degrade, limit=self._sets.store_limit)),
            self._sampler(self.trainer),
            num_workers=self.num_workers,
            timeout=self.worker_timeout,
            seed=self.seed,
            pin=pin,
        )
        return self.train_loader

    def _refuse_changes(self) -> None:
        """Raises UserError if images or settings differ from those of the restored state."""
        if not self.accepts_other_data and self._restored_fingerprint not in (None, self.fingerprint()):
            older = "data.kernel=bicubic_double allow_change=[data.kernel]"
            raise UserError(
                "data: the training images or how they are cut have changed since the checkpoint was written, so "
                "the run cannot continue where it stopped; allowed: the same data, a new run that starts from "
                "its weights (model.weights=<checkpoint>), or, to go on with other samples, allow_change=[data]"
                + (f". If it began when copies (data.shrink) were rounded once: {older}" if self._rounds_copies else "")
            )
        if not self.accepts_other_data and self.has_other_validation:
            raise UserError(
                "data.val: the validation images, their LR or how they are cropped have changed since the checkpoint "
                "was written, so that its best and what comes now cannot be compared; allowed: the same images, or, to "
                "choose the best anew, allow_change=[data.val]"
            )

    def _sampler(self, trainer: pl.Trainer) -> BatchSampler:
        return BatchSampler(
            start_k=self.k,
            batch_size=self.batch_size,
            accumulate=int(trainer.accumulate_grad_batches),
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            seed=self.seed,
            scales=self.scales,
        )

    def samples(self, cached: Mapping[int, DecodedImages] | None = None) -> TrainSamples:
        """Returns the numbered training samples; `cached` maps scales to whole LR images."""
        assert self.train_images is not None
        return TrainSamples(
            self.train_images,
            patch_size=self.patch_size,
            seed=self.seed,
            augment=self.augment,
            permute_channels=self.permute_channels,
            degrade=self.degrade,
            cached_lr=cached,
        )

    def val_dataloader(self) -> DataLoader[EvalImage | NoImage]:
        """Returns the loader of this rank's share of the validation images, each at every scale."""
        return self._eval_loader(EvalImages(self.val_sets, self.scales, crop=self.val_crop))

    def test_dataloader(self) -> DataLoader[EvalImage | NoImage]:
        """Returns the loader of this rank's share of the whole test images, each at every scale."""
        return self._eval_loader(EvalImages(self.test_sets, self.scales))

    def _eval_loader(self, images: EvalImages) -> DataLoader[EvalImage | NoImage]:
        assert self.trainer is not None
        # Never padded with images: counting one twice would bias the mean.
        return eval_loader(images, images.share(self.trainer.global_rank, self.trainer.world_size))

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Moves only the images: Lightning would also visit each number beside them, which takes half a millisecond."""
        if isinstance(batch, TrainWindows | EvalImage):
            lr = None if batch.lr is None else batch.lr.to(device, non_blocking=True)
            return batch._replace(hr=batch.hr.to(device, non_blocking=True), lr=lr)
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Degrades and augments on the device, depending on the batch's type: Lightning calls it at every stage."""
        if isinstance(batch, TrainWindows):
            self.k = batch.next_k
            return to_train_batch(batch, self.degrade)
        if isinstance(batch, EvalImage):
            return to_eval_batch(batch, self.degrade)
        return batch

    # -- exact resume --------------------------------------------------------------------------------

    def fingerprint(self) -> str:
        """Returns a hash of everything that determines sample k, other than k."""
        assert self.train_images is not None
        parts: list[Any] = [self.train_images.hr.key, *(s.key for s in (self.train_images.lr or {}).values())]
        parts += [self.seed, self.scales, self.patch_size, self.batch_size, self.augment, sample_rule(self.degrade)]
        if self.permute_channels:  # added later: older checkpoints have no such part
            parts.append("permute_channels")
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    def validation_fingerprint(self) -> str:
        """Returns a hash of everything that determines the validation scores, other than the network."""
        parts = [
            (images.name, images.hr.key, sorted((scale, lr.key) for scale, lr in (images.lr or {}).items()))
            for images in self.val_sets
        ]
        settings = (self.scales, self.val_crop, self.degrade.describe())
        return hashlib.sha256(repr((parts, settings)).encode()).hexdigest()[:32]

    @property
    def has_other_validation(self) -> bool:
        """Whether the run was resumed from a checkpoint that was validated on different images."""
        return self._restored_validation not in (None, self.validation_fingerprint())

    def state_dict(self) -> dict[str, Any]:
        """Returns the position in the data, for the checkpoint."""
        return {"k": self.k, "fingerprint": self.fingerprint(), VALIDATION: self.validation_fingerprint()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues at the stored sample."""
        self.k = state_dict["k"]
        self._restored_fingerprint = state_dict["fingerprint"]
        self._restored_validation = state_dict.get(VALIDATION)  # absent from checkpoints of early versions
        if self._restored_fingerprint != self.fingerprint():
            self._try_single_rounding()

    def _try_single_rounding(self) -> None:
        """Continues runs of versions that rounded bicubic once in the same way, as detected by the fingerprint."""
        if type(self.degrade) is not Downscale or self.degrade.kernel != "bicubic":
            return
        present, self.degrade = self.degrade, Downscale("bicubic_double")
        if self._restored_fingerprint == self.fingerprint():
            log.warning(
                "this run began when bicubic was rounded once, at the end, and goes on with that: data.kernel="
                "bicubic_double, which results.json names; a new run follows MATLAB, which rounds after each pass"
            )
        else:
            self.degrade = present


def _listed(sets: Sequence[Images]) -> str:
    return ", ".join(f"{images.name} ({len(images.hr)})" for images in sets) or "none"
