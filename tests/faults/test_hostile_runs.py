"""Folders of runs and output folders of strangers, as `compare` finds them."""

import json
import os
import threading

import pytest

from helpers.evaluations import QUICK, only_run, save_network
from helpers.run_folders import make_run
from sr_lightning.compare import main
from sr_lightning.evaluate import main as evaluate
from sr_lightning.report.output import Output

pytestmark = pytest.mark.usefixtures("_hydras_logging")
FAST = ["plots=false", "images=false", "page=false"]


@pytest.fixture
def pair(tmp_path):
    """Two runs; the second may be tampered with."""
    make_run(tmp_path / "s/a")
    return make_run(tmp_path / "s/b", beta=1.0, gain=0.5)


def change_rows(run, **values):
    found = json.loads((run / "results.json").read_text())
    found["rows"] = [row | values for row in found["rows"]]
    (run / "results.json").write_text(json.dumps(found))


@pytest.mark.fault("S16", "figures that cannot be measured count as none")
@pytest.mark.parametrize(
    "values",
    [
        {"psnr_y": 1e308, "ssim_y": -1e308, "params": 1e300, "multiply_adds": 1e300, "seconds_per_image": 1e300},
        {"scale": 10**300, "images": 10**300},
        {"scale": 0},
        {"scale": 2.5},
        {"psnr_y": float("nan"), "params": float("-inf"), "images": -1},
    ],
)
def test_S16_absurd_figures(pair, values, capsys):
    change_rows(pair, **values)
    (pair / "metrics.csv").write_text("step,val/gain\n1e308,1e308\n-1e308,-1e308\nnan,inf\n1,0.5\n")
    assert main(["runs=s", "images=false", "page=false"]) == 0
    assert "000000000" not in capsys.readouterr().out


@pytest.mark.fault("S16", "said in one line, and left out")
def test_S16_a_config_of_many_keys(pair, capsys):
    (pair / ".hydra/config.yaml").write_text("".join(f"k{i}: {i}\n" for i in range(2001)))
    assert main(["runs=s", *FAST]) == 0
    assert "has 2001 keys, allowed: up to 2000" in capsys.readouterr().out


@pytest.mark.fault("S16", "at most twelve panels")
def test_S16_configs_that_differ_in_many_keys(tmp_path, monkeypatch):
    for name, value in (("a", 0), ("b", 1)):
        make_run(tmp_path / f"s/{name}", gain=1 + value, config={f"k{i}": value for i in range(60)})
    seen = []
    monkeypatch.setattr("sr_lightning.report.plots._effect", lambda *panel: seen.append(panel))
    assert main(["runs=s", "images=false", "page=false"]) == 0
    assert len(seen) == 12


@pytest.mark.fault("S16", "no images of it; the tables are written")
def test_S16_a_set_whose_name_is_too_long_for_a_path(tmp_path, folder, capsys):
    checkpoint = save_network(tmp_path / "net.ckpt")
    assert evaluate([f"checkpoint={checkpoint}", f"+data.test.Mine={folder}", "sets=[Mine]", *QUICK]) == 0
    config = only_run() / ".hydra/config.yaml"
    config.write_text(config.read_text().replace(str(folder), "x" * 5000))
    assert main([f"runs={only_run()}", "output=out", "plots=false", "device=cpu"]) == 0
    assert "no images of Mine x4: " in capsys.readouterr().out
    assert (tmp_path / "out/compare.html").is_file()


@pytest.mark.fault("T6", "refused, with the name")
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_T6_a_manifest_that_is_no_file(pair, tmp_path, kind, capsys):
    (tmp_path / "out").mkdir()
    (os.mkfifo if kind == "pipe" else os.mkdir)(tmp_path / "out/compare.json")
    assert main(["runs=s", "output=out", *FAST]) == 2
    assert "output: out holds compare.json, which compare has not made" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["compare.json"]


@pytest.mark.fault("T12", "the second is refused, the first one's files stay whole")
def test_T12_two_compares_in_one_folder(pair, tmp_path, capsys):
    output = Output(tmp_path / "out")
    with output.locked():
        output.write("table.md", "the first one's")
        assert main(["runs=s", "output=out", *FAST]) == 2
        assert "output: another compare writes into out; allowed: another folder" in capsys.readouterr().err
        output.finish()
    assert (tmp_path / "out/table.md").read_text() == "the first one's"
    assert main(["runs=s", "output=out", *FAST]) == 0


@pytest.mark.fault("T12", "what the other has written meanwhile is its own")
def test_T12_a_compare_that_waited_knows_what_the_other_has_written(tmp_path):
    late = Output(tmp_path / "out")
    early = Output(tmp_path / "out")

    def write(output, text):
        with output.locked():
            output.write("table.md", text)
            output.finish()

    thread = threading.Thread(target=write, args=(early, "early"))
    thread.start()
    thread.join()
    write(late, "late")
    assert (tmp_path / "out/table.md").read_text() == "late"


@pytest.mark.fault("C13", "refused in one line")
@pytest.mark.parametrize("typed", [["runs=s", "output=" + "x" * 300], ["runs=s", "output=" + "x/" * 5000]])
def test_C13_names_that_are_too_long(pair, typed, capsys):
    assert main([*typed, *FAST]) == 2
    err = capsys.readouterr().err
    assert "is longer than a file's name may be" in err or "File name too long" in err
    assert "Traceback" not in err
