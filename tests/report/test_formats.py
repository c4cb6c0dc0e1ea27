"""The tables as a person sees them, and names in them that steer no terminal, spreadsheet, TeX or page."""

import csv
import io
import json
import re

import pytest

from helpers.run_folders import compared, make_run, make_sweep
from sr_lightning.report import formats

NAMES = [
    "=cmd|' /C calc'!A0",
    "\x1b[31mred",
    "<img src=x onerror=alert(1)>",
    r"\input{/etc/passwd} & 5 %",
    "a | b",
    "\u202egnp",
]
FORMULA = re.compile(r"\s*[=+\-@]")


def test_it_fits_eighty_columns(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    formats.show(compared(make_sweep(tmp_path / "s")))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    (line,) = [line for line in out.splitlines() if "beta=0.1 (2" in line]
    assert re.search(r"-0\.60 \[-0\.6\d, -0\.5\d\] \* +0/29", line)
    assert "failed: CUDA out of memory" in out
    assert "beta=2" in out
    assert "bicubic" in out


def test_the_spreadsheet_holds_every_run(tmp_path):
    lines = list(csv.DictReader(io.StringIO(formats.spreadsheet(compared(make_sweep(tmp_path / "s"))))))
    assert len(lines) == 6 * 2 + 2
    first = next(line for line in lines if line["run"] == "2" and line["set"] == "Five")
    assert (first["loss.beta"], first["seed"], first["rank"], first["of_images"]) == ("0.01", "1", "2", "29")
    assert float(first["to_best_low"]) < float(first["to_best"]) < float(first["to_best_high"]) < 0
    assert [line["status"] for line in lines[-2:]] == ["failed", "incomplete"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_in_its_cell(tmp_path, name, capsys):
    make_run(tmp_path / "a", sets={name: 6}, config={"loss": {"kind": name}})
    make_run(tmp_path / "b", sets={name: 6}, beta=1.0, config={"loss": {"kind": "plain"}})
    found = compared(tmp_path)
    formats.show(found)
    out = capsys.readouterr().out
    assert not re.search("[\x1b\u202e]", out)
    lines = formats.markdown(found).splitlines()
    rows = [line for line in lines if line.startswith("| 1")]
    heads = [line for line in lines if line.startswith("| #")]
    pipes = [len(re.findall(r"(?<!\\)\|", line)) for line in (*heads, *rows)]
    assert pipes[0] == pipes[2]
    assert pipes[1] == pipes[3]
    assert not re.search(r"(?<!\\)<", "\n".join(lines))
    tex = formats.latex(found)
    commands = set(re.findall(r"\\([A-Za-z]+)", tex))
    assert commands <= {"usepackage", "begin", "end", "toprule", "midrule", "bottomrule", "textbf", "textbackslash"}
    for line in csv.DictReader(io.StringIO(formats.spreadsheet(found))):
        for key in ("set", "loss.kind", "run"):
            assert not FORMULA.match(line[key]), line[key]


def test_the_best_is_bold_in_latex(tmp_path):
    tex = formats.latex(compared(make_sweep(tmp_path / "s")))
    assert r"\textbf{1} & \textbf{beta=0 (2 seeds)}" in tex
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 3


def test_further_metrics_have_a_table_of_their_own(tmp_path, capsys):
    folder = make_run(
        tmp_path / "a",
        more={"lpips": 0.25, "lr_psnr": 50.0, "edges": 0.125, "a\x1b[b": 1.0, "rows": 2.0, "folder": 3.0},
    )
    results = json.loads((folder / "results.json").read_text())
    said = {"lpips": True, "edges": False, "a\x1b[b": True, "rows": "no", "folder": True, "psnr_y": False}
    results["higher_is_better"] = said
    (folder / "results.json").write_text(json.dumps(results))
    make_run(tmp_path / "b", beta=1.0, more={"edges": 0.0625})  # of an older version, which does not say the direction
    found = compared(tmp_path, metric="edges")
    assert found.metrics == ["lpips", "lr_psnr", "edges"]
    assert [ranked.contender.label for ranked in found.groups[0].ranked] == ["b", "a"]
    line = next(csv.DictReader(io.StringIO(formats.spreadsheet(found))))
    assert (line["edges"], line["folder"]) == ("0.0625", str(tmp_path / "b"))
    formats.show(found)
    out = capsys.readouterr().out
    assert "LPIPS: less is better" in out
    assert "edges: less is better" in " ".join(out.split())
    assert "0.1250" in out
    assert "0.2500" in out
    assert "50.00" in out
    assert "1.6 G" in out
