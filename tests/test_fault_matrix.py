"""No id of the fault matrix is forgotten."""

from pathlib import Path

import pytest
from fault_matrix import MATRIX, NOT_BUILT, Scoreboard

TESTS = Path(__file__).parent


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
