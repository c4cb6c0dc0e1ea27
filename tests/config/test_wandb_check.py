"""The rules of Weights & Biases, against what its own package refuses."""

import pytest
import wandb

from sr_lightning.config.wandb_check import wandb_findings
from sr_lightning.train import main


def findings(**section):
    return list(wandb_findings({"wandb": {"_target_": "sr_lightning.loggers.wandb_logger", **section}}))


@pytest.mark.parametrize(
    "project", ["a/b", "a:b", "a\\b", "a#b", "a?b", "50%", "p" * 129, "p" * 128, "a b-c_d.é", "ok"]
)
def test_projects_are_refused_as_wandb_does(project):
    try:
        wandb.Settings(project=project)
    except wandb.errors.UsageError:
        assert [finding.partition(":")[0] for finding in findings(project=project)] == ["logger.wandb.project"]
    else:
        assert findings(project=project) == []


@pytest.mark.parametrize("tags", [[], ["a", "b"], ["t" * 64], ["t" * 65], [""], ["a", "t" * 65, ""]])
def test_tags_are_refused_as_wandb_does(tags):
    refused = 0
    for tag in tags:
        try:
            wandb.Settings(run_tags=[tag])
        except ValueError:
            refused += 1
    assert len(findings(tags=tags)) == refused


def test_what_the_server_refuses():
    assert findings(tags=["a", "b", "a"]) == ["logger.wandb.tags: found 'a' 2 times, allowed: each tag once"]
    assert findings(name="n" * 128, group="g" * 128) == []
    long = f"found '{'n' * 20}…{'n' * 19}', 129 characters, allowed: 1 to 128"
    assert findings(name="n" * 129, group="n" * 129) == [f"logger.wandb.name: {long}", f"logger.wandb.group: {long}"]
    assert len(findings(entity="a/b")) == 1
    assert findings(mode="disabled", project="a/b") == []


def test_all_of_them_are_said_before_anything_is_imported(capsys):
    assert main(["logger.wandb.project=team/set", f"logger.wandb.tags=[a,a,{'t' * 70}]", "optimizer.lr=-1"]) == 2
    said = capsys.readouterr()
    assert "loading" not in said.out
    for text in (
        "logger.wandb.project: found 'team/set', allowed: no / \\ # ? % :; a team is logger.wandb.entity=team",
        "logger.wandb.tags: found 'a' 2 times",
        "70 characters, allowed: 1 to 64",
        "optimizer.lr: found -1.0",
    ):
        assert text in said.err
