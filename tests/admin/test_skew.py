"""Times of a machine whose clock is wrong, as another machine shows them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from leasekeeper.admin.skew import move_times

PROCESS: dict[str, Any] = {
    "started": 900.0,
    "since": 950.0,
    "consumers": {
        "orders": {
            "backlog": {"visible": 7, "asked": 990.0},
            "detail": {
                "in_hand": {
                    "m-1": ["running", 980.0, 981.5, 1010.0, 1, None],
                    "m-2": ["waiting", 999.0, None, 1029.0, 1, None],
                },
                "failures": [{"count": 2, "first": 960.0, "last": 970.0}],
                "decisions": [{"at": 940.0, "to": 3}],
                "leases": [{"at": 995.0, "count": 4}],
            },
        },
        "emails": {"backlog": None},
    },
}


def test_all_times_are_moved_by_whole_seconds() -> None:
    process = copy.deepcopy(PROCESS)

    move_times(process, 60.3)

    assert (process["started"], process["since"]) == (960, 1010)
    orders = process["consumers"]["orders"]
    assert orders["backlog"] == {"visible": 7, "asked": 1050}
    detail = orders["detail"]
    assert detail["in_hand"]["m-1"] == ["running", 1040, 1041.5, 1070, 1, None]
    assert detail["in_hand"]["m-2"] == ["waiting", 1059, None, 1089, 1, None]
    assert detail["failures"] == [{"count": 2, "first": 1020, "last": 1030}]
    assert (detail["decisions"][0]["at"], detail["leases"][0]["at"]) == (1000, 1055)


@pytest.mark.parametrize("by", [0.0, 0.9, -0.9])
def test_the_latency_of_an_answer_moves_nothing(by: float) -> None:
    process = copy.deepcopy(PROCESS)

    move_times(process, by)

    assert process == PROCESS
