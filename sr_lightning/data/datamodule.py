"""The LightningDataModule: which pictures, cut and degraded how, in what order."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from sr_lightning.data.batch import EvalPicture, TrainWindows
from sr_lightning.data.datasets import BatchSampler, EvalPictures, Pictures, TrainSamples
from sr_lightning.data.degrade import Downscale, to_eval_batch, to_train_batch
from sr_lightning.data.files import EXTENSIONS, find_pictures, pair_pictures
from sr_lightning.data.store import PictureStore
from sr_lightning.errors import UserError
from sr_lightning.resize import Kernel

log = logging.getLogger(__name__)


class TimedLoader(DataLoader[TrainWindows]):
    """A DataLoader that knows how long its consumer has waited for it."""

    waited = 0.0
    """Seconds since the start."""

    def __iter__(self) -> Iterator[TrainWindows]:  # type: ignore[override]  # a generator around torch's iterator
        batches = super().__iter__()
        while True:
            start = time.perf_counter()
            batch = next(batches)
            self.waited += time.perf_counter() - start
            yield batch


class SRDataModule(pl.LightningDataModule):
    """Training samples, validation and test pictures for one scale or several.

    Args:
        train_dir: Folder of HR pictures, or several.
        scale: One scale, or several: one scale per batch, all of them validated.
        seed: Decides every crop, flip and turn.
        cache_dir: Where decoded pictures are kept.
        train_lr_dir: Ready-made LR pictures, one folder for each of `train_dir`; may hold `{scale}`.
            None: LR is made from HR.
        train_files: Only these files of `train_dir`.
        extensions: Endings that count as pictures; case is ignored.
        kernel: Interpolation kernel of the degradation; `bicubic` is MATLAB's.
        batch_size: Samples per optimizer step, over all devices and accumulated batches.
        patch_size: Side of the LR patch in pixels, the same at every scale.
        num_workers: Processes that cut windows; 0 cuts them in the training process.
        augment: Flips and quarter turns.
        on_small: What to do about training pictures smaller than the patch: refuse them, leave them out
            (listed in the log), or mirror them up to its size.
        val: Name -> HR folder, or `{hr: folder, lr: folder, files: [names]}`.
        val_crop: Validate on a centre crop of this many HR pixels; None for whole pictures.
        val_holdout: Without `val`: this many training pictures, evenly spread over the sorted list, are
            kept out of training and validated on.
        test: Like `val`; always whole pictures. Without any, the validation sets are tested, whole.

    Raises:
        UserError: Folders or pictures do not fit what was asked for.
    """

    def __init__(
        self,
        *,
        train_dir: str | list[str],
        scale: int | list[int] = 4,
        seed: int = 0,
        cache_dir: str = ".cache",
        train_lr_dir: str | list[str] | None = None,
        train_files: list[str] | None = None,
        extensions: list[str] | None = None,
        kernel: Kernel = "bicubic",
        batch_size: int = 16,
        patch_size: int = 32,
        num_workers: int = 0,
        augment: bool = True,
        on_small: Literal["error", "skip", "mirror"] = "error",
        val: dict[str, Any] | None = None,
        val_crop: int | None = None,
        val_holdout: int = 0,
        test: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.scales = sorted(scale) if isinstance(scale, list) else [scale]
        self.train_dirs = train_dir if isinstance(train_dir, list) else [train_dir]
        self.train_lr_dirs = [train_lr_dir] if isinstance(train_lr_dir, str) else train_lr_dir
        if self.train_lr_dirs is not None and len(self.train_lr_dirs) != len(self.train_dirs):
            raise UserError(
                f"data.train_lr_dir: found {len(self.train_lr_dirs)} folders for {len(self.train_dirs)} in "
                "data.train_dir, allowed: one for each"
            )
        self.train_files = train_files
        self.extensions = extensions or list(EXTENSIONS)
        self.seed = seed
        self.cache_dir = cache_dir
        self.batch_size = batch_size
        self.patch_size = patch_size
        self.num_workers = num_workers
        self.augment = augment
        self.on_small = on_small
        self.val = val or {}
        self.val_crop = val_crop
        self.val_holdout = val_holdout
        self.test = test or {}
        self.degrade = Downscale(kernel)
        self.k = 0
        """Samples consumed since step 0, over all ranks."""
        self.train_pictures: Pictures | None = None
        self.val_sets: list[Pictures] = []
        self.test_sets: list[Pictures] = []
        self.train_loader: TimedLoader | None = None
        self._restored_fingerprint: str | None = None

    # -- which pictures ------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Finds, decodes and checks the pictures, once; every stage needs the same ones."""
        if self.train_pictures is not None:
            return
        files = self._training_files()
        held = self._held_out(files) if not self.val else []
        # `lr_of` keeps the pairing of each HR file, so that leaving some out cannot shift it.
        lr_of = self._training_pairs(files)
        training = [path for path in files if path not in set(held)]
        training = self._large_enough(training)
        self.train_pictures = self._pictures("train", training, lr_of)
        self.val_sets = [self._set(name, entry, "val") for name, entry in self.val.items()]
        if held:
            self.val_sets.append(self._pictures("heldout", held, lr_of))
        self.test_sets = [self._set(name, entry, "test") for name, entry in self.test.items()] or self.val_sets
        log.info(
            "%d training pictures; validation: %s; test: %s",
            len(training),
            ", ".join(f"{s.name} ({len(s.hr)})" for s in self.val_sets) or "none",
            ", ".join(f"{s.name} ({len(s.hr)})" for s in self.test_sets) or "none",
        )

    def _training_files(self) -> list[Path]:
        return [
            path
            for folder in self.train_dirs
            for path in find_pictures(folder, extensions=self.extensions, files=self.train_files, key="data.train_dir")
        ]

    def _held_out(self, files: Sequence[Path]) -> list[Path]:
        if self.val_holdout >= len(files):
            raise UserError(
                f"data.val_holdout: found {self.val_holdout}, but data.train_dir holds {len(files)} pictures; "
                "allowed: fewer than that, or name a set: +data.val.Mine=<folder>"
            )
        step = len(files) / max(self.val_holdout, 1)
        return [files[int((i + 0.5) * step)] for i in range(self.val_holdout)]

    def _training_pairs(self, files: Sequence[Path]) -> dict[int, dict[Path, Path]]:
        if self.train_lr_dirs is None:
            return {}
        pairs: dict[int, dict[Path, Path]] = {}
        for scale in self.scales:
            pairs[scale] = {}
            for hr_dir, lr_dir in zip(self.train_dirs, self.train_lr_dirs, strict=True):
                inside = [path for path in files if path.is_relative_to(hr_dir)]
                lr = pair_pictures(inside, lr_dir, scale, extensions=self.extensions)
                pairs[scale] |= dict(zip(inside, lr, strict=True))
        return pairs

    def _large_enough(self, files: list[Path]) -> list[Path]:
        if self.on_small == "mirror":
            return files
        needed = self.patch_size * max(self.scales)
        sizes = PictureStore(files, self.cache_dir).sizes
        small = {path: size for path, size in zip(files, sizes, strict=True) if min(size) < needed}
        if not small:
            return files
        shown = ", ".join(f"{path} ({size[1]}x{size[0]})" for path, size in list(small.items())[:5])
        shown += f" and {len(small) - 5} more" if len(small) > 5 else ""
        fitting = min(min(size) for size in small.values()) // max(self.scales)
        what = f"data.patch_size {self.patch_size} at x{max(self.scales)} needs pictures of {needed} pixels and more"
        if self.on_small == "error" or len(small) == len(files):
            raise UserError(
                f"{what}; smaller: {shown}. Allowed: data.patch_size={fitting} or less, data.on_small=skip, data.on_small=mirror"
            )
        log.warning("left out, because %s: %s", what, ", ".join(str(path) for path in small))
        return [path for path in files if path not in small]

    def _pictures(self, name: str, hr: list[Path], lr_of: dict[int, dict[Path, Path]]) -> Pictures:
        lr = {s: PictureStore([pairs[p] for p in hr], self.cache_dir) for s, pairs in lr_of.items()}
        pictures = Pictures(name, PictureStore(hr, self.cache_dir), lr or None)
        pictures.check_pairs()
        return pictures

    def _set(self, name: str, entry: str | dict[str, Any], split: str) -> Pictures:
        entry = entry if isinstance(entry, dict) else {"hr": entry}
        key = f"data.{split}.{name}"
        hr = find_pictures(entry["hr"], extensions=self.extensions, files=entry.get("files"), key=key)
        lr_of = {}
        if entry.get("lr") is not None:
            for scale in self.scales:
                lr = pair_pictures(hr, entry["lr"], scale, extensions=self.extensions, key=f"{key}.lr")
                lr_of[scale] = dict(zip(hr, lr, strict=True))
        pictures = self._pictures(name, hr, lr_of)
        self._check_evaluable(pictures, self.val_crop if split == "val" else None)
        return pictures

    def _check_evaluable(self, pictures: Pictures, crop: int | None) -> None:
        """SSIM's window has to fit after the border is shaved."""
        needed = 11 + 3 * max(self.scales)  # 2 scales of shaved border and at most one of cropping
        for path, size in zip(pictures.hr.paths, pictures.hr.sizes, strict=True):
            side = min(*size, crop or min(size))
            if side < needed:
                raise UserError(
                    f"{path}: {side} pixels are too few to evaluate at x{max(self.scales)}; needed: {needed}"
                )

    # -- loaders -------------------------------------------------------------------------------------

    def train_dataloader(self) -> TimedLoader:
        """Endless batches from sample `k` on."""
        assert self.train_pictures is not None
        assert self.trainer is not None
        if self._restored_fingerprint not in (None, self.fingerprint()):
            raise UserError(
                "data: the training pictures or how they are cut have changed since the checkpoint was written, so "
                "the run cannot continue where it stopped; allowed: the same data, or a new run that starts from "
                "its weights (model.weights=<checkpoint>)"
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
            self.train_pictures,
            patch_size=self.patch_size,
            seed=self.seed,
            augment=self.augment,
            degrade=self.degrade,
        )
        self.train_loader = TimedLoader(
            samples,
            sampler=sampler,
            batch_size=None,  # a request already is a batch
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            # Its own generator: a loader draws its workers' seed when it starts, and that must not come from
            # the generator that dropout uses.
            generator=torch.Generator().manual_seed(self.seed),
        )
        return self.train_loader

    def val_dataloader(self) -> DataLoader[EvalPicture]:
        """Each validation picture at each scale."""
        return _eval_loader(EvalPictures(self.val_sets, self.scales, crop=self.val_crop))

    def test_dataloader(self) -> DataLoader[EvalPicture]:
        """Each test picture at each scale, whole."""
        return _eval_loader(EvalPictures(self.test_sets, self.scales))

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Degrades on the device. Fires for every stage, so the batch's type decides."""
        if isinstance(batch, TrainWindows):
            self.k = batch.next_k
            return to_train_batch(batch, self.degrade)
        if isinstance(batch, EvalPicture):
            return to_eval_batch(batch, self.degrade)
        return batch

    # -- exact resume --------------------------------------------------------------------------------

    def fingerprint(self) -> str:
        """What sample k depends on besides k."""
        assert self.train_pictures is not None
        parts: list[Any] = [self.train_pictures.hr.key, *(s.key for s in (self.train_pictures.lr or {}).values())]
        parts += [self.seed, self.scales, self.patch_size, self.batch_size, self.augment, self.degrade.kernel]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    def state_dict(self) -> dict[str, Any]:
        """Where the data stands, for the checkpoint."""
        return {"k": self.k, "fingerprint": self.fingerprint()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues at the stored sample."""
        self.k = state_dict["k"]
        self._restored_fingerprint = state_dict["fingerprint"]


def _eval_loader(pictures: EvalPictures) -> DataLoader[EvalPicture]:
    return DataLoader(pictures, batch_size=None)
