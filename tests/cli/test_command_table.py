"""`python -m sr_lightning`: every command, and nothing that takes long to import."""

import subprocess
import sys

from sr_lightning.__main__ import main
from sr_lightning.cli.command_table import command_summaries as commands
from sr_lightning.cli.commands import COMMANDS


def test_every_command_has_a_line(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert {name for name, _ in commands()} >= {*COMMANDS, "download"}
    for name, summary in commands():
        assert summary.endswith(".")
        assert f"python -m sr_lightning.{name} " in out
        assert " ".join(summary.split()) in " ".join(out.split())  # it is wrapped
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == out


def test_a_command_that_follows_a_space_is_pointed_to(capsys):
    assert main(["train", "scale=2"]) == 2
    assert "found 'train', allowed: python -m sr_lightning.train scale=2" in capsys.readouterr().err
    assert main(["trian"]) == 2
    assert "did you mean 'train'?" in capsys.readouterr().err


def test_the_table_imports_nothing_heavy():
    code = (
        "import runpy, sys; sys.argv = ['sr_lightning']\n"
        "try: runpy.run_module('sr_lightning', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'hydra', 'omegaconf', 'numpy', 'rich'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "sr_lightning.evaluate" in done.stdout
