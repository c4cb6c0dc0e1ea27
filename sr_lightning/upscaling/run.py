"""Upscaling of all images of a run, on one or several devices; one failure does not stop the others."""

from __future__ import annotations

import contextvars
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass

from sr_lightning.errors import FailedError, UserError
from sr_lightning.inference.upscaler import Upscaler
from sr_lightning.text import printable, single_line
from sr_lightning.upscaling.history import Work, is_same_work
from sr_lightning.upscaling.image_job import Done, Writing, upscale_file
from sr_lightning.upscaling.plan import Plan
from sr_lightning.upscaling.size import Sizing
from sr_lightning.upscaling.sources import Task
from sr_lightning.upscaling.summary import Outcome


@dataclass(frozen=True)
class Job:
    """What is done to every image."""

    work: Work
    writing: Writing


def upscale_files(
    plan: Plan,
    upscalers: Sequence[Upscaler],
    job: Job,
    *,
    told: Callable[[Done], None],
    failed: Callable[[str], None],
    progress: Callable[[float], None] = lambda _: None,
) -> Outcome:
    """Upscales all images that are not done yet.

    Args:
        plan: The planned images.
        upscalers: One per device; each image is processed by one of them.
        job: The work, and how outputs are written.
        told: Called with the result after each image.
        failed: Called with the reason for each image that failed.
        progress: As in `upscale_file`.
    """
    outcome = Outcome(large_enough=plan.large_enough)

    def fail(task: Task, reason: str) -> None:
        outcome.failed[task.source] = reason
        failed(reason)

    for task, reason in plan.refused.items():
        fail(task, _named(task, reason))
    todo: list[Task] = []
    for task, found in plan.wanted.items():
        try:
            is_done = found is not None and is_same_work(found, job.work.record(task.source))
        except OSError as error:
            fail(task, _reason(task, error))
            continue
        outcome.done_before += is_done
        todo += [] if is_done else [task]
    for task, result in _results(todo, plan.sizing, upscalers, job, progress):
        if isinstance(result, Done):
            outcome.done.append(result)
            told(result)
        else:
            fail(task, _reason(task, result))
    return outcome


def _results(
    tasks: Sequence[Task],
    sizing: Sizing,
    upscalers: Sequence[Upscaler],
    job: Job,
    progress: Callable[[float], None],
) -> Iterator[tuple[Task, Done | Exception]]:
    if len(upscalers) == 1:
        for task in tasks:
            yield task, _result(task, sizing, upscalers[0], job, progress)
        return
    idle: queue.SimpleQueue[Upscaler] = queue.SimpleQueue()
    for upscaler in upscalers:
        idle.put(upscaler)
    stopped = threading.Event()

    def work(task: Task) -> Done | Exception:
        with _taken(idle) as upscaler:
            return _result(task, sizing, upscaler, job, lambda megapixels: _go_on(stopped, progress, megapixels))

    pool = ThreadPoolExecutor(len(upscalers))
    try:
        futures: dict[Future[Done | Exception], Task] = {
            # In a copy of this thread's context, because torch keeps some settings per thread.
            pool.submit(contextvars.copy_context().run, work, task): task
            for task in tasks
        }
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:  # after an interruption: unfinished work is abandoned and its part file removed
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


def _result(
    task: Task, sizing: Sizing, upscaler: Upscaler, job: Job, progress: Callable[[float], None]
) -> Done | Exception:
    try:
        return upscale_file(task, upscaler, sizing, job.work, job.writing, progress=progress)
    except Exception as error:
        return error


def _reason(task: Task, error: Exception) -> str:
    """Returns a single message that names the file; for a bug, the traceback is printed as well."""
    if isinstance(error, UserError | FailedError):
        return _named(task, str(error))
    if isinstance(error, OSError):
        what = "cannot be read" if error.filename == os.fspath(task.source) else f"cannot write {task.output}"
        return _named(task, single_line(f"{what}: {error.strerror or error}"))
    print(printable("".join(traceback.format_exception(error))), file=sys.stderr)
    return _named(task, single_line(f"{type(error).__name__}: {error}"))


def _named(task: Task, reason: str) -> str:
    name = single_line(task.source)
    return reason if reason.startswith(f"{name}:") else f"{name}: {reason}"
