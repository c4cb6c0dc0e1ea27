"""Objects of config sections: what the sections say, and what is handed to them from the program."""

from __future__ import annotations

import pytest

from sr_lightning.builders.components import build, build_parts
from sr_lightning.errors import UserError


def test_a_text_that_is_handed_over_is_not_an_interpolation() -> None:
    # The notes of a W&B run are the command line, which README's own network writes with `scale: ${scale}`.
    command = "python -m sr_lightning.train 'model={_target_: mine.Net, scale: ${scale}}'"
    assert build({"_target_": "collections.Counter"}, "x", notes=command) == {"notes": command}
    section = {"_target_": "types.SimpleNamespace", "mine": 1}
    assert build(section, "x", tags=["${a}"], notes=command).__dict__ == {"mine": 1, "tags": ["${a}"], "notes": command}


def test_what_is_handed_over_is_the_same_object() -> None:
    mapping = {"_target_": "nowhere.Class"}
    assert build({"_target_": "types.SimpleNamespace"}, "x", given=mapping).given is mapping


def test_a_refused_argument_names_its_key() -> None:
    with pytest.raises(UserError, match=r"^logger\.mine: cannot build fractions\.Fraction: .*unexpected keyword"):
        build({"_target_": "fractions.Fraction"}, "logger.mine", folder="x")
    with pytest.raises(UserError, match=r"logger\.mine: fractions\.Fraction is a Fraction, allowed: a str"):
        build_parts({"mine": {"_target_": "fractions.Fraction"}}, "logger", str)
