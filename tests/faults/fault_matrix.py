"""The fault matrix: what may happen to a run, and which tests show what becomes of it.

A test of the matrix says so: `@pytest.mark.fault("D1", "refused, the file is named")`, an id and what is expected;
each of its variants is a case, and a test may be one of several ids. `scripts/benchmarks/bench_faults.py matrix`
runs them all and prints the scoreboard. An id without a case is a case that is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MATRIX = {
    "D1": "a JPEG or WebP cut short",
    "D2": "a PNG, TIFF or BMP cut short; a flipped byte",
    "D3": "an empty file, a text, a web page, a header under an image's name",
    "D4": "endings that lie, or are in capitals",
    "D5": "images smaller than the crop, or just as large",
    "D6": "sides that are no multiple of the scale",
    "D7": "grey, one bit, palette, alpha in every form",
    "D8": "CMYK, YCbCr, LAB",
    "D9": "grey of 16 bits",
    "D10": "floating-point and 32-bit values",
    "D11": "colour of 16 bits",
    "D12": "EXIF orientation",
    "D13": "an ICC profile",
    "D14": "several frames",
    "D15": "decompression bombs",
    "D16": "links to parents, to nowhere, to the same file",
    "D17": "names with spaces, line ends, markup, escapes, shell words",
    "D18": "files and folders that may not be read",
    "D19": "LR that is missing, left over, of another size, of another image",
    "D20": "no images; hidden and foreign files",
    "D21": "training images that are tested on",
    "D22": "another order on the disk",
    "D23": "files replaced or deleted meanwhile",
    "D24": "LR that is shifted against its HR",
    "T1": "SIGKILL at any moment",
    "T2": "stops after every step, and several in one run",
    "T3": "SIGKILL within a save, $TMPDIR elsewhere",
    "T4": "SIGTERM, SIGINT, SIGINT twice, SIGUSR1",
    "T5": "a full disk",
    "T6": "a folder that cannot be written into, goes away, or is a file",
    "T7": "numbers that are none, in loss, gradient, validation",
    "T8": "no memory, on the machine or the GPU",
    "T9": "a loader's process that dies or hangs",
    "T10": "checkpoints cut, emptied, flipped, replaced",
    "T11": "checkpoints of another network, version or kind",
    "T12": "two runs in one folder",
    "T13": "changed settings when a run continues",
    "T14": "a clock set back",
    "T15": "SIGKILL between a save and its validation",
    "T16": "stops within accumulated batches",
    "T17": "the same seed again, with other workers, in another folder",
    "T18": "clipping, averaging and a perceptual loss, continued offline",
    "T19": "what is logged between two checkpoints",
    "T20": "files of a run or a job that are torn, or not written yet",
    "T21": "SIGKILL of the command while its processes start",
    "T22": "folders whose names are put together from other keys",
    "T23": "validation images replaced when a run continues",
    "T24": "the records of a study that are torn or gone",
    "C1": "mistyped keys",
    "C2": "values of the wrong type",
    "C3": "values out of range",
    "C4": "loss weights that are negative, or all 0",
    "C5": "scale 5",
    "C6": "values that must be given",
    "C7": "unknown experiments, networks, losses",
    "C8": "files that are no YAML, or have a key twice",
    "C9": "settings that contradict each other",
    "C10": "a saved config used again",
    "C11": "settings of the Trainer that cannot work",
    "C12": "a network of the user's own that fails",
    "C13": "names that are longer than a file system allows",
    "S1": "code in files of weights",
    "S2": "code and look-ups in configs of others",
    "S3": "archives that lead out of their folder, or are bombs",
    "S4": "downloads that are cut, changed or redirected",
    "S5": "keys and tokens",
    "S6": "names and values in tables and on the terminal",
    "S7": "YAML that makes objects",
    "S8": "names of written files made of names of read ones",
    "S9": "names in indexes, archives, checkpoints and runs of strangers",
    "S10": "packed sets that lie about their shards",
    "S11": "cleaning up in folders that others use",
    "S12": "secrets that are looked up, or stand inside a longer text",
    "S13": "names in results that are formulas, markup, TeX or several lines",
    "S14": "checkpoints that claim anything about their training",
    "S15": "weights files and saved configs that unfold, nest or repeat without end",
    "S16": "runs of strangers: figures, scales and settings without measure, names that no file can have",
    "S17": "exported files that lie about themselves",
    "S18": "files of this machine that the demo's page might serve",
    "I1": "tiles against the whole image",
    "I2": "very large images",
    "I3": "mixed sizes and modes in one folder",
    "I4": "output onto input",
    "I5": "SIGKILL while an image is written",
    "I6": "alpha in, alpha out",
    "I7": "16 bits in, 16 bits out",
    "I8": "one bad image of ten",
    "I9": "two files of one name",
    "I10": "1x1, 1x5000, one pixel more than a tile",
    "I11": "EXIF and ICC of what is written",
    "I12": "predictions of other programs: missing, ambiguous, of another size, scale or kind",
    "P1": "a killed process of several",
    "P2": "processes that see other files",
    "P3": "an evaluation by one, two, three processes",
    "P4": "fewer images than processes",
    "P5": "another number of processes",
    "P6": "means over images of several processes and batches",
}


@dataclass
class Case:
    """One fault, and what became of it."""

    id: str
    fault: str
    expected: str
    seen: str = "as expected"
    ok: bool | None = True
    """None: it was not run."""
    seconds: float = 0.0


@dataclass
class Scoreboard:
    """A pytest plugin that collects the cases of the tests that are run."""

    marks: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    """Test -> id, fault and what is expected, for each id that it is a case of."""
    cases: dict[tuple[str, str], Case] = field(default_factory=dict)

    def pytest_itemcollected(self, item: Any) -> None:
        """Notes whose case a test is."""
        name = item.originalname.removeprefix("test_").replace("_", " ")
        variant = f" [{item.callspec.id}]" if hasattr(item, "callspec") else ""
        found = [(*mark.args, name + variant) for mark in item.iter_markers("fault")]
        if found:
            self.marks[item.nodeid] = [(id_, name, expected) for id_, expected, name in found]

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A case fails where its setup, the test or its teardown does."""
        for id_, name, expected in self.marks.get(report.nodeid, ()):
            case = self.cases.setdefault((id_, report.nodeid), Case(id_, name, expected))
            case.seconds += report.duration
            if report.failed:
                crash = getattr(report.longrepr, "reprcrash", None)
                case.ok, case.seen = False, (crash.message if crash else str(report.longrepr)).strip()[:300]
            elif report.skipped:
                case.ok, case.seen = None, f"not run: {report.longrepr[2]}"

    @property
    def ids(self) -> set[str]:
        """Those that some test is a case of, whether it was run or not."""
        return {id_ for marks in self.marks.values() for id_, _, _ in marks}

    @property
    def missing(self) -> list[str]:
        """Ids of the matrix that no test is a case of."""
        return [id_ for id_ in MATRIX if id_ not in self.ids]


def order(id_: str) -> tuple[int, int]:
    """D1, D2, … D23, T1, …"""
    return "DTCSIP".index(id_[0]), int(id_[1:])
