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
