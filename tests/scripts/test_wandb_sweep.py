"""The worked example of a sweep that W&B steers: its command line, as W&B's agent makes it, is one of ours."""

from pathlib import Path

import pytest
import yaml

from sr_lightning.config.compose import compose_jobs
from sr_lightning.config.conf_files import register_resolvers
from sr_lightning.config.train import check_train

PATH = Path(__file__).parents[2] / "scripts/wandb_sweep.yaml"


@pytest.mark.parametrize("end", [0, -1])
def test_what_the_agent_types_can_be_trained(end):
    register_resolvers()
    sweep = yaml.safe_load(PATH.read_text())
    assert sweep["command"][:4] == ["${env}", "python", "-m", "${program}"]
    assert sweep["command"][-1] == "${args_no_hyphens}"
    ends = {key: entry.get("values") or [entry["min"], entry["max"]] for key, entry in sweep["parameters"].items()}
    typed = [*sweep["command"][4:-1], *(f"{key}={values[end]}" for key, values in ends.items())]
    (job,) = compose_jobs("train", typed, config_dir=None, config_name=None, is_sweep=False)
    config = check_train(job.config)
    assert config.optimizer["lr"] == ends["optimizer.lr"][end]
    assert config.logger["wandb"]["mode"] == "online"


def test_the_metric_is_one_that_training_logs():
    module = PATH.parents[1] / "sr_lightning/training/module.py"
    metric = yaml.safe_load(PATH.read_text())["metric"]
    assert f'"{metric["name"]}": gain' in module.read_text()
    assert metric["goal"] == "maximize"
