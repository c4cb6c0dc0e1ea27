"""SR images for a comparison page: each run's best network, applied to the test images named in its config."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch

from sr_lightning.builders.comparison_methods import comparison_method, saved_section
from sr_lightning.builders.components import build
from sr_lightning.config.containers import as_list
from sr_lightning.config.findings import refuse
from sr_lightning.config.path_check import set_findings
from sr_lightning.data.datasets import EvalImages
from sr_lightning.data.degradations.base import Degradation, Downscale
from sr_lightning.data.files import EXTENSIONS
from sr_lightning.data.image_sets import SetFinder
from sr_lightning.data.images import Images
from sr_lightning.data.requirements import held_out
from sr_lightning.data.sources import HELD_OUT, FolderSource
from sr_lightning.distributed.process_group import Place
from sr_lightning.errors import FailedError, UserError
from sr_lightning.evaluation.method import BicubicMethod, Method
from sr_lightning.evaluation.predictions import predict
from sr_lightning.image.resize import Kernel
from sr_lightning.metrics.psnr_ssim import psnr_and_ssim
from sr_lightning.report.entries import At, Entry, Image, plain_name
from sr_lightning.report.images import MOST_METHODS, Pixels, Versions
from sr_lightning.report.ranking import Group
from sr_lightning.text import enumerated, spreadsheet_cell

Wanted = Sequence[tuple[At, Image]]
_ALIKE = 0.05  # dB by which bicubic's PSNR may differ from the recorded one


def make_versions(group: Group, wanted: Wanted, *, device: str, cache_dir: str) -> tuple[list[Versions], list[str]]:
    """Makes the SR images of a group's methods.

    Args:
        group: The group, whose first methods are used, each with its first seed.
        wanted: The test images.
        device: `auto`, or a torch device name.
        cache_dir: Folder for decoded images.

    Returns:
        The images in order, and a note for each set and method that is unavailable.
    """
    notes: list[str] = []
    place = Place(0, 1, _device(device))
    found: dict[tuple[At, Image], dict[int, Pixels]] = {}
    truth: dict[tuple[At, Image], Pixels] = {}
    base: dict[tuple[At, Image], Pixels] = {}
    for at in dict.fromkeys(at for at, _ in wanted):
        own = [image for name, image in wanted if name == at]
        source = _find_set(group, at, own, cache_dir, place, notes)
        if source is None:
            continue
        images, degrade, bicubic, hr = source
        truth |= {(at, image): hr[image] for image in own}
        base |= {(at, image): bicubic[image] for image in own}
        for number, ranked in enumerate(group.ranked[:MOST_METHODS]):
            try:
                method = comparison_method(ranked.contender.first, group.scale, images)
                made = _predictions(method, images, own, degrade, place)
            except (UserError, FailedError, OSError) as error:
                notes.append(f"{ranked.contender.label}: no images on {at.set} x{at.scale}: {error}")
                continue
            for image, pixels in made.items():
                found.setdefault((at, image), {})[number] = pixels
    return _complete(wanted, truth, base, found), list(dict.fromkeys(notes))


def _complete(
    wanted: Wanted,
    truth: Mapping[tuple[At, Image], Pixels],
    base: Mapping[tuple[At, Image], Pixels],
    found: Mapping[tuple[At, Image], Mapping[int, Pixels]],
) -> list[Versions]:
    """Returns the versions of those images for which at least one method has a result."""
    return [
        Versions(at, image, truth[at, image], base[at, image], found[at, image])
        for at, image in wanted
        if found.get((at, image))
    ]


Source = tuple[EvalImages, Degradation, dict[Image, Pixels], dict[Image, Pixels]]


def _find_set(
    group: Group, at: At, wanted: Sequence[Image], cache_dir: str, place: Place, notes: list[str]
) -> Source | None:
    """Opens a set through the first run whose config leads to the scored images; makes bicubic and HR of `wanted`."""
    told: list[str] = []
    for ranked in group.ranked:
        run = ranked.contender.first
        try:
            images, degrade = _open_set(run, at, cache_dir)
            names = {i: _recorded_name(found.hr.paths[i]) for found, _, i in images.items}
            if any(names.get(image.key) != image.name for image in wanted):
                raise UserError("the files are not those that were scored")
            bicubic = _predictions(BicubicMethod(), images, wanted, degrade, place)
            hr = {image: _hr(images, image) for image in wanted}
            _check_alike(run, at, bicubic, hr)
            return images, degrade, bicubic, hr
        except (UserError, FailedError, OSError) as error:  # OSError: its names may be too long for a path
            told.append(str(error).splitlines()[0])
    notes.append(f"no images of {at.set} x{at.scale}: {enumerated(list(dict.fromkeys(told)), most=2)}")
    return None


def _recorded_name(path: Path) -> str:
    """Returns a file's name as it is read back from `per_image.csv`."""
    return plain_name(spreadsheet_cell(path.name))


def _open_set(run: Entry, at: At, cache_dir: str) -> tuple[EvalImages, Degradation]:
    data = saved_section(run, "data", beside="paths")
    entries = {**_section(data.get("val")), **_section(data.get("test"))}
    root = saved_section(run, "paths").get("data")
    is_held_out = run.is_training and at.set == HELD_OUT and at.set not in entries
    entry = "" if is_held_out else entries.get(at.set, f"{root}/test/{at.set}" if root else None)
    if at.set not in entries and not is_held_out and not (isinstance(entry, str) and os.path.isdir(entry)):
        raise UserError(f"the config names no folder for it, and {entry} is not a folder; allowed: its images there")
    extensions, kernel = data.get("extensions") or EXTENSIONS, data.get("kernel") or "bicubic"
    refuse([*_data_findings(at.set, entry, extensions, kernel)])
    section = data.get("degradation")
    degrade = build(section, "data.degradation") if section else Downscale(kernel)  # type: ignore[arg-type]  # checked
    if not callable(getattr(degrade, "describe", None)):  # the config may name any torch.nn class
        raise UserError(f"data.degradation: {type(degrade).__name__} is no degradation")
    finder = SetFinder([at.scale], extensions=extensions, cache_dir=cache_dir)
    key = f"data.test.{at.set}"
    found = _held_out(run, at, data, finder) if is_held_out else finder.evaluation(key, at.set, entry)  # type: ignore[arg-type]  # checked
    return EvalImages([found], [at.scale]), degrade


def _held_out(run: Entry, at: At, data: dict[str, Any], finder: SetFinder) -> Images:
    """Finds the training images that a run without a set to validate on has held out."""
    keys = ("train_dir", "train_lr_dir", "train_files", "exclude_files")
    folders, lr_folders, files, exclude = (as_list(data.get(key)) for key in keys)
    if not all(isinstance(part, str) for part in (*folders, *lr_folders, *files, *exclude)):
        raise UserError(f"data: found {', '.join(keys)} that are no names; allowed: names of files and folders")
    try:
        source = FolderSource(finder, folders, lr_folders=lr_folders or None, files=files or None, exclude=exclude)
        found, pairs = source.found()
        names, count = [image.name for image in run.images.get(at, ())], data.get("val_holdout")
        chosen = held_out(found, count) if type(count) is int and 0 < count < len(found) else []
        if [_recorded_name(path) for path in chosen] != names:  # the folder has changed, or bad files were left out
            by_name = {name: [path for path in found if _recorded_name(path) == name] for name in names}
            if wrong := [name for name, paths in by_name.items() if len(paths) != 1]:
                raise UserError(f"{wrong[0]}: found {len(by_name[wrong[0]])} files of that name")
            chosen = [by_name[name][0] for name in names]
        return finder.images(HELD_OUT, chosen, pairs)
    except UserError as error:
        raise UserError(
            "they were held out of data.train_dir, as there was no data.val, and are not found there again "
            f"({str(error).splitlines()[0]}); allowed: the images in their place, seen from the folder of the training"
        ) from None


def _data_findings(name: str, entry: Any, extensions: Any, kernel: Any) -> Iterator[str]:
    """Yields findings about a saved section `data` that `train` and `evaluate` would not have accepted."""
    yield from set_findings(f"data.test.{name}", name, entry)
    parts = [entry.get("lr"), *as_list(entry.get("files"))] if isinstance(entry, dict) else []
    if not all(part is None or isinstance(part, str) for part in (*parts, *as_list(extensions))):
        yield f"data.test.{name}: found {entry!r}, allowed: names"
    if kernel not in get_args(Kernel):
        yield f"data.kernel: found {kernel!r}, allowed: {', '.join(get_args(Kernel))}"


def _section(value: Any) -> dict[str, Any]:
    return {str(key): entry for key, entry in value.items()} if isinstance(value, dict) else {}


def _predictions(
    method: Method, images: EvalImages, wanted: Sequence[Image], degrade: Degradation, place: Place
) -> dict[Image, Pixels]:
    """Returns the (H, W, 3) prediction for each image, omitting those with NaN."""
    by_key = {image.key: image for image in wanted}
    part = EvalImages([images.items[0][0]], [images.items[0][1]])
    part.items = [item for item in images.items if item[2] in by_key]
    with torch.inference_mode(), method.on(place.device):
        return {
            by_key[p.batch.key]: p.image[0].permute(1, 2, 0).cpu().numpy()
            for p in predict(method, part, degrade, place)
            if p.image is not None
        }


def _hr(images: EvalImages, image: Image) -> Pixels:
    found = images[image.key]
    hr: Pixels = found.hr[0].permute(1, 2, 0).numpy()  # type: ignore[union-attr]  # the index exists
    return hr


def _check_alike(run: Entry, at: At, bicubic: Mapping[Image, Pixels], hr: Mapping[Image, Pixels]) -> None:
    """Refuses images that have changed, which shows in a different score of bicubic upscaling."""
    for image, pixels in bicubic.items():
        recorded = run.images.get(at, {}).get(image, {}).get("bicubic_psnr_y")
        sr, truth = (torch.from_numpy(x.copy()).permute(2, 0, 1)[None] for x in (pixels, hr[image]))
        psnr = float(psnr_and_ssim(sr, truth, shave=at.scale)[0])
        if recorded is not None and psnr != recorded and not abs(psnr - recorded) <= _ALIKE:
            raise UserError(f"{image.name} of {at.set} has changed since it was scored")


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and int(name.partition(":")[2] or 0) >= torch.cuda.device_count():
        raise UserError(f"device: found {name}, but this machine has {torch.cuda.device_count()} CUDA devices")
    return torch.device(name)
