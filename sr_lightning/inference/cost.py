"""Cost of a network for an SR image of 1280x720: parameters, multiply-adds, latency, peak memory."""

from __future__ import annotations

import copy
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sr_lightning.inference.forward import apply_network
from sr_lightning.models.base import network_traits
from sr_lightning.models.precision import float32_kind
from sr_lightning.text import counted

OUTPUT_SIZE = (720, 1280)  # height and width for which papers report cost


@dataclass(frozen=True)
class Cost:
    """Cost of one image for the network alone, without colour conversion and file I/O."""

    params: int
    """As built: layers that a network merges for inference are counted as in training."""
    multiply_adds: int | None
    """Multiply-adds of convolutions, matrix products and attention; None if there are none."""
    latency_seconds: float | None
    """Median over the repeats, after one warm-up run."""
    peak_memory_bytes: int | None
    """Peak of torch's allocator, including the weights and the input; see `measure_cost`."""
    device: str
    precision: str
    output_size: tuple[int, int]
    """(H, W) of the SR image: multiples of the scale, no larger than requested."""

    def repeated(self, n: int) -> Cost:
        """Returns the cost of n sequential passes: n times the work and the time, in the same memory."""
        return replace(
            self,
            multiply_adds=None if self.multiply_adds is None else n * self.multiply_adds,
            latency_seconds=None if self.latency_seconds is None else n * self.latency_seconds,
        )


def multiply_adds(net: nn.Module, scale: int, *, output_size: tuple[int, int] = OUTPUT_SIZE) -> int | None:
    """Counts the multiply-adds of one image with torch's FLOP counter (two FLOPs are one multiply-add).

    Nothing is computed: the network runs on torch's meta device, and is executed only if it cannot run there. As in
    papers, biases, activations, additions and interpolation are not counted. The matrix products of attention are,
    although some papers omit them.

    Args:
        net: The network.
        scale: The scale factor.
        output_size: (H, W) of the SR image; the LR image is that divided by the scale, rounded down.

    Returns:
        The count for one image; None if the counter finds nothing to count, as for interpolation alone.
    """
    try:
        return _counted(copy.deepcopy(net).eval().to("meta"), scale, output_size, torch.device("meta"))
    except (NotImplementedError, RuntimeError):  # an operation without a meta kernel, or one that depends on values
        own = copy.deepcopy(net).eval().float().cpu()
        return _counted(own, scale, output_size, torch.device("cpu"))


def multiply_adds_on_paper(net: nn.Module, scale: int) -> int | None:
    """Like `multiply_adds`, but never executes the network: None if it does not run on torch's meta device."""
    try:
        return _counted(copy.deepcopy(net).eval().to("meta"), scale, OUTPUT_SIZE, torch.device("meta"))
    except Exception:  # whatever a network raises: a failed count must not end a training
        return None


def measure_cost(
    net: nn.Module,
    scale: int,
    *,
    device: torch.device | str = "cpu",
    repeats: int = 5,
    output_size: tuple[int, int] = OUTPUT_SIZE,
    latency: bool = True,
) -> Cost:
    """Counts and measures a copy of a network, in float32 and evaluation mode.

    Peak memory comes from a single run. On CUDA it is `torch.cuda.max_memory_allocated` minus what was allocated
    before, so that it does not depend on what else the process holds there. On a CPU it is the same quantity for
    torch's CPU allocator, as recorded by its profiler, plus the weights and the input. Unlike the resident set size, it
    does not depend on what else the process did or on memory that the C library keeps for reuse; it agrees to about 10
    % with the growth of the resident set size in a fresh process. On other devices it is None.

    Args:
        net: The network; not modified.
        scale: The scale factor.
        device: Device to run on.
        repeats: Number of timed runs, at least one.
        output_size: (H, W) of the SR image.
        latency: If False, the network is not run, and time and memory are None.
    """
    device = torch.device(device)
    height, width = output_size[0] // scale, output_size[1] // scale
    seconds, peak = (
        _latency_and_memory(net, scale, (height, width), device=device, repeats=repeats) if latency else (None, None)
    )
    return Cost(
        params=sum(p.numel() for p in net.parameters()),
        multiply_adds=multiply_adds(net, scale, output_size=output_size),
        latency_seconds=seconds,
        peak_memory_bytes=peak,
        device=_name(device),
        precision=float32_kind(device),
        output_size=(height * scale, width * scale),
    )


def _counted(net: nn.Module, scale: int, output_size: tuple[int, int], device: torch.device) -> int | None:
    x = _input(net, (output_size[0] // scale, output_size[1] // scale), device)
    with device, torch.no_grad(), FlopCounterMode(display=False) as counter:
        apply_network(net, x, scale)
    return int(counter.get_total_flops()) // 2 or None


def _latency_and_memory(
    net: nn.Module, scale: int, size: tuple[int, int], *, device: torch.device, repeats: int
) -> tuple[float, int | None]:
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    own = copy.deepcopy(net).eval().to(device, torch.float32)
    x = _input(own, size, device)

    def run() -> None:
        apply_network(own, x, scale)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        peak: int | None = None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            run()
            peak = torch.cuda.max_memory_allocated(device) - before
        elif device.type == "cpu":
            held = sum(t.nbytes for t in (*own.parameters(), *own.buffers(), x))
            peak = _cpu_peak(run) + held
        else:
            run()
        times = [_duration(run) for _ in range(repeats)]
    return statistics.median(times), peak


def _cpu_peak(run: Callable[[], None]) -> int:
    """Peak number of bytes that torch's CPU allocator holds while `run` executes, above what it held before."""
    # Read when the profiler is first used; it would otherwise warn on the terminal that there is no GPU.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    held = most = 0
    for event in sorted((e for e in events if e["name"] == "[memory]"), key=lambda e: e["ts"]):
        held += event["args"]["Bytes"]  # negative when memory is freed
        most = max(most, held)
    return most


def _duration(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _input(net: nn.Module, size: tuple[int, int], device: torch.device) -> Tensor:
    return torch.rand(1, network_traits(net).channels, *size, device=device)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{counted(torch.get_num_threads(), f'{device.type.upper()} thread')} ({platform.machine()})"
