"""Conversion of published state dicts to our names: the building blocks of the networks' `from_official`.

Neither `from_official` nor `infer` is trusted: their result is compared with the network, name by name and shape by
shape, before any weight is used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sr_lightning.errors import UserError
from sr_lightning.models.blocks import DIV2K_MEAN

State = Mapping[str, Tensor]
_Ours = str | Callable[[re.Match[str]], str]
Names = dict[str, _Ours]
"""Pattern of a published name's prefix -> our prefix."""
LEVELS = 255.0
"""Factor between [0, 1] and the value range of several implementations."""


class Official(NamedTuple):
    """A published state dict, converted to our names."""

    state: dict[str, Tensor]
    settings: dict[str, Any]
    """Constructor arguments determined by the file, but not by any shape, such as `rgb_mean`."""
    alternatives: tuple[dict[str, Tensor], ...] = ()
    """States under other assumptions if names and shapes are ambiguous, such as a value range of 0..1, not 0..255."""


def rename(state: State, names: Mapping[str, _Ours]) -> dict[str, Tensor]:
    """Returns the state with each name's prefix replaced by the first matching pattern; other names are kept."""
    renamed = {}
    for key, value in state.items():
        for pattern, ours in names.items():
            new, n = re.subn(rf"\A(?:{pattern})", ours, key, count=1)
            if n:
                break
        renamed[new if n else key] = value
    return renamed


class MeanShift(NamedTuple):
    """The 1x1 convolutions around EDSR and its relatives: A·x + b before, C·y + d after; (3, 3) and (3,) each."""

    a: Tensor
    b: Tensor
    c: Tensor
    d: Tensor

    @classmethod
    def of(cls, mean: Sequence[float], value_range: float) -> MeanShift:
        """Creates the shift that subtracts the mean and adds it again, in the value range [0, R]."""
        eye, shift = torch.eye(3, dtype=torch.float64), value_range * torch.tensor(mean, dtype=torch.float64)
        return cls(eye, -shift, eye, shift)


def split_mean_shift(state: State) -> tuple[dict[str, Tensor], MeanShift]:
    """Splits `sub_mean` and `add_mean` from a state; without them, returns a zero shift in the range 0..1.

    Raises:
        UserError: They are not such convolutions, or are not invertible.
    """
    names = ("sub_mean.weight", "sub_mean.bias", "add_mean.weight", "add_mean.bias")
    rest = {key: value for key, value in state.items() if key not in names}
    found = [state[name].double() for name in names if name in state]
    if not found:
        return rest, MeanShift.of((0.0, 0.0, 0.0), 1.0)
    if [tuple(value.shape) for value in found] != [(3, 3, 1, 1), (3,)] * 2 or found[0].view(3, 3).det().abs() < 1e-3:
        raise UserError("sub_mean and add_mean: allowed: 1x1 convolutions of RGB that subtract and add a mean")
    return rest, MeanShift(found[0].view(3, 3), found[1], found[2].view(3, 3), found[3])


def fold_mean_shift(state: dict[str, Tensor], shift: MeanShift, *, first: str, last: str) -> list[float]:
    """Folds the convolutions of the mean shift into the first and the last convolution, in place.

    RCAN's code intends to freeze them, but passes them to the optimizer, so no values are assumed. With m = -b / R
    before A, W·(A·R·x + b) = (W·A·R)·(x - A⁻¹·m), with the same zero padding. The output is (C·(V·y + v) + d) / R. The
    result is exact up to one rounding of each weight.

    Args:
        state: State in our names.
        shift: Mean shift from the file.
        first: Name of the convolution applied to the image.
        last: Name of the convolution that outputs the image.

    Returns:
        The mean that the network has to subtract from images in [0, 1], and to add again.
    """
    value_range = LEVELS if shift.d.max() > 1 else 1.0
    mean = [round(value, 6) for value in (-torch.linalg.solve(shift.a, shift.b) / value_range).tolist()]
    before, after, bias = (state[f"{name}"].double() for name in (f"{first}.weight", f"{last}.weight", f"{last}.bias"))
    state[f"{first}.weight"] = (torch.einsum("oiyx,ij->ojyx", before, shift.a) * value_range).float()
    state[f"{last}.weight"] = (torch.einsum("ij,jnyx->inyx", shift.c, after) / value_range).float()
    bias = (shift.c @ bias + shift.d) / value_range - torch.tensor(mean, dtype=torch.float64)
    state[f"{last}.bias"] = bias.float()
    return mean


def fold_either_range(ours: dict[str, Tensor], shift: MeanShift | None, *, first: str, last: str) -> Official:
    """Folds in the mean shift; if the file has none, that of DIV2K on 0..255, with 0..1 as the alternative.

    Args:
        ours: State in our names.
        shift: Mean shift from the file; None: it is a constant in the network, and no name reveals the value range.
        first: Name of the convolution applied to the image.
        last: Name of the convolution that outputs the image.
    """
    states, means = [], []
    for each in [shift] if shift is not None else [MeanShift.of(DIV2K_MEAN, LEVELS), MeanShift.of(DIV2K_MEAN, 1.0)]:
        states.append(dict(ours))
        means.append(fold_mean_shift(states[-1], each, first=first, last=last))
    return Official(states[0], {"rgb_mean": means[0]}, tuple(states[1:]))


def on_unit_range(state: dict[str, Tensor], value_range: float, *, first: Iterable[str], last: str | None) -> None:
    """Folds the factor between [0, R] and [0, 1] into the first and the last convolution, in place.

    W·(R·x) + b = (R·W)·x + b, and (W·y + b) / R = (W/R)·y + b/R: exact up to one rounding of each weight.

    Args:
        state: State in our names.
        value_range: R.
        first: Names of the convolutions applied to the image.
        last: Name of the convolution that outputs the image; None: the output is already in [0, 1].
    """
    for name in first:
        _multiply(state, f"{name}.weight", value_range)
    if last is not None:
        for kind in ("weight", "bias"):
            _multiply(state, f"{last}.{kind}", 1 / value_range)


def _multiply(state: dict[str, Tensor], key: str, factor: float) -> None:
    if key in state and factor != 1:  # missing ones are reported later, with all others
        state[key] = (state[key].double() * factor).float()


def with_zero_biases(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Adds zero biases to convolutions without a bias, which leaves the function unchanged."""
    zeros = {
        key.removesuffix("weight") + "bias": torch.zeros(value.shape[0])
        for key, value in state.items()
        if key.endswith(".weight") and value.dim() == 4
    }
    return zeros | state


def shuffle_names(state: State, shuffles: str, last: str) -> Names:
    """Returns names of EDSR's upsampler: convolutions `<shuffles>.0`, `.2`, …, each with a shuffle, then `<last>`."""
    n = sum(re.fullmatch(rf"{shuffles}\.\d+\.weight", key) is not None for key in state)
    return {rf"{shuffles}\.(\d+)\.": lambda m: f"tail.{int(m[1]) // 2}.0.", rf"{last}\.": f"tail.{n}."}


def count(state: State, prefix: str) -> int:
    """Counts the entries of a list that hold weights: different x in `<prefix>.<x>.…`."""
    start = prefix + "."
    return len({key[len(start) :].partition(".")[0] for key in state if key.startswith(start)})


def sub_pixel_scale(state: State, pattern: str, n_out: int | None = None) -> int:
    """Returns the total scale of the sub-pixel convolutions with these names.

    Args:
        state: State in our names.
        pattern: Pattern of the names of their kernels.
        n_out: Channels after the shuffle; None: as many as before the convolution.
    """
    kernels = [value for key, value in state.items() if re.fullmatch(pattern, key)]
    return math.prod(math.isqrt(kernel.shape[0] // (n_out or kernel.shape[1])) for kernel in kernels)


def published_state(convert: Callable[[State], Official | None], theirs: State, ours: State) -> dict[str, Tensor]:
    """Inverts `from_official`: returns the state dict that the published implementation would have saved.

    `from_official` renames weights, and applies at most one factor and one offset per value. Applying it to zeros and
    to ones reveals both, so that the names need to be written down only once.

    Args:
        convert: A network's `from_official`.
        theirs: A state dict of the published implementation, for names, shapes and the values of entries that are not
            weights there (mean shift, window masks, merged layers).
        ours: Our weights, in our names.

    Returns:
        `theirs`, with our weights filled in.
    """
    fixed = {key for key in theirs if any(part in key for part in ("sub_mean.", "add_mean.", ".eval_conv."))}
    asked = {key: value if key in fixed else torch.zeros_like(value) for key, value in theirs.items()}
    ones = {key: value if key in fixed else torch.ones_like(value) for key, value in theirs.items()}
    zero, one = convert(asked), convert(ones)
    if zero is None or one is None:
        raise UserError("the names of a published implementation, allowed: those that from_official knows")
    left = {id(value): key for key, value in asked.items() if key not in fixed}
    found = {key: left.pop(id(value)) for key, value in zero.state.items() if id(value) in left}
    for key, value in zero.state.items():
        if key not in found:  # newly created: matched to the first of the same shape, as the order is preserved
            found[key] = left.pop(next(i for i, name in left.items() if theirs[name].shape == value.shape))
    made = dict(theirs)
    for key, name in found.items():
        offset, factor = zero.state[key].double(), (one.state[key].double() - zero.state[key].double())
        made[name] = ((ours[key].double() - offset) / factor).to(ours[key].dtype)
    return made
