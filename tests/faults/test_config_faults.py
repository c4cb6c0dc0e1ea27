"""The fault matrix of configs, C1 to C10: refused at once with status 2, all findings together, the nearest name said.

One mistake on the command line each: test_config.
"""

import csv
import json
from pathlib import Path

import pytest

from sr_lightning.config.trainer_check import trainer_findings
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


@pytest.fixture(autouse=True)
def _nothing_is_built(monkeypatch, request):
    """A mistake that gets as far as training fails here instead of training for minutes."""
    if "C10" not in request.node.name:
        monkeypatch.setattr("sr_lightning.builders.components.build", lambda *_, **__: pytest.fail("it was built"))


def refused(capsys, *arguments):
    assert main(list(arguments)) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert "loading torch" not in said.out
    assert not Path("runs").exists()
    return said.err


def experiment(text):
    """A command that uses an experiment of one's own."""
    path = Path("my/experiment/x.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# @package _global_\n{text}")
    return ("--config-dir", "my", "experiment=x")


FAULTS = {
    "C1_typo_typed": (("loss.bta=1",), ["loss.bta: no such key; did you mean 'beta'?"]),
    "C1_typo_in_a_file": (
        "scael: 4\ntrainer:\n  max_step: 5\nloss:\n  perceptual:\n    layer: null\noptimizer:\n  lr: -1\n",
        [
            "scael: no such key; did you mean 'scale'?",
            "trainer.max_step: no such key; did you mean 'max_steps'?",
            "loss.perceptual.layer: no such key; did you mean 'layers'?",
            "optimizer.lr: found -1",
        ],
    ),
    "C2_type_in_a_file": (
        "seed: abc\ndata:\n  batch_size: lots\ncompile: 3\n",
        ["seed: found 'abc'", "data.batch_size: found 'lots', allowed: a whole number", "compile: found 3"],
    ),
    "C2_type_on_bad_image": (("data.on_bad_image=skp",), ["data.on_bad_image: found 'skp', did you mean 'skip'?"]),
    "C2_section_is_no_section": ("trainer: 3\n", ["trainer"]),
    "C3_rate_0": (("optimizer.lr=0",), ["optimizer.lr: found 0.0, allowed: above 0"]),
    "C3_rate_nan": (("optimizer.lr=nan",), ["optimizer.lr: found nan, allowed: a finite number"]),
    "C3_rate_infinite": (("optimizer.lr=1e400",), ["optimizer.lr: found inf, allowed: a finite number"]),
    "C3_batch_0": (("data.batch_size=0",), ["data.batch_size: found 0, allowed: 1 and more"]),
    "C3_features_0": (("model.n_feats=0",), ["model.n_feats: found 0, allowed: 1 and more"]),
    "C3_eps": (("loss.charbonnier_eps=-1",), ["loss.charbonnier_eps: found -1"]),
    "C4_negative": (("loss.alpha=-1",), ["loss.alpha: found -1"]),
    "C4_all_zero": (("loss.alpha=0",), ["all are 0, so there is nothing to train on"]),
    "C4_term_negative": (("loss.terms.tv.weight=-1",), ["loss.terms.tv.weight: found -1"]),
    "C4_term_nan": (("loss.terms.tv.weight=nan",), ["loss.terms.tv.weight: found nan, allowed: a finite number"]),
    "C5_scale_5": (("scale=5",), ["scale: found 5, allowed: one of 2, 3, 4, 8"]),
    "C5_scale_in_a_file": ("scale: [2, 5]\n", ["scale: found [2, 5]"]),
    "C6_mandatory": (("data=folder",), ["data.train_dir: must be given"]),
    "C6_new_in_a_file": ("callbacks:\n  mine:\n    _target_: ???\n", ["callbacks.mine._target_: must be given"]),
    "C7_experiment": (("experiment=t292",), ["experiment: found 't292', did you mean 'papers/t291'?"]),
    "C7_several": (
        ("model=edsr_tiney", "loss=compsite", "scale=7"),
        ["model: found 'edsr_tiney', did you mean 'edsr_tiny'?", "loss: found 'compsite', did you mean 'composite'?"],
    ),
    "C8_twice": ("scale: 4\nscale: 2\n", ["x.yaml, line 3: found duplicate key scale"]),
    "C8_twice_nested": (
        "trainer:\n  max_steps: 4\n  max_steps: 2\n",
        ["x.yaml, line 4: found duplicate key max_steps"],
    ),
    "C8_no_yaml": ("scale: [4\nloss: }\n", ["x.yaml, line 3: "]),
    "C8_tabs": ("trainer:\n\tmax_steps: 3\n", ["x.yaml, line 3: found character '\\t'"]),
    "C11_all_at_once": (
        (
            "trainer.devices=0",
            "data.num_workers=99999",
            "trainer.num_nodes=0",
            "trainer.precision=foo",
            "trainer.strategy=dpp",
            "trainer.max_steps=0",
            "+trainer.overfit_batches=1",
            "+trainer.fast_dev_run=true",
            "trainer.val_check_interval=0.5",
            "trainer.limit_test_batches=0",
            "+trainer.gradient_clip_algorithm=max",
        ),
        [
            "trainer.devices: found 0, allowed: 1 and more, a list",
            "data.num_workers: found 99999, a process each, allowed: 0 to",
            "trainer.num_nodes: found 0, allowed: 1 and more",
            "trainer.precision: found 'foo', allowed: 16, 16-mixed, ",
            "trainer.strategy: found 'dpp', did you mean 'ddp'?",
            "trainer.max_steps: found 0",
            "trainer.overfit_batches: found 1, which the project sets",
            "trainer.fast_dev_run: found true, which the project sets",
            "trainer.val_check_interval: found 0.5, allowed: a whole",
            "trainer.limit_test_batches: found 0, allowed: 1 and more",
            "trainer.gradient_clip_algorithm: found 'max'",
        ],
    ),
    "C11_all_otherwise": (
        (
            "trainer=cpu",
            "trainer.devices=99999",
            "trainer.precision=16-true",
            "trainer.strategy=deepspeed",
            "+trainer.max_epochs=3",
            "+trainer.enable_checkpointing=false",
            "trainer.limit_val_batches=1.5",
            "+trainer.max_time=12h",
        ),
        [
            "trainer.devices: found 99999 on the CPU",
            "trainer.precision: found '16-true', did you mean '",
            "trainer.strategy: found 'deepspeed', allowed: ",
            "trainer.max_epochs: found 3, which the project sets; allowed: ",
            "trainer.enable_checkpointing: found false",
            "trainer.limit_val_batches: found 1.5, allowed: a share",
            "trainer.max_time: found '12h', allowed: days:hours:minutes:seconds",
        ],
    ),
    "C9_model_of_another_scale": (("model.scale=3",), ["model.scale: found 3, but scale is 4"]),
    "C9_data_of_another_scale": (("data.scale=3", "scale=2"), ["data.scale: found 3, but scale is 2"]),
    "C9_scales": (
        ("model=vdsr", "scale=[2,3]", "data.scale=[2,4]"),
        ["data.scale: found [2, 4], but scale is [2, 3]; allowed: the same"],
    ),
    "C9_one_scale_network": (("scale=[2,3]",), ["EDSR is built for one scale"]),
}


CASES = [
    pytest.param(name, marks=pytest.mark.fault(name.partition("_")[0], "status 2 before data is touched, with the key"))
    for name in FAULTS
]


@pytest.mark.parametrize("fault", CASES)
def test_config_fault(capsys, fault):
    given, expected = FAULTS[fault]
    said = refused(capsys, *(experiment(given) if isinstance(given, str) else given))
    assert [text for text in expected if text not in said] == []


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        ({"devices": -2}, "trainer.devices: found -2, allowed: 1 and more"),
        ({"devices": []}, "trainer.devices: found [], allowed: 1 and more"),
        ({"devices": [0, 0]}, "trainer.devices: found [0, 0], allowed: 1 and more"),
        ({"devices": "all"}, "trainer.devices: found 'all', allowed: 1 and more"),
        ({"devices": "99999", "accelerator": "cpu"}, "trainer.devices: found 99999 on the CPU"),
        ({"accelerator": "tpu"}, "trainer.accelerator: found 'tpu', allowed: auto, cpu, gpu"),
        ({"precision": 8}, "trainer.precision: found 8, "),
    ],
)
@pytest.mark.fault("C11", "one finding, with the key")
def test_C11_further_values_of_the_same_keys(trainer, said):
    (finding,) = trainer_findings(trainer)
    assert said in finding


def test_ones_own_folder_of_configs_counts_when_another_override_is_wrong(capsys):
    """Each override is tried alone, and without that folder `experiment=x` would be told to be wrong too."""
    said = refused(capsys, *experiment("seed: 3\n"), "loss.bta=1")
    assert "loss.bta: no such key" in said
    assert "experiment" not in said


@pytest.mark.fault("C10", "the same run")
def test_C10_the_saved_config_replays_to_an_identical_run(tiny):
    assert main([*tiny, "loss.pixel=charbonnier", "seed=7", "hydra.run.dir=first"]) == 0
    assert main(["--config-dir", "first/.hydra", "--config-name", "config", "hydra.run.dir=again"]) == 0
    rows = []
    for run in (Path("first"), Path("again")):
        with (run / "metrics.csv").open() as file:
            metrics = [{key: row[key] for key in row if not key.startswith("time/")} for row in csv.DictReader(file)]
        results = json.loads((run / "results.json").read_text())
        rows.append((metrics, [(row["psnr_y"], row["ssim_y"]) for row in results["rows"]]))
    assert rows[0] == rows[1]
    assert rows[0][0]
    saved = [(Path(run) / ".hydra/config.yaml").read_text() for run in ("first", "again")]
    assert saved[0] == saved[1]
