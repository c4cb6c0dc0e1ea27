"""The proof refuses what is wrong in any way, and the card what a program must not act on."""

import json
from dataclasses import asdict

import pytest
import torch

from sr_lightning.errors import FailedError
from sr_lightning.exporters.card import Card
from sr_lightning.exporters.parity import compare, sizes
from sr_lightning.models import Bicubic


def network(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def broken(x):
    raise RuntimeError("no such size")


def test_sizes_are_of_every_kind():
    found = sizes()
    assert (1, 1) in found
    assert {h % 2 for h, _ in found} == {w % 2 for _, w in found} == {0, 1}
    assert {h % 8 == 0 for h, _ in found} == {True, False}
    assert any(h > w for h, w in found)
    assert any(h < w for h, w in found)
    assert min(min(size) for size in sizes(15)) == 15
    assert all(h % 8 == w % 8 == 0 for h, w in sizes(multiple=8))


def test_equal_results_are_told_with_their_differences():
    proof = compare(lambda x: network(x) + 2e-5 * network(x), network, sizes(), 2, precision="float32")
    assert len(proof) == len(sizes())
    assert all(1e-5 < found.relative < 3e-5 for found in proof)
    assert proof[-1].shape[0] == 2


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (lambda x: network(x) + 1e-3, "differs from the network by 0.001 at 1x1"),
        (lambda x: network(x) * torch.nan, "differs from the network by nan"),
        (lambda x: network(x)[..., : -(-x.shape[-1] // 8) * 16 - 2], "the file makes "),
        (broken, "the file does not run at 1x1: RuntimeError: no such size"),
    ],
)
def test_what_differs_is_refused(file, said):
    with pytest.raises(FailedError, match=said):
        compare(file, network, sizes(), 2, precision="float32")


def test_a_difference_may_be_larger_in_float16():
    def file(x):
        return network(x) * 1.001

    with pytest.raises(FailedError, match=r"allowed: 0\.0001"):
        compare(file, network, sizes(), 2, precision="float32")
    assert compare(file, network, sizes(), 2, precision="float16")


CARD = Card.of(Bicubic(2), 2, network="Bicubic", weights="a", sha256="0")


def test_a_card_is_read_as_it_was_written():
    assert (CARD.tile_margin, CARD.tile_step, CARD.min_size) == (2, 1, 1)
    assert Card.read(CARD.text()) == CARD
    assert Card.read(json.dumps(asdict(CARD) | {"of a later version": 1})) == CARD


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "another format"),
        ({"scale": 0}, "scale=0"),
        ({"scale": "2"}, "scale='2'"),
        ({"scale": True}, "scale=True"),
        ({"min_size": 10**9}, "min_size=1000000000"),
        ({"tile_margin": -1}, "tile_margin=-1"),
        ({"tile_step": 0}, "tile_step=0"),
        ({"network": 5}, "names no network"),
    ],
)
def test_a_card_from_a_file_is_not_trusted(change, said):
    with pytest.raises(ValueError, match=said):
        Card.read(json.dumps(asdict(CARD) | change))
