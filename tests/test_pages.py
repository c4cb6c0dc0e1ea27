"""What the pages (*.md) say can be followed: links, command lines, names of files, groups and extras."""

import functools
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from sr_lightning.cli.arguments import parse_arguments
from sr_lightning.cli.commands import COMMANDS
from sr_lightning.config.compose import compose_choices, translate_overrides
from sr_lightning.config.conf_files import conf_dir, register_resolvers
from sr_lightning.data.download.fetcher import remote_sets
from sr_lightning.errors import UserError

ROOT = Path(__file__).parents[1]
WINGS = ("", "evaluation/", "losses/", "models/", "weights/")
PAGES = [f"{folder}README.md" for folder in ("", "conf/", "scripts/", *(f"sr_lightning/{wing}" for wing in WINGS))]
COMMAND = re.compile(r"(?:srun .*?)?python -m sr_lightning\.(\w+)|sbatch scripts/slurm\.sh")
# What is said on a machine that has neither the reader's files nor a GPU.
ELSEWHERE = re.compile(r"is not there|without the benchmarks: data=sample|this machine has no GPU")

pytestmark = pytest.mark.skipif(not (ROOT / "scripts").is_dir(), reason="needs a checkout")
register_resolvers()


def prose(text):
    """Without code blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text, heading="#+"):
    """Of headings, as GitHub makes them."""
    found = re.findall(rf"^{heading} (.+)$", prose(text), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found]


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def command_lines(text):
    """Those in blocks and in `code`, without what stands before the program; `…` leaves something out."""
    lines = [line for block in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", prose(text))
    lines = [re.sub(r"^(?:\$ )?(?:scripts/uv run )?(?:[A-Z_]+=\S+ )*", "", line) for line in lines]
    return [line for line in lines if COMMAND.match(line) and "…" not in line]


@functools.cache
def findings(name, words):
    """What is wrong with a command line; of the jobs of a sweep the first is composed."""
    try:
        arguments = parse_arguments(list(words), name)
        settings = {"config_dir": None, "config_name": None}
        translated = translate_overrides(name, arguments.overrides, **settings)
        COMMANDS[name].check(compose_choices(name, translated, **settings)[0])
    except UserError as error:
        return [finding for finding in str(error).splitlines() if not ELSEWHERE.search(finding)]
    return []


def test_no_page_is_forgotten():
    found = {path for top in ("conf", "scripts", "sr_lightning") for path in (ROOT / top).rglob("*.md")}
    assert {path.relative_to(ROOT).as_posix() for path in found} | {"README.md"} == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    path = ROOT / page
    links = re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text()))
    assert links
    for link in links:
        if not link.startswith("https://"):
            file, _, anchor = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target.exists(), link
            assert target.is_relative_to(ROOT), link
            assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("page", PAGES[1:])
def test_every_section_is_in_the_table_of_contents(page):
    text = (ROOT / page).read_text()
    contents = text.split("\n\n")[1]
    assert re.findall(r"\]\(#([^)]+)\)", contents) == anchors(text, "##")


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_are_there(page):
    named = re.findall(r"\b(?:conf|scripts|sr_lightning|tests|\.ci|\.github)/[\w./-]*\w", (ROOT / page).read_text())
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_command_lines_are_accepted(page, tmp_path, monkeypatch):
    """As with `--cfg job`, and more: no key, value or group is refused. `mine` is the module of the README."""
    (own,) = (block for block in blocks((ROOT / "README.md").read_text(), "python") if "class Net" in block)
    (tmp_path / "mine.py").write_text(own)
    monkeypatch.syspath_prepend(tmp_path)
    lines = command_lines((ROOT / page).read_text())
    assert len(lines) >= {"README.md": 20, "conf/README.md": 45}.get(page, 0)
    for line in lines:
        found = COMMAND.match(line)
        words = shlex.split(re.sub(r"<\w+>", "x", line[found.end() :]), comments=True)
        name = found[1] or "train"
        if name == "download":
            assert {word for word in words if not word.startswith("-")} <= {key.lower() for key in remote_sets()}, line
        elif words and not words[0].startswith("--help"):
            assert findings(name, tuple(words)) == [], line
        else:
            assert name in COMMANDS, line


def test_a_wrong_command_line_is_noticed():
    assert findings("train", ("loss.bta=0.1",))
    assert findings("train", ("-m", "optimizer=adam", "sweep=loss_wieghts"))
    assert findings("upscale", ("input=photo.jpg", "scale=x"))
    assert command_lines("`SR_DATA=a python -m sr_lightning.train a=b` and `python -m sr_lightning.train a=…`") == [
        "python -m sr_lightning.train a=b"
    ]


def test_every_choice_of_every_group_is_on_the_page():
    text = (ROOT / "conf/README.md").read_text().partition("## Groups")[2]
    table = dict(re.findall(r"^\| `(.*?)` \| (.+) \|$", text, re.MULTILINE))
    for path in Path(conf_dir()).glob("*/*.yaml"):
        group = path.parent.name
        if group not in ("hydra", "experiment"):  # experiments of one name are former ones
            assert f"`{path.stem}`" in table[group], path


@pytest.mark.parametrize("page", PAGES)
def test_extras_exist(page):
    named = set(re.findall(r"sr_lightning\[(\w+)\]", (ROOT / page).read_text()))
    assert named <= set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def test_the_readme_takes_five_minutes():
    assert len((ROOT / "README.md").read_text().splitlines()) < 130
