"""No id of the fault matrix is forgotten."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fault_matrix import MATRIX

TESTS = Path(__file__).parent.parent


def test_every_id_of_the_matrix_has_a_case():
    """In the text of the tests, of which a run may collect a part only."""
    texts = [path.read_text() for path in TESTS.rglob("test_*.py") if path != Path(__file__)]
    marked = "".join(text for text in texts if "mark.fault(" in text)
    assert [id_ for id_ in MATRIX if f'"{id_}"' not in marked and f'"{id_}_' not in marked] == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_long_loops(tmp_path):
    """Kills, stops, signals and damage, as the benchmark counts them; a process of its own, because it forks."""
    script = TESTS.parent / "scripts/benchmarks/bench_faults.py"
    if not script.is_file():
        pytest.skip("needs a checkout")
    sections = ["kills", "starts", "stops", "signals", "flips"]
    command = [sys.executable, script, *sections, "--n", "40", "--out", tmp_path / "out.json"]
    subprocess.run(command, check=True, timeout=3600)
    found = json.loads((tmp_path / "out.json").read_text())["figures"]
    assert found["kills"] >= 40
    assert found["unreadable"] == found["left over"] == 0
    assert found["bit-equal"] == found["stopped runs"]
    assert found["found"] == found["damaged"] == 80
