"""Which errors mean that memory ran out."""

import pytest
import torch

from sr_lightning.errors import FailedError, is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("full"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("FIND was unable to find an engine to execute this computation"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=repr,
)
def test_memory_that_ran_out_is_recognised_however_torch_says_it(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("another"), FailedError("out of memory with the smallest tiles")])
def test_other_errors_are_not(error):
    assert not is_out_of_memory(error)
