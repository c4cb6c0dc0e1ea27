"""Schedules against torch's own schedulers and closed forms."""

import warnings

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, OneCycleLR

from sr_lightning.errors import UserError
from sr_lightning.optim import schedulers as schedule


def rates(make, steps, lr=0.5):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("steps", [10, 97, 300])
def test_one_cycle_equals_torchs(steps):
    ours = rates(lambda o: schedule.one_cycle(o, steps), steps)
    torchs = rates(lambda o: OneCycleLR(o, max_lr=0.5, total_steps=steps, cycle_momentum=False), steps)
    assert ours == pytest.approx(torchs, rel=1e-9)


def test_cosine_equals_torchs():
    ours = rates(lambda o: schedule.cosine(o, 100, final=0.1), 100)
    torchs = rates(lambda o: CosineAnnealingLR(o, T_max=100, eta_min=0.05), 100)
    assert ours == pytest.approx(torchs, rel=1e-6)


def test_multistep_equals_torchs():
    ours = rates(lambda o: schedule.multistep(o, 100, milestones=[0.5, 0.8], gamma=0.3), 100)
    torchs = rates(lambda o: MultiStepLR(o, [50, 80], gamma=0.3), 100)
    assert ours == pytest.approx(torchs, rel=1e-12)


@pytest.mark.parametrize("make", [schedule.constant, schedule.cosine, schedule.multistep])
def test_warm_up_rises_in_equal_parts_to_the_full_rate(make):
    found = rates(lambda o: make(o, 100, warmup_steps=4), 6)
    assert found[:4] == pytest.approx([0.125, 0.25, 0.375, 0.5])
    assert found[4] == pytest.approx(0.5)


@pytest.mark.parametrize("make", [schedule.constant, schedule.cosine, schedule.multistep, schedule.one_cycle])
def test_one_step_and_steps_beyond_the_end(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(0 <= rate <= 0.5 for rate in rates(lambda o: make(o, 1), 4))


def test_nothing_of_a_schedule_is_code_in_a_checkpoint():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)
    state = schedule.cosine(optimizer, 10).state_dict()
    assert state.pop("lr_lambdas") == [{}]
    assert all(isinstance(value, int | float | bool | list) for value in state.values())


def test_ranges():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)
    with pytest.raises(UserError, match=r"scheduler.warmup_steps: found 10, allowed: 0 to .*\(9\)"):
        schedule.cosine(optimizer, 10, warmup_steps=10)
    with pytest.raises(UserError, match=r"scheduler\.rise"):
        schedule.one_cycle(optimizer, 10, rise=1.0)
    with pytest.raises(UserError, match=r"scheduler\.milestones"):
        schedule.multistep(optimizer, 10, milestones=[50])
