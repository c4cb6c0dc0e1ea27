"""Is a set the benchmark that it looks like, and does its bicubic row say so?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sr_lightning.data.benchmarks.recognition import recognise, reference_bicubic, self_check
from sr_lightning.data.benchmarks.reference import known_benchmarks
from sr_lightning.data.datasets import Pictures
from sr_lightning.evaluation.results import SetScore

PROTOCOLS_KERNEL = "matlab_bicubic"


@dataclass(frozen=True)
class Checked:
    """What became of one set's check."""

    set: str
    benchmark: str | None = None
    """The benchmark that its pictures and its bicubic rows are, so that published rows may stand beside ours."""
    findings: list[str] = field(default_factory=list)
    """Why it is not the benchmark that it looks like."""

    @property
    def title(self) -> str:
        """Its name in tables."""
        return f"{self.set} (altered)" if self.findings else self.set


def check_set(pictures: Pictures, rows: Iterable[SetScore], *, degradation: str) -> Checked:
    """Recognises a benchmark by its content and compares its bicubic rows with the stored reference.

    Args:
        pictures: The set.
        rows: Bicubic's, at every scale that is evaluated.
        degradation: What made the LR pictures.
    """
    recognition = recognise(pictures.hr.paths)
    if recognition is None or recognition.benchmark != pictures.name:
        # Under a name of its own a benchmark is welcome, under a benchmark's name nothing else is.
        if _is_benchmarks(pictures.name):
            found = "no benchmark" if recognition is None else recognition.benchmark
            known = known_benchmarks()[pictures.name]
            claim = f"the pictures are not those of {pictures.name}: by their content they are {found}"
            if not known.pictures:  # it is known by its files only, so that a copy saved anew is not recognised
                claim = f"the files are not those of {pictures.name} as `download {pictures.name.lower()}` fetches them"
            return Checked(pictures.name, findings=[claim])
        if recognition is None:
            return Checked(pictures.name)
    findings = [finding for row in rows for finding in self_check(recognition, row.scale, row.psnr_y, row.ssim_y)]
    if findings or (degradation != PROTOCOLS_KERNEL and not pictures.lr):
        findings += _protocol(pictures, degradation)
    return Checked(pictures.name, None if findings else recognition.benchmark, list(dict.fromkeys(findings)))


def _is_benchmarks(name: str) -> bool:
    return any(reference_bicubic(name, scale) is not None for scale in (2, 3, 4))


def _protocol(pictures: Pictures, degradation: str) -> list[str]:
    if pictures.lr:
        return [f"its LR pictures are ready-made (data.test.{pictures.name}.lr); the protocol makes them from HR"]
    if degradation != PROTOCOLS_KERNEL:
        return [f"its LR pictures are made by {degradation}; the protocol's are {PROTOCOLS_KERNEL}'s"]
    return []
