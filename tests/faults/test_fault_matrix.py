"""No id of the fault matrix is forgotten."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fault_matrix import MATRIX, NOT_BUILT, Scoreboard

TESTS = Path(__file__).parent.parent


def test_every_id_of_the_matrix_has_a_case(request):
    board = Scoreboard()
    marked = {item.path for item in request.session.items if item.get_closest_marker("fault")}
    files = {path for path in TESTS.rglob("test_*.py") if "mark.fault(" in path.read_text()} - {Path(__file__)}
    if not files <= marked:
        pytest.skip("needs the whole suite")
    for item in request.session.items:
        board.pytest_itemcollected(item)
    assert board.missing == []
    assert board.ids <= set(MATRIX)
    assert not board.ids & set(NOT_BUILT)  # what is built by now counts


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
