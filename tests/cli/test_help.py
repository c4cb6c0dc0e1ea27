"""`--help` of every command: generated, whole at any width, and without what takes long to import."""

import functools
import re
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from sr_lightning import __version__
from sr_lightning.cli.arguments import parse_arguments
from sr_lightning.cli.commands import COMMANDS
from sr_lightning.cli.help import print_help, take_help
from sr_lightning.cli.main import run_command
from sr_lightning.config.compose import compose_choices
from sr_lightning.config.conf_files import conf_dir
from sr_lightning.config.keys import Explainer
from sr_lightning.config.suggestions import dotted_keys, suggest_key


def shown(capsys, monkeypatch, *typed, name="train", width=80):
    monkeypatch.setenv("COLUMNS", str(width))
    assert run_command(name, None, list(typed)) == 0
    return capsys.readouterr().out


def values(node, prefix=""):
    for key, value in node.items():
        if not key.startswith("_"):
            yield f"{prefix}{key}"
            if isinstance(value, dict) and value and f"{prefix}{key}" not in ("data.val", "data.test"):
                yield from values(value, f"{prefix}{key}.")


@functools.cache
def defaults(name):
    """A command's config and choices as they are without any override."""
    return compose_choices(name, [], config_dir=None, config_name=None)


@pytest.mark.parametrize(("name", "width"), [*((name, 80) for name in COMMANDS), ("train", 60), ("train", 120)])
def test_every_key_is_there_and_no_line_is_too_long(name, width, capsys, monkeypatch):
    out = shown(capsys, monkeypatch, "--help", name=name, width=width)
    assert all(len(line) <= width or line.startswith("      '") for line in out.splitlines())  # not inside quotes
    assert "\x1b" not in out
    config, chosen = defaults(name)
    words = "".join(out.split())
    for key in values(OmegaConf.to_container(config, resolve=False)):
        assert key in words
    for group in chosen:
        assert re.search(rf"^  {group} ", out, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_five_examples_that_compose(name):
    """What stands in the first lines is what its reader types."""
    import shlex

    config, chosen = defaults(name)
    examples = Explainer(name, config, chosen, COMMANDS[name].check).examples()
    assert len(examples) >= 5
    for line in examples:
        words = shlex.split(line)
        assert words[:3] == ["python", "-m", f"sr_lightning.{name}"]
        arguments = parse_arguments(words[3:], name)
        compose_choices(name, arguments.overrides, config_dir=None, config_name=None)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_words_of_other_tools_are_answered_where_help_says_so(name, capsys, monkeypatch):
    (named,) = re.findall(
        r"Words of other tools \((.*), …\)", " ".join(shown(capsys, monkeypatch, "--help", name=name).split())
    )
    config, _ = defaults(name)
    keys = dict(dotted_keys(config))
    for word in named.split(", "):
        (meant,) = re.findall(r"did you mean '([^']+)'\?", suggest_key(word, config))
        assert word not in keys
        assert meant in keys
    assert ("epochs" in named) == ("trainer.max_steps" in keys)


def silent_keys(explainer):
    keys = [key for section in explainer.sections().values() for key in section]
    return [key.name for key in keys if not key.text and key.value is not None]  # the others are heads of sections


@pytest.mark.parametrize("name", COMMANDS)
def test_every_key_says_what_it_means(name):
    config, chosen = defaults(name)
    assert silent_keys(Explainer(name, config, chosen, COMMANDS[name].check)) == []


GROUPS = sorted(path.name for path in Path(conf_dir()).iterdir() if path.is_dir())


@pytest.mark.parametrize("group", [g for g in GROUPS if g not in ("hydra", "experiment", "sweep", "debug")])
def test_every_key_of_every_choice_says_what_it_means(group):
    """The groups that are left out set keys of others."""
    files = sorted(Path(conf_dir(), group).glob("*.yaml"))
    assert files
    for path in files:
        section = yaml.safe_load(path.read_text())
        section.pop("defaults", None)  # the file below it is among these files
        config = OmegaConf.create({group: section})
        assert silent_keys(Explainer("train", config, {group: path.stem}, COMMANDS["train"].check)) == [], path


def test_the_group_of_a_section_inside_another(capsys, monkeypatch):
    out = shown(capsys, monkeypatch, "--help", "adversarial=srgan", width=120)
    assert re.search(r"^  optimizer@adversarial\.optimizer\n +adam, adamw, sgd, soap$", out, re.MULTILINE)
    assert re.search(r"adversarial\.optimizer\.betas=\[0\.9, 0\.999\]\n +list; shares of the past", out)
    assert re.search(r"loss\.terms\.style\.layers=\$\{loss\.perceptual\.layers\}\n +mapping or null; as loss\.", out)


def test_types_comments_and_docstrings(capsys, monkeypatch):
    out = shown(capsys, monkeypatch, "--help", width=120)
    assert re.search(r"  data\.patch_size=32 +whole number; side of the LR patch", out)  # a comment
    assert re.search(r"  loss\.alpha=1\.0 +number; weight of the pixel loss\n", out)  # a docstring
    assert re.search(r"  model\.activation=relu +relu, leaky_relu, prelu, gelu, silu\n", out)  # a Literal, not twice


def test_a_part(capsys, monkeypatch):
    out = shown(capsys, monkeypatch, "--help=model")
    assert re.search(r"^  rcan +Zhang et al\. 2018", out, re.MULTILINE)
    assert "edsr_tiny   (in use)" in out
    assert "model.n_feats=16" in out
    assert "trainer." not in out
    out = shown(capsys, monkeypatch, "--help", "model", "model=rcan")
    assert "rcan   (in use)" in out
    assert "model.n_groups=10" in out
    out = shown(capsys, monkeypatch, "--help=optimizer.lr")
    assert "other tools call it learning_rate, base_lr, init_lr" in out
    assert len(out.splitlines()) < 6


def test_a_part_that_is_not_there(capsys):
    assert run_command("train", None, ["--help=lr"]) == 2
    assert "--help=lr: no such key or group; did you mean 'optimizer.lr'?" in capsys.readouterr().err


def test_the_users_own_configs_and_class(tmp_path, capsys, monkeypatch):
    (tmp_path / "own_help.py").write_text(
        'class Net:\n    """A net of mine.\n\n    Args:\n        width: How wide.\n    """\n\n'
        "    def __init__(self, *, width: int = 3) -> None: ...\n"
    )
    (tmp_path / "mine/model").mkdir(parents=True)
    (tmp_path / "mine/model/wide.yaml").write_text("# My wide one.\n_target_: own_help.Net\nwidth: 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    out = shown(capsys, monkeypatch, "--help=model", "model=wide", "--config-dir", str(tmp_path / "mine"))
    assert re.search(r"wide   \(in use\) +My wide one\.", out)
    assert re.search(r"model\.width=7 +whole number; how wide", out)


def test_a_reader_that_has_seen_enough(monkeypatch):
    """`--help | head` ended in a traceback."""
    closed = []

    class Pipe:
        def write(self, text):
            raise BrokenPipeError

        def flush(self): ...

        def fileno(self):
            return 1

    monkeypatch.setattr("sys.stdout", Pipe())
    monkeypatch.setattr("os.dup2", lambda one, other: closed.append(other))
    arguments = parse_arguments([], "pack")
    print_help("pack", "", arguments, check=COMMANDS["pack"].check, summary="", sweeps=False)
    assert closed == [1]


def test_completion_of_zsh_is_begun_before_that_of_bash(capsys, monkeypatch):
    """Hydra's plugin for zsh is the one for bash, and `bashcompinit` calls what `compinit` defines."""
    from hydra._internal.core_plugins.zsh_completion import ZshCompletion

    assert ZshCompletion.help("install").endswith('eval "$({} -sc install=bash)"')
    out = " ".join(shown(capsys, monkeypatch, "--help", name="pack", width=120).split())
    assert "zsh: in .zshrc, after compinit: autoload -Uz bashcompinit && bashcompinit; then as in bash" in out


def test_where_the_part_stands():
    assert take_help(["scale=2"]) == (None, ["scale=2"])
    assert take_help(["scale=2", "-h"]) == ("", ["scale=2"])
    assert take_help(["--help", "model=rcan"]) == ("", ["model=rcan"])
    assert take_help(["--help", "loss", "scale=2"]) == ("loss", ["scale=2"])
    assert take_help(["--help=loss.beta"]) == ("loss.beta", [])


def test_the_version(capsys):
    assert run_command("upscale", None, ["--version"]) == 0
    assert capsys.readouterr().out == f"sr_lightning {__version__}\n"
