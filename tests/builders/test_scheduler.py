"""Torch's own schedules, the project's and the user's, each with the number of steps where it takes one."""

import pytest
import torch
from torch.optim import lr_scheduler

from sr_lightning.builders.training import build_scheduler
from sr_lightning.optim import one_cycle


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)


def learning_rates(make, steps=8):
    made = optimizer()
    schedule = make(made)
    found = []
    for _ in range(steps):
        found.append(made.param_groups[0]["lr"])
        made.step()
        schedule.step()
    return found


TORCH = "torch.optim.lr_scheduler"


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"_target_": f"{TORCH}.StepLR", "step_size": 3}, lambda o: lr_scheduler.StepLR(o, 3)),
        ({"_target_": f"{TORCH}.MultiStepLR", "milestones": [2, 4]}, lambda o: lr_scheduler.MultiStepLR(o, [2, 4])),
        ({"_target_": f"{TORCH}.CosineAnnealingLR"}, lambda o: lr_scheduler.CosineAnnealingLR(o, 8)),
        ({"_target_": f"{TORCH}.CosineAnnealingLR", "T_max": 4}, lambda o: lr_scheduler.CosineAnnealingLR(o, 4)),
        ({"_target_": f"{TORCH}.OneCycleLR", "max_lr": 1.0}, lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=8)),
        ({"_target_": f"{TORCH}.PolynomialLR"}, lambda o: lr_scheduler.PolynomialLR(o)),  # 5 iterations, as in torch
        ({"_target_": "sr_lightning.optim.one_cycle", "rise": 0.5}, lambda o: one_cycle(o, 8, rise=0.5)),
        ({"_target_": "own_schedule.linear"}, lambda o: lr_scheduler.LambdaLR(o, lambda step: 1 - step / 8)),
    ],
)
def test_the_learning_rates_of_the_class_itself(section, expected, tmp_path, monkeypatch):
    (tmp_path / "own_schedule.py").write_text(
        "from torch.optim.lr_scheduler import LambdaLR\n"
        "def linear(optimizer, length):\n    return LambdaLR(optimizer, lambda step: 1 - step / length)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    make = build_scheduler(section | {"_partial_": True})
    assert learning_rates(lambda o: make(o, 8)) == learning_rates(expected)
