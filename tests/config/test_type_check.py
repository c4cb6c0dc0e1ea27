"""Values against annotations."""

import ast

import pytest

from sr_lightning.config.type_check import TypeMismatch, convert
from sr_lightning.text import nearest


def check(value, annotation):
    return convert(value, ast.parse(annotation, mode="eval").body, "sr_lightning.losses.composite")


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (3, "int", 3),
        (1e5, "int", 100_000),
        (3, "float", 3.0),
        (None, "int | None", None),
        ("a", "str | None", "a"),
        ([1, 2], "tuple[float, float]", (1.0, 2.0)),
        ([1, 2, 3], "Sequence[float]", [1.0, 2.0, 3.0]),
        ([1], "tuple[int, ...]", (1,)),
        ({"a": 1}, "Mapping[str, float] | None", {"a": 1.0}),
        ("l2", "PixelLoss | nn.Module", "l2"),
        (True, "bool", True),
        (0.5, "Optional[Union[int, float]]", 0.5),
        ("x", "'str | None'", "x"),
        ("anything", "SomeForeignClass", "anything"),
    ],
)
def test_what_fits(value, annotation, expected):
    found = check(value, annotation)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation", "allowed"),
    [
        ("3", "int", "a whole number"),
        (True, "int", "a whole number"),
        (1.5, "int", "a whole number"),
        (float("inf"), "int", "a whole number"),
        (float("nan"), "float", "a finite number"),
        (True, "float", "a finite number"),
        ("yes", "bool", "true or false"),
        (3, "str", "a text"),
        (3, "list[int]", "a list"),
        ([1, "a"], "list[int]", "a whole number"),
        ([1], "tuple[float, float]", "a list of 2 values"),
        (3, "dict[str, Any]", "a mapping"),
        ("l11", "PixelLoss", "did you mean 'l1'"),
        ("fast", "float | Tensor", "a finite number"),
        (float("nan"), "Union[float, Tensor]", "a finite number"),
        (7, "PixelLoss", "one of l1, l2, charbonnier"),
        ("l3", "PixelLoss | nn.Module", "charbonnier, l1, l2 or a section with a _target_"),
        ("a", "int | None", "a whole number or null"),
        (3, "Callable[[int], int]", "a section with a _target_"),
        ("l1", "L1Loss", "a section with a _target_"),
    ],
)
def test_what_does_not_fit(value, annotation, allowed):
    with pytest.raises(TypeMismatch, match=allowed):
        check(value, annotation)


def test_nearest():
    assert (
        nearest("batchsize", ["batch_size", "patch_size"])
        == "did you mean 'batch_size'? allowed: batch_size, patch_size"
    )
    assert nearest("xyz", ["a", "b"]) == "allowed: a, b"
