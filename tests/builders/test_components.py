"""Objects of config sections: what the sections say, and what is handed to them from the program."""

from __future__ import annotations

import pytest

from sr_lightning.builders.components import build, build_parts
from sr_lightning.errors import UserError


@pytest.mark.parametrize("text", ["loss.beta=${scale}", r"a\${b}", r"C:\x\$y", "${"])
def test_what_is_given_reaches_a_constructor_as_it_is(text):
    """A command line holds no interpolation that were ours to resolve."""
    section = {"_target_": "builtins.dict", "name": "a", "notes": None, "inner": {"_target_": "builtins.dict", "b": 1}}
    found = build(section, "logger.wandb", notes=text, tags=[text], sizes=(1, 2))
    assert found == {"name": "a", "notes": text, "inner": {"b": 1}, "tags": [text], "sizes": (1, 2)}


def test_what_is_handed_over_is_the_same_object() -> None:
    mapping = {"_target_": "nowhere.Class"}
    assert build({"_target_": "types.SimpleNamespace"}, "x", given=mapping).given is mapping


def test_a_refused_argument_names_its_key() -> None:
    with pytest.raises(UserError, match=r"^logger\.mine: cannot build fractions\.Fraction: .*unexpected keyword"):
        build({"_target_": "fractions.Fraction"}, "logger.mine", folder="x")
    with pytest.raises(UserError, match=r"logger\.mine: fractions\.Fraction is a Fraction, allowed: a str"):
        build_parts({"mine": {"_target_": "fractions.Fraction"}}, "logger", str)
