"""Names of files and values of configs reach a terminal, a log and a table as text that nothing obeys."""

import io
import logging
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from sr_lightning.check_data import main as check_data
from sr_lightning.cli.sweep_table import SweepJob, print_sweep
from sr_lightning.download import main as download
from sr_lightning.errors import TrainingFailedError, UserError
from sr_lightning.evaluation.tables import Record, terminal
from sr_lightning.text import Formatter, Table, counted, fold, printable, shell_lines, tolerate_encodings
from sr_lightning.train import main as train

pytestmark = pytest.mark.usefixtures("_hydras_logging")
NAMES = (
    "\x1b[2Jclear.png",
    "\x1b]0;title\x07.png",
    "[red]a[/bold].png",
    "back\x08\x08.png",
    "left\u202egnp.png",
    "\x9b31m",
)
OBEYED = ("\x1b", "\x07", "\x08", "\u202e", "\x9b")


def assert_harmless(text):
    assert not any(character in text for character in OBEYED), text


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_what_a_terminal_would_obey_is_written_out(name):
    text = printable(name)
    assert_harmless(text)
    assert text.encode("ascii", "backslashreplace") == ascii(name)[1:-1].encode()
    assert printable(text) == text
    for error in (UserError(f"{name}: x"), TrainingFailedError(f"{name}: x")):
        assert str(error) == f"{text}: x"


def test_text_stays_as_it_is():
    for text in ("größe ✓, 東京\n\tnext line", "C:\\x", "[red]", "<b>"):
        assert printable(text) == text
    "\udcff".encode("ascii", "backslashreplace")
    assert printable("\udcff.png") == "\\udcff.png"


@pytest.mark.fault("S6", "as text, whatever it says")
def test_S6_a_table_of_results_and_a_table_of_jobs(capsys):
    page = io.StringIO()
    rows = [Record(set="Mine", scale=2, method=name, psnr_y=30.0) for name in NAMES]
    Console(file=page, width=120, force_terminal=True, color_system=None).print(terminal(rows, ["PSNR-Y"]))
    shown = page.getvalue()
    assert_harmless(shown)
    for name in NAMES:
        assert printable(name) in shown
    jobs = [SweepJob(i, name, [f"data.train_dir=/{name}"], "failed", error=name) for i, name in enumerate(NAMES)]
    print_sweep(Path("a"), jobs, "dB", "train")
    shown = "".join(capsys.readouterr().out.split())
    assert_harmless(shown)
    assert shown.count("[red]a[/bold].png") == 2


@pytest.mark.fault("D17", "named, escaped, on the terminal and in the log")
def test_D17_a_run_with_names_that_a_terminal_would_obey(tiny, folder, capsys):
    for i, name in enumerate(NAMES[:-1]):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (60, 60, 3), np.uint8)).save(
            folder / name.replace("/", ""), "PNG"
        )
    (folder / "\x1b[31mbad.png").write_bytes(b"no image")
    assert train(tiny) == 2
    said = capsys.readouterr()
    assert_harmless(said.err + said.out)
    assert "\\x1b[31mbad.png: is not an image" in said.err
    assert train([*tiny, "data.on_bad_image=skip", "trainer.max_steps=1"]) == 0
    said = capsys.readouterr().out
    (log,) = Path("runs").rglob("train.log")
    for text in (said, log.read_text()):
        assert_harmless(text)
        assert "\\x1b[31mbad.png: is not an image" in text


@pytest.mark.fault("D17", "check_data names them, escaped")
def test_D17_what_check_data_says(folder, capsys):
    bad = folder / "[red]\x1b[31mbad.png"
    bad.write_bytes(b"no image")
    assert check_data([f"check_data.folders=['{folder}']"]) == 2
    said = capsys.readouterr().out
    assert_harmless(said)
    assert "[red]\\x1b[31mbad.png" in said


def test_one_thing_is_singular():
    assert [counted(n, "LR image") for n in (0, 1, 12)] == ["0 LR images", "1 LR image", "12 LR images"]


def test_lines_of_the_log():
    record = logging.LogRecord("a", logging.INFO, "", 0, "%s: left out", ("\x1b[2J.png",), None)
    assert Formatter("%(message)s").format(record) == "\\x1b[2J.png: left out"


def results_table():
    """As evaluate's: names of two kinds, six figures."""
    figures = ["PSNR-Y", "SSIM-Y", "gain", "least", "params", "multiply-adds", "ms/img"]
    table = Table(["set", "method", *figures], figures)
    table.add("photographs_of_2026 x4", "bicubic", "27.07", "0.8039", "", "", "0", "", "7")
    name = "EDSR (runs/train/2026-11-24_10-00-00/checkpoints/best)"
    table.add("", name, "28.64", "0.8440", "+1.58", "-0.25", "28.3 K", "123.4 G", "9", ends_section=True)
    return table


@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 120])
def test_no_width_cuts_a_figure(width):
    page = io.StringIO()
    Console(file=page, width=width).print(results_table())
    lines = page.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for figure in ("123.4 G", "27.07", "0.8039", "28.64", "0.8440", "+1.58", "-0.25", "28.3 K"):
        assert sum(figure in line for line in lines) == 1, figure
    # What is left of the name, in its order: nothing is lost where it goes on in the next line.
    shown = page.getvalue().replace(" ", "").replace("\n", "")
    if width < 79:
        assert "EDSR(runs/train/2026-11-24_10-00-00/checkpoints/best)" in shown


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("runs/train/best.ckpt", 12, ["runs/train/", "best.ckpt"]),
        ("runs/train/2026-11-24_10-00-00", 12, ["runs/train/", "2026-11-24_", "10-00-00"]),
        ("loss.beta=0.01 scale=2", 15, ["loss.beta=0.01", "scale=2"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("東京都/大阪", 6, ["東京都", "/大阪"]),
        ("", 5, [""]),
    ],
)
def test_names_continue_after_slashes_and_spaces(text, width, lines):
    assert fold(text, width) == lines


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", "+-0.02 ...\n| \\xfc"), ("latin-1", "±0.02 ...\n| ü"), ("utf-8", "±0.02 …\n│ ü")],
)
def test_an_encoding_without_a_character_shows_another(encoding, shown, monkeypatch):
    page = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", page)
    tolerate_encodings()
    print("±0.02 …\n│ ü")
    assert page.buffer.getvalue().decode(encoding) == f"{shown}\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_commands_on_a_terminal_without_unicode(encoding, folder, monkeypatch):
    page = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", page)
    assert download(["--list"]) == 0
    assert check_data([f"check_data.folders={folder}"]) == 0
    assert train(["--cfg", "job"]) == 0
    table = Table(["name", "PSNR-Y"], ["PSNR-Y"])
    table.add("größe", "31.14±0.02")
    table.show()
    shown = page.buffer.getvalue().decode(encoding)
    assert "looking at every image ...\n" in shown
    assert ("31.14+-0.02" if encoding == "ascii" else "31.14±0.02") in shown
    assert ("gr\\xf6\\xdfe" if encoding == "ascii" else "größe") in shown


def test_a_command_line_is_folded_between_its_words():
    command = "python -m sr_lightning.evaluate 'predictions={theirs: a b, ours: c}' \"x=it's\" scale=4"
    lines = shell_lines(command, 40)
    assert lines == [
        "  python -m sr_lightning.evaluate \\",
        "      'predictions={theirs: a b, ours: c}' \\",
        '      "x=it\'s" scale=4',
    ]
    assert shlex.split("\n".join(lines).replace("\\\n", " ")) == shlex.split(command)  # as a shell joins them
    assert shell_lines(command) == [f"  {command}"]  # no terminal
    assert shell_lines("echo it's", 80) == ["  echo it's"]
