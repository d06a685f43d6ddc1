"""The state of a process, made of those of its consumers."""

from __future__ import annotations

import pytest

from leasekeeper.admin.process import most_urgent

REFUSED = "no receive succeeds: HTTP 503"


@pytest.mark.parametrize(
    ("states", "found"),
    [
        ({}, ("STARTING", "no consumer was declared yet")),
        ({"a": ("RUNNING", REFUSED)}, ("RUNNING", REFUSED)),
        ({"a": ("RUNNING", ""), "b": ("RUNNING", REFUSED)}, ("RUNNING", f"b: {REFUSED}")),
        (dict.fromkeys("abc", ("RUNNING", REFUSED)), ("RUNNING", f"a and 2 more: {REFUSED}")),
        ({"a": ("RUNNING", REFUSED), "b": ("UNHEALTHY", "denied")}, ("UNHEALTHY", "b: denied")),
        ({"a": ("RUNNING", ""), "b": ("STOPPED", "a bug")}, ("UNHEALTHY", "b has stopped: a bug")),
    ],
)
def test_the_most_urgent_state_has_a_reason_and_where_it_holds(
    states: dict[str, tuple[str, str]], found: tuple[str, str]
) -> None:
    assert most_urgent(states) == found
