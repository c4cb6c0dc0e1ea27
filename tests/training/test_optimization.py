"""How the weights are stepped and kept: fused optimizers, clipping, averages, compilation."""

from pathlib import Path

import pytest
import torch
from torch import nn

from helpers.equality import bit_identical
from helpers.training_runs import only_run, weights
from sr_lightning.builders.training import build_optimizer
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


@pytest.mark.parametrize(("given", "fused"), [({}, True), ({"fused": False}, False), ({"foreach": True}, None)])
def test_an_optimizer_is_fused_where_it_can_be(given, fused):
    (weight,) = nn.Linear(1, 1, bias=False).parameters()
    made = build_optimizer({"_target_": "torch.optim.Adam", "lr": 1e-3, **given}, "optimizer")([weight])
    assert made.param_groups[0]["fused"] is fused


def test_gradients_are_clipped_with_a_fused_optimizer_under_mixed_precision(tiny):
    """Lightning refuses to where an optimizer says that it unscales gradients itself."""
    settings = ["trainer.precision=bf16-mixed", "trainer.max_steps=1", "optimizer=sgd", "optimizer.momentum=0"]
    settings += ["optimizer.lr=1", "scheduler=constant", "trainer.val_check_interval=1"]
    for name, clip in (("before", 1e-9), ("after", 1e-3)):
        assert main([*tiny, *settings, f"trainer.gradient_clip_val={clip}", f"paths.runs={name}"]) == 0
    before, after = (weights(next(Path(name, "train").iterdir())) for name in ("before", "after"))
    moved = torch.stack([(after[key] - before[key]).square().sum() for key in before]).sum().sqrt()
    assert moved.item() == pytest.approx(1e-3, rel=1e-2)


def test_the_average_of_the_weights_is_kept_beside_the_raw_ones(tiny):
    settings = [*tiny, "callbacks=ema", "callbacks.ema.decay=0.5", "scheduler=constant"]
    from sr_lightning.callbacks import Checkpoints

    raw, real = [], Checkpoints.on_train_batch_end

    def noted(self, trainer, module, *arguments):
        raw.append({f"net.{key}": value.clone() for key, value in module.net.state_dict().items()})
        real(self, trainer, module, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "on_train_batch_end", noted)
        assert main(settings) == 0
    checkpoint = torch.load(only_run() / "checkpoints/last.ckpt", weights_only=True)
    average = raw[0]
    for step in raw[1:]:
        average = {key: 0.5 * value + 0.5 * step[key] for key, value in average.items()}
    for key, value in average.items():
        torch.testing.assert_close(checkpoint["state_dict"][key], value)
        torch.testing.assert_close(checkpoint["current_model_state"][key], raw[-1][key])
    assert not bit_identical(checkpoint["state_dict"], checkpoint["current_model_state"])


def test_the_network_is_compiled_in_place_so_that_its_weights_keep_their_names(tiny, monkeypatch):
    """What `torch.compile` returns has `_orig_mod.` before each name. That a compiled step is the same one is slow."""
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    assert main([*tiny, "compile=true", "trainer.max_steps=1", "trainer.val_check_interval=1"]) == 0
    assert compiled == ["EDSR"]
    assert not any("_orig_mod" in key for key in weights(only_run()))


@pytest.mark.slow
def test_compiled_training_makes_the_same_weights(tiny, monkeypatch):
    """With torch's own backend that runs the traced graph as it is, so that no compiler is needed."""
    real = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: real(self, backend="aot_eager"))
    assert main(tiny) == 0
    assert main([*tiny, "compile=true", "paths.runs=compiled"]) == 0
    compiled = next(Path("compiled/train").iterdir())
    for key, value in weights(only_run()).items():
        torch.testing.assert_close(weights(compiled)[key], value, atol=1e-4, rtol=1e-3)
