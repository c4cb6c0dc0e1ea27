"""Equality of nested states, bit by bit."""

import itertools

import torch


def bit_identical(a, b):
    """Whether two values have the same structure and the same bits."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(bit_identical(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(itertools.starmap(bit_identical, zip(a, b, strict=True)))
    return a == b
