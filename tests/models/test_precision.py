"""TF32 is off where figures are measured."""

import torch

from sr_lightning.models.precision import exact_float32, float32_kind


def test_tf32_is_off_where_exactness_is_asked_for_and_on_again_after(monkeypatch):
    """torch's older flag cannot be read then: an evaluation on a GPU ended after its last prediction."""
    monkeypatch.setattr(torch.cuda, "is_tf32_supported", lambda: True)
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert float32_kind(gpu) == "float32 (TF32 convolutions)"
    with exact_float32(gpu):
        assert float32_kind(gpu) == "float32"
        assert torch.backends.cuda.matmul.allow_tf32 is False
    assert float32_kind(gpu) == "float32 (TF32 convolutions)"
    with exact_float32(cpu):
        assert float32_kind(gpu) == "float32 (TF32 convolutions)"


def test_threads_share_it_until_the_last_one_leaves(monkeypatch):
    """As those of several GPUs do: the first one that left switched TF32 on for the others, or off for good."""
    monkeypatch.setattr(torch.cuda, "is_tf32_supported", lambda: True)
    gpu = torch.device("cuda")
    one, other = exact_float32(gpu), exact_float32(gpu)
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert float32_kind(gpu) == "float32"
    other.__exit__(None, None, None)
    assert float32_kind(gpu) == "float32 (TF32 convolutions)"
