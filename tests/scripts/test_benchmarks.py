"""The benchmarks at their tiniest: that they run, agree and write what they promise. Not how fast anything is."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

SCRIPTS = Path(__file__).parents[2] / "scripts"
BENCHMARKS = SCRIPTS / "benchmarks"
ROW = {"case", "method", "unit", "median", "min", "max", "ours_is", "ours_is_min", "ours_is_max", "values"}

pytestmark = [
    pytest.mark.skipif(not SCRIPTS.is_dir(), reason="needs a checkout"),
    # Lightning asks for more workers, and says that the training loader has no length.
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
]


@pytest.fixture
def benchmark(monkeypatch):
    """Runs a script in this process: its sections, rows by method, and all that the file holds."""
    threads = torch.get_num_threads()

    def run(name, *arguments):
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        assert importlib.import_module(name).main([*arguments, "--quick", "--rounds", "1", "--out", "out.json"]) == 0
        document = json.loads(Path("out.json").read_text())
        assert {"processor", "cores", "threads", "device", "python", "versions"} <= set(document["machine"])
        assert all(set(row) == ROW for rows in document["sections"].values() for row in rows)
        assert all(row["min"] <= row["median"] <= row["max"] for rows in document["sections"].values() for row in rows)
        return document

    yield run
    torch.set_num_threads(threads)


NOT_RUN = [
    path for path in sorted(SCRIPTS.glob("*/*.py")) if path.parent.name != "examples"
]  # those train when imported


@pytest.mark.parametrize("script", NOT_RUN, ids=lambda path: path.stem)
def test_what_a_script_imports_is_there(script, monkeypatch):
    monkeypatch.syspath_prepend(str(script.parent))
    importlib.import_module(script.stem)


def test_data_cuts_what_decoding_gives(benchmark, folder, image):
    for path in folder.iterdir():  # large enough for a patch
        Image.fromarray(image(150, 160, 1)).save(path)
    found = benchmark("bench_data", "patches", "--images", str(folder), "--workers", "0")
    rows = found["sections"]["patches"]
    assert {row["case"].split(",")[0] for row in rows} == {"windows", "LR and HR as floats", "ready-made LR"}
    assert {"ours", "Pillow", "ours, of windows"} <= {row["method"] for row in rows}
    assert all(row["median"] > 0 for row in rows)
    assert any("Pillow's are equal" in note for note in found["notes"])


def test_other_patches_than_ours_end_the_benchmark(benchmark, folder, image, monkeypatch):
    for path in folder.iterdir():
        Image.fromarray(image(150, 160, 1)).save(path)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("bench_data")
    real = module.pillow
    monkeypatch.setattr(module, "pillow", lambda path: np.ascontiguousarray(real(path)[::-1]))
    with pytest.raises(AssertionError, match="Pillow: patches differ"):
        benchmark("bench_data", "patches", "--images", str(folder), "--workers", "0")


def test_metrics_agree(benchmark, folder):
    found = benchmark("bench_eval", "--images", str(folder), "--device", "cpu")
    methods = [row["method"] for row in found["sections"]["metrics"]]
    assert methods[:2] == ["ours", "scikit-image"]
    assert {row["method"] for row in found["sections"]["validation"]} == {"whole", "LR made", "edsr_tiny", "metrics"}


@pytest.mark.usefixtures("_hydras_logging")
def test_the_trainer_and_a_bare_loop_come_to_the_same_loss(benchmark, folder):
    tiny = ["data=folder", f"data.train_dir={folder}", "data.batch_size=2", "data.patch_size=12", "model.n_feats=4"]
    settings = [*tiny, "model.n_resblocks=1", "trainer=cpu", "trainer.precision=32"]
    found = benchmark("bench_train", "price", "waiting", "--networks", "edsr_tiny", "--steps", "4", "--set", *settings)
    rows = found["sections"]["price"]
    assert [row["method"] for row in rows[:4]] == ["ours", "bare loop", "float32 NCHW", "… decoding"]
    (said,) = [note for note in found["notes"] if note.startswith("Last loss")]
    losses = [float(part.rsplit(" ", 1)[1]) for part in said.rstrip(".").split(", ")[1:]]
    assert losses[1] == pytest.approx(losses[0], abs=2e-5)
    assert losses[2] == pytest.approx(losses[0], abs=2e-4)  # another layout, another optimizer kernel
    assert {row["method"] for row in found["sections"]["waiting"]} == {"waiting", "step"}


def test_upscale_measures_ours_and_the_usual_loops(benchmark):
    found = benchmark("bench_upscale", "speed")
    assert set(found["sections"]) == {"speed", "seconds of all cores", "decoding and encoding apart"}
    rows = found["sections"]["speed"]
    methods = ["ours, float32", "ours, bf16", "whole image, float32", "tile loop, float32"]
    assert [row["method"] for row in rows] == methods
    assert all(row["median"] > 0 for row in rows)
