"""Sections as objects."""

import pytest

from sr_lightning.builders.components import build


@pytest.mark.parametrize("text", ["loss.beta=${scale}", r"a\${b}", r"C:\x\$y", "${"])
def test_what_is_given_reaches_a_constructor_as_it_is(text):
    """A command line holds no interpolation that were ours to resolve."""
    section = {"_target_": "builtins.dict", "name": "a", "notes": None, "inner": {"_target_": "builtins.dict", "b": 1}}
    found = build(section, "logger.wandb", notes=text, tags=[text], sizes=(1, 2))
    assert found == {"name": "a", "notes": text, "inner": {"b": 1}, "tags": [text], "sizes": (1, 2)}
