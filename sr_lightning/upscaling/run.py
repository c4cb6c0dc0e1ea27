"""All images of a run, on one device or shared by several; a bad one does not stop the others."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass

from sr_lightning.errors import FailedError, UserError
from sr_lightning.inference.upscaler import Upscaler
from sr_lightning.upscaling.history import Work
from sr_lightning.upscaling.image_job import Done, Writing, prepare, upscale_file
from sr_lightning.upscaling.size import Sizing
from sr_lightning.upscaling.sources import Task
from sr_lightning.upscaling.summary import Outcome


@dataclass(frozen=True)
class Job:
    """What is done to every image."""

    sizing: Sizing
    work: Work
    writing: Writing


def upscale_files(
    tasks: Sequence[Task],
    upscalers: Sequence[Upscaler],
    job: Job,
    *,
    told: Callable[[Done], None],
    failed: Callable[[Task, str], None],
    progress: Callable[[float], None] = lambda _: None,
) -> Outcome:
    """Enlarges all images that are not done yet.

    Args:
        tasks: Inputs and outputs.
        upscalers: One for each device; an image is worked on by one of them.
        job: What is done.
        told: Called after each image.
        failed: Called after each image that failed, with the reason.
        progress: As in `upscale_file`.

    Raises:
        UserError: None of the images can be worked on, as their headers or outputs show.
    """
    outcome = Outcome()

    def fail(task: Task, error: Exception) -> None:
        outcome.failed[task.source] = _reason(task, error)
        failed(task, outcome.failed[task.source])

    wanted: list[Task] = []
    refused: list[tuple[Task, Exception]] = []
    for task in tasks:
        try:
            status = prepare(task, job.sizing, job.work, job.writing)
        except (UserError, OSError) as error:
            refused.append((task, error))
            continue
        outcome.done_before += status == "done before"
        outcome.large_enough += status == "large enough"
        wanted += [task] if status == "to do" else []
    if refused and len(refused) == len(tasks):
        raise UserError("\n".join(_reason(task, refusal) for task, refusal in refused))
    for task, refusal in refused:
        fail(task, refusal)
    for task, result in _results(wanted, upscalers, job, progress):
        if isinstance(result, Done):
            outcome.done.append(result)
            told(result)
        else:
            fail(task, result)
    return outcome


def _results(
    tasks: Sequence[Task], upscalers: Sequence[Upscaler], job: Job, progress: Callable[[float], None]
) -> Iterator[tuple[Task, Done | Exception]]:
    if len(upscalers) == 1:
        for task in tasks:
            yield task, _result(task, upscalers[0], job, progress)
        return
    idle: queue.SimpleQueue[Upscaler] = queue.SimpleQueue()
    for upscaler in upscalers:
        idle.put(upscaler)
    stopped = threading.Event()

    def work(task: Task) -> Done | Exception:
        with _taken(idle) as upscaler:
            return _result(task, upscaler, job, lambda megapixels: _go_on(stopped, progress, megapixels))

    pool = ThreadPoolExecutor(len(upscalers))
    try:
        futures: dict[Future[Done | Exception], Task] = {pool.submit(work, task): task for task in tasks}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:  # an interruption: what is half done is given up, and its part file removed
        stopped.set()
        pool.shutdown(cancel_futures=True)


class _StoppedError(Exception):
    """The run was interrupted in another thread."""


def _go_on(stopped: threading.Event, progress: Callable[[float], None], megapixels: float) -> None:
    if stopped.is_set():
        raise _StoppedError
    progress(megapixels)


@contextmanager
def _taken(idle: queue.SimpleQueue[Upscaler]) -> Iterator[Upscaler]:
    upscaler = idle.get()
    try:
        yield upscaler
    finally:
        idle.put(upscaler)


def _result(task: Task, upscaler: Upscaler, job: Job, progress: Callable[[float], None]) -> Done | Exception:
    try:
        return upscale_file(task, upscaler, job.sizing, job.work, job.writing, progress=progress)
    except Exception as error:
        return error


def _reason(task: Task, error: Exception) -> str:
    """In one message that names the file; a bug shows its traceback besides."""
    if isinstance(error, UserError | FailedError):
        text = str(error)
        return text if text.startswith(str(task.source)) else f"{task.source}: {text}"
    if isinstance(error, OSError):
        return f"{task.source}: {error.filename or task.output}: {error.strerror or error}"
    traceback.print_exception(error)
    return f"{task.source}: {type(error).__name__}: {error}"
