"""Runs on a GPU that are interrupted there, or go on elsewhere; `SR_TEST_DEVICE=cpu` tries them without one."""

import pytest
import torch

from helpers.equality import bit_identical
from helpers.faulty_runs import AVERAGE, Fault, Killed, assert_same, checked, content, go_on, kill, rows, run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("_small_runs"),
    pytest.mark.filterwarnings("ignore:.*AMP with fp16 is not supported on CPU"),
    # fp16 skips steps until its scale fits, the first one perhaps.
    pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step"),
]
CLIPPED = "trainer.gradient_clip_val=0.5"


@pytest.fixture
def where(device):
    """On the device, with algorithms that give the same bits each time."""
    return [f"trainer.accelerator={'gpu' if device.type == 'cuda' else 'cpu'}", "trainer.deterministic=true"]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_continued_on_the_same_device_is_as_if_never_stopped(where, device, precision):
    """With dropout, an average of the weights and clipped gradients; fp16 has the state of its scaler beside."""
    config = checked(*where, *AVERAGE, CLIPPED, f"trainer.precision={precision}")
    run(config, "straight")
    with pytest.raises(Killed):
        run(config, "a", Fault("on_validation_end", 4, kill))
    go_on(config, "a")
    assert_same("straight", "a")
    scalers = [content(folder).get("MixedPrecision", {}) for folder in ("straight", "a")]
    assert bit_identical(*scalers)
    assert bool(scalers[0].get("scale")) == (precision == "16-mixed" and device.type == "cuda")


def test_workers_give_a_gpu_the_same_run(where):
    run(checked(*where), "none")
    run(checked(*where, "data.num_workers=2"), "two")
    for key in ("state_dict", "optimizer_states", "SRDataModule", "exact_resume"):
        assert bit_identical(content("none")[key], content("two")[key]), key
    assert rows("none") == rows("two")


@pytest.mark.parametrize("to_gpu", [True, False])
def test_a_run_moves_between_cpu_and_gpu(where, to_gpu):
    """Its weights come within rounding to what they would have been; dropout's numbers differ between devices."""
    settings = ["model.p=0", "optimizer=sgd"]
    there, here = checked(where[0], *settings), checked("trainer.accelerator=cpu", *settings)
    first, then = (here, there) if to_gpu else (there, here)
    run(here, "straight")
    with pytest.raises(Killed):
        run(first, "a", Fault("on_validation_end", 4, kill))
    go_on(then, "a")
    moved, straight = content("a")["state_dict"], content("straight")["state_dict"]
    for key, weight in straight.items():
        torch.testing.assert_close(moved[key].cpu(), weight, atol=1e-4, rtol=0)
    assert [row["step"] for row in rows("a")] == [row["step"] for row in rows("straight")]
