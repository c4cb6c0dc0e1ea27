"""The LightningDataModule: which images, cut and degraded how, in what order."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed
from torch.utils.data import DataLoader

from sr_lightning.data.bad_files import BadImagesError, find_bad
from sr_lightning.data.batch import EvalImage, NoImage, TrainWindows
from sr_lightning.data.cache.lr_images import made_lr
from sr_lightning.data.datasets import BatchSampler, EvalImages, Images, TrainSamples
from sr_lightning.data.degradations.base import Degradation, Downscale, to_eval_batch, to_train_batch
from sr_lightning.data.duplicates.leakage import warn_about_leakage
from sr_lightning.data.files import EXTENSIONS
from sr_lightning.data.image_sets import OnBadImage, OnSmall, SetFinder
from sr_lightning.data.sampling.loader import TimedLoader, as_it_is, ignore_interrupts
from sr_lightning.data.shards.reader import Shards
from sr_lightning.errors import UserError
from sr_lightning.image.resize import Kernel

log = logging.getLogger(__name__)


class SRDataModule(pl.LightningDataModule):
    """Training samples, validation and test images for one scale or several.

    Args:
        train_dir: Folder of HR images, or several; None where `shards` is given.
        scale: One scale, or several: one scale per batch, all of them validated.
        seed: Decides every crop, flip and turn.
        cache_dir: Where decoded images are kept.
        store_limit_gb: Images of a set that are larger than this when decoded (in 10^9 bytes), or than the disk has
            room for, are decoded again and again when they are needed. The samples are the same.
            Below it LR images are made once, too (with a `kernel` of bicubic, bilinear or box).
        shards: Packed training images, in place of `train_dir`.
        train_lr_dir: Ready-made LR images, one folder for each of `train_dir`; may hold `{scale}`.
            None: LR is made from HR.
        train_files: Only these files of `train_dir`.
        extensions: Endings that count as images; case is ignored.
        kernel: Interpolation kernel of the degradation; `bicubic` is MATLAB's.
        degradation: Makes LR images in place of `kernel`, e.g. `realworld.SecondOrder`; validation and test
            images without ready-made LR are degraded by it too.
        batch_size: Samples per optimizer step, over all devices and accumulated batches.
        patch_size: Side of the LR patch in pixels, the same at every scale.
        num_workers: Processes that cut windows; 0 cuts them in the training process.
        worker_timeout: Seconds after which a batch that does not come from them ends the run.
        augment: Flips and quarter turns.
        permute_channels: Orders of the channels, drawn for each sample, for training sets that are small for the
            network; one that works on Y sees other weights of the colours.
        shrink: Factors of further copies of each training image, made by MATLAB's bicubic: the scale
            augmentation of small training sets (Kim et al. 2016, VDSR; Lai et al. 2017, LapSRN). Copies smaller
            than a patch are left out.
        on_small: What to do about training images smaller than the patch: refuse them, leave them out
            (listed in the log), or mirror them up to its size.
        on_bad_image: What to do about training files that are damaged or no images at all: refuse all of them in
            one message, or leave them out (each with its LR or HR partner; listed in the log at every start, and
            counted in the results) before `val_holdout` chooses. Images that are validated or tested on are never
            left out: figures on another set would stand under its name.
        val: Name -> HR folder, or `{hr: folder, lr: folder, files: [names]}`.
        val_crop: Validate on a centre crop of this many HR pixels; None for whole images.
        val_holdout: Without `val`: this many training images, evenly spread over the sorted list, are
            kept out of training and validated on.
        test: Like `val`; always whole images. Without any, the validation sets are tested, whole.

    Raises:
        UserError: Folders or images do not fit what was asked for.
    """

    def __init__(
        self,
        *,
        train_dir: str | list[str] | None = None,
        shards: Shards | None = None,
        scale: int | list[int] = 4,
        seed: int = 0,
        cache_dir: str = ".cache",
        store_limit_gb: float = 64.0,
        train_lr_dir: str | list[str] | None = None,
        train_files: list[str] | None = None,
        extensions: list[str] | None = None,
        kernel: Kernel = "bicubic",
        degradation: Degradation | None = None,
        batch_size: int = 16,
        patch_size: int = 32,
        num_workers: int = 0,
        worker_timeout: float = 300.0,
        augment: bool = True,
        permute_channels: bool = False,
        shrink: list[float] | None = None,
        on_small: OnSmall = "error",
        on_bad_image: OnBadImage = "error",
        val: dict[str, Any] | None = None,
        val_crop: int | None = None,
        val_holdout: int = 0,
        test: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.scales = sorted(scale) if isinstance(scale, list) else [scale]
        self.train_dirs = train_dir if isinstance(train_dir, list) else [] if train_dir is None else [train_dir]
        self.shards = shards
        self.train_lr_dirs = [train_lr_dir] if isinstance(train_lr_dir, str) else train_lr_dir
        if self.train_lr_dirs is not None and len(self.train_lr_dirs) != len(self.train_dirs):
            raise UserError(
                f"data.train_lr_dir: found {len(self.train_lr_dirs)} folders for {len(self.train_dirs)} in "
                "data.train_dir, allowed: one for each"
            )
        if (shards is None) == (not self.train_dirs):
            raise UserError("data.train_dir, data.shards: allowed: one of the two")
        if shards is not None and (train_lr_dir or train_files or shrink or (val_holdout and not val)):
            raise UserError(
                "data.shards: found beside train_lr_dir, train_files, shrink or val_holdout; allowed: LR made from HR, "
                "and sets of their own to validate on (+data.val.Mine=<folder>)"
            )
        self.train_files = train_files
        self.seed = seed
        self.batch_size = batch_size
        self.patch_size = patch_size
        self.num_workers = num_workers
        self.worker_timeout = worker_timeout
        self.augment = augment
        self.permute_channels = permute_channels
        self.shrink = shrink or []
        self.on_small = on_small
        self.on_bad_image = on_bad_image
        self.val = val or {}
        self.val_crop = val_crop
        self.val_holdout = val_holdout
        self.test = test or {}
        self.degrade: Degradation = degradation or Downscale(kernel)
        self._finder = SetFinder(
            self.scales, extensions=extensions or EXTENSIONS, cache_dir=cache_dir, store_limit=int(store_limit_gb * 1e9)
        )
        self.k = 0
        """Samples consumed since step 0, over all ranks."""
        self.train_images: Images | None = None
        self.val_sets: list[Images] = []
        self.test_sets: list[Images] = []
        self.train_loader: TimedLoader | None = None
        self._restored_fingerprint: str | None = None
        self.may_differ = False
        """Whether a continued run accepts other images, or other crops of them, than it began with."""

    def setup(self, stage: str) -> None:
        """Finds, decodes and checks the images, once; every stage needs the same ones."""
        if self.train_images is not None:
            return
        try:
            self.train_images, self.val_sets, self.test_sets = self._found()
        except BadImagesError as error:
            raise BadImagesError(error.reasons | find_bad(self._files())) from None
        log.info(
            "%d training images; validation: %s; test: %s",
            len(self.train_images.hr),
            _listed(self.val_sets),
            _listed(self.test_sets),
        )
        if self.trainer is None or self.trainer.global_rank == 0:  # it reads every pixel: once is enough
            warn_about_leakage(self.train_images, self.val_sets, self.test_sets)

    def _found(self) -> tuple[Images, list[Images], list[Images]]:
        """The training images, the validation sets and the test sets."""
        held = None
        if self.shards is not None:
            train, self._finder.left_out = self.shards.training(
                patch_size=self.patch_size, scale=max(self.scales), on_small=self.on_small
            )
        else:
            train, held = self._finder.training(
                self.train_dirs,
                lr_folders=self.train_lr_dirs,
                files=self.train_files,
                patch_size=self.patch_size,
                on_small=self.on_small,
                on_bad_image=self.on_bad_image,
                holdout=0 if self.val else self.val_holdout,
                shrink=self.shrink,
            )
        val = [
            self._finder.evaluation(f"data.val.{name}", name, entry, crop=self.val_crop)
            for name, entry in self.val.items()
        ]
        val += [held] if held else []
        test = [self._finder.evaluation(f"data.test.{name}", name, entry) for name, entry in self.test.items()]
        return train, val, test or val

    def _files(self) -> list[Path]:
        """Every file that has to be an image."""
        entries = [*self.val.values(), *self.test.values()]
        if self.on_bad_image == "error":
            entries += [{"hr": folder, "files": self.train_files} for folder in self.train_dirs]
            entries += self.train_lr_dirs or []
        return self._finder.every_file(entries)

    @property
    def left_out(self) -> int:
        """Bad training images that are done without."""
        return self._finder.left_out

    # -- loaders -------------------------------------------------------------------------------------

    def train_dataloader(self) -> TimedLoader:
        """Endless batches from sample `k` on."""
        assert self.train_images is not None
        assert self.trainer is not None
        self._check_ranks_agree()
        if not self.may_differ and self._restored_fingerprint not in (None, self.fingerprint()):
            raise UserError(
                "data: the training images or how they are cut have changed since the checkpoint was written, so "
                "the run cannot continue where it stopped; allowed: the same data, a new run that starts from "
                "its weights (model.weights=<checkpoint>), or, to go on with other samples, allow_change=[data]"
            )
        sampler = BatchSampler(
            start_k=self.k,
            batch_size=self.batch_size,
            accumulate=int(self.trainer.accumulate_grad_batches),
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            seed=self.seed,
            scales=self.scales,
        )
        samples = TrainSamples(
            self.train_images,
            patch_size=self.patch_size,
            seed=self.seed,
            augment=self.augment,
            permute_channels=self.permute_channels,
            degrade=self.degrade,
            made_lr=made_lr(self.train_images, self.scales, self.degrade, limit=self._finder.store_limit),
        )
        self.train_loader = TimedLoader(
            samples,
            sampler=sampler,
            batch_size=None,  # a request already is a batch
            collate_fn=as_it_is,
            num_workers=self.num_workers,
            timeout=self.worker_timeout if self.num_workers else 0,
            worker_init_fn=ignore_interrupts,
            pin_memory=torch.cuda.is_available(),
            # Its own generator: a loader draws its workers' seed when it starts, and that must not come from
            # the generator that dropout uses.
            generator=torch.Generator().manual_seed(self.seed),
        )
        return self.train_loader

    def val_dataloader(self) -> DataLoader[EvalImage | NoImage]:
        """This rank's share of the validation images, each at each scale."""
        return self._eval_loader(EvalImages(self.val_sets, self.scales, crop=self.val_crop))

    def test_dataloader(self) -> DataLoader[EvalImage | NoImage]:
        """This rank's share of the test images, whole, each at each scale."""
        return self._eval_loader(EvalImages(self.test_sets, self.scales))

    def _eval_loader(self, images: EvalImages) -> DataLoader[EvalImage | NoImage]:
        assert self.trainer is not None
        # Never padded with images: one that counts twice makes a wrong mean.
        share = images.share(self.trainer.global_rank, self.trainer.world_size)
        # Its own generator, again: a validation must not change what training draws after it.
        return DataLoader(images, batch_size=None, collate_fn=as_it_is, sampler=share, generator=torch.Generator())

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Moves the images; Lightning would look at each number beside them, which takes half a millisecond."""
        if isinstance(batch, TrainWindows | EvalImage):
            lr = None if batch.lr is None else batch.lr.to(device, non_blocking=True)
            return batch._replace(hr=batch.hr.to(device, non_blocking=True), lr=lr)
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Degrades what has no LR yet, and turns, on the device. Fires for every stage, so the batch's type decides."""
        if isinstance(batch, TrainWindows):
            self.k = batch.next_k
            return to_train_batch(batch, self.degrade)
        if isinstance(batch, EvalImage):
            return to_eval_batch(batch, self.degrade)
        return batch

    def _check_ranks_agree(self) -> None:
        """Processes on several machines may see different files under the same name."""
        if not torch.distributed.is_available() or not torch.distributed.is_initialized():
            return
        own = [self.fingerprint(), *(images.hr.key for images in [*self.val_sets, *self.test_sets])]
        all_ranks: list[list[str] | None] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(all_ranks, own)
        others = [rank for rank, found in enumerate(all_ranks) if found != all_ranks[0]]
        if others:
            raise UserError(
                f"data: process 0 and the processes {', '.join(map(str, others))} see different images (by their "
                "content) or settings; allowed: the same files on every machine"
            )

    # -- exact resume --------------------------------------------------------------------------------

    def fingerprint(self) -> str:
        """What sample k depends on besides k."""
        assert self.train_images is not None
        parts: list[Any] = [self.train_images.hr.key, *(s.key for s in (self.train_images.lr or {}).values())]
        parts += [self.seed, self.scales, self.patch_size, self.batch_size, self.augment, self.degrade.describe()]
        if self.permute_channels:  # it came later: checkpoints from before have no such part
            parts.append("permute_channels")
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    def state_dict(self) -> dict[str, Any]:
        """Where the data stands, for the checkpoint."""
        return {"k": self.k, "fingerprint": self.fingerprint()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues at the stored sample."""
        self.k = state_dict["k"]
        self._restored_fingerprint = state_dict["fingerprint"]


def _listed(sets: Sequence[Images]) -> str:
    return ", ".join(f"{images.name} ({len(images.hr)})" for images in sets) or "none"
