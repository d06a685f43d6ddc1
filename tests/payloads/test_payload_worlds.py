"""Worlds of consumers that fetch payloads; `soak/payloads` plays many more."""

from __future__ import annotations

from payload_world import MESSAGES, play


def test_a_message_that_exists_has_its_object() -> None:
    deleted = [play(seed) for seed in range(8)]
    assert sum(deleted) > 2 * MESSAGES
