"""Comments of YAML files."""

from sr_lightning.config.comments import read_comments

TEXT = """\
# @package _global_
# python -m sr_lightning.train scale=2
# What it is,
# in two lines.
defaults:
  - base
a: 1          # first
b: null       # second, which goes
              # on here
# Before c.
c: "x # no"
section:
  d: '#'      # fourth
  # Before e.
  e: {f: 1}   # fifth
g:
  - 1
h: 2

hydra:
  help:
    footer: |
      python -m sr_lightning.train seed=2
"""


def test_each_belongs_to_its_key(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(TEXT)
    found = read_comments(path)
    assert found.about == "What it is, in two lines."
    assert found.examples == ["python -m sr_lightning.train scale=2", "python -m sr_lightning.train seed=2"]
    assert found.keys["a"] == "first"
    assert found.keys["b"] == "second, which goes on here"
    assert found.keys["section.d"] == "fourth"
    assert found.keys["section.e"] == "Before e. fifth"
    assert "h" not in found.keys
