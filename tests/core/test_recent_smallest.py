"""The smallest of recent values: of this minute and the one before, and forgotten after that."""

from __future__ import annotations

from leasekeeper.core.recent_smallest import RecentSmallest


def test_the_smallest_of_the_last_one_to_two_minutes() -> None:
    recent = RecentSmallest()
    assert recent.read(0.0) is None
    recent.add(5.0, 1_000.0)
    recent.add(3.0, 1_010.0)
    recent.add(4.0, 1_019.0)
    assert recent.read(1_019.0) == 3.0
    recent.add(8.0, 1_021.0)
    assert recent.read(1_022.0) == 3.0, "of the minute before"
    assert recent.read(1_081.0) == 8.0
    assert recent.read(1_141.0) is None
    assert recent.ever == 3.0


def test_a_minute_without_a_value_ends_what_was_before() -> None:
    recent = RecentSmallest()
    recent.add(1.0, 0.0)
    recent.add(9.0, 150.0)
    assert recent.read(150.0) == 9.0
