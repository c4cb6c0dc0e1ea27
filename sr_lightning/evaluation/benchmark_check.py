"""Check that a test set is the benchmark it appears to be, by its images and its bicubic figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sr_lightning.data.benchmarks.recognition import comparability_findings, recognise
from sr_lightning.data.benchmarks.reference import load_benchmarks, reference_bicubic
from sr_lightning.data.images import Images
from sr_lightning.evaluation.scores import SetScore

PROTOCOLS_KERNEL = "matlab_bicubic"


@dataclass(frozen=True)
class BenchmarkCheck:
    """Result of checking one set."""

    set: str
    benchmark: str | None = None
    """The benchmark that its images and bicubic figures match, so that published rows can be shown beside ours."""
    findings: list[str] = field(default_factory=list)
    """Reasons why it is not the benchmark that it appears to be."""

    @property
    def title(self) -> str:
        """Name of the set in tables."""
        return f"{self.set} (altered)" if self.findings else self.set


def check_benchmark(images: Images, rows: Iterable[SetScore], *, degradation: str) -> BenchmarkCheck:
    """Recognises a benchmark by its content and compares its bicubic figures with the stored reference.

    Args:
        images: The test set.
        rows: Scores of bicubic at every evaluated scale.
        degradation: The degradation that made the LR images.
    """
    recognition = recognise(images.hr.paths)
    if recognition is None or recognition.benchmark != images.name:
        # A benchmark may have any name, but a benchmark's name may not belong to anything else.
        if _is_benchmarks(images.name):
            found = "no benchmark" if recognition is None else recognition.benchmark
            known = load_benchmarks()[images.name]
            claim = f"the images are not those of {images.name}: by their content they are {found}"
            if not known.images:  # known only by its file checksums, so that re-encoded copies are not recognised
                claim = f"the files are not those of {images.name} as `download {images.name.lower()}` fetches them"
            return BenchmarkCheck(images.name, findings=[claim])
        if recognition is None:
            return BenchmarkCheck(images.name)
    findings = [
        finding for row in rows for finding in comparability_findings(recognition, row.scale, row.psnr_y, row.ssim_y)
    ]
    if findings or (degradation != PROTOCOLS_KERNEL and not images.lr):
        findings += _protocol(images, degradation)
    return BenchmarkCheck(images.name, None if findings else recognition.benchmark, list(dict.fromkeys(findings)))


def _is_benchmarks(name: str) -> bool:
    return any(reference_bicubic(name, scale) is not None for scale in (2, 3, 4))


def _protocol(images: Images, degradation: str) -> list[str]:
    if images.lr:
        return [f"its LR images are ready-made (data.test.{images.name}.lr); the protocol makes them from HR"]
    if degradation != PROTOCOLS_KERNEL:
        return [f"its LR images are made by {degradation}; the protocol's are {PROTOCOLS_KERNEL}'s"]
    return []
