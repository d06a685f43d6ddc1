"""How many receives wait at the queue: enough at low rates, few above them, one when little happens."""

from __future__ import annotations

import math

import pytest

from leasekeeper.core.waiting_receives import MISSED, PROMPT_RATE, receives_needed, receives_ready


def ready(rate: float, *, latency: float = 0.01, wait: float = 20.0, most: int = 10, probing: bool = False) -> int:
    return receives_ready(rate, latency, wait=wait, most=most, probing=probing)


@pytest.mark.parametrize("load", [0.004, 0.02, 0.1, 0.5, 1.0, 3.0])
def test_receives_needed_is_the_least_number_that_rarely_misses_a_message(load: float) -> None:
    """Erlang's formula, written as the sum it stands for."""

    def missed(receives: int) -> float:
        terms = [load**k / math.factorial(k) for k in range(receives + 1)]
        return terms[-1] / sum(terms)

    needed = receives_needed(load, most=100)
    assert missed(needed) <= MISSED
    assert needed == 1 or missed(needed - 1) > MISSED
    assert receives_needed(load, most=2) == min(needed, 2)


def test_the_number_grows_up_to_the_prompt_rate_and_falls_above_it() -> None:
    rates = (2, 10, 50, PROMPT_RATE, 200, 400, 1_000, 10_000)
    assert [ready(rate) for rate in rates] == [2, 2, 4, 5, 4, 3, 2, 2]


def test_slower_calls_need_more_receives_up_to_the_maximum() -> None:
    assert [ready(50, latency=latency) for latency in (0.001, 0.01, 0.02, 0.05)] == [2, 4, 5, 8]
    assert ready(50, latency=0.5) == 10


def test_one_receive_is_enough_until_the_latency_is_known() -> None:
    assert ready(50, latency=0.0) == 1


def test_lone_messages_keep_one_receive() -> None:
    """L21: several long polls would each cost a call when their wait ends."""
    assert ready(1.0, latency=2.0) == 1
    assert ready(1.2, latency=2.0) == 1


def test_short_waits_allow_fewer_receives() -> None:
    """L21: each receive must expect a message before its wait ends."""
    assert [ready(9.0, latency=0.1, wait=wait) for wait in (0.0, 0.5, 1.0, 1.5, 20.0)] == [1, 1, 2, 3, 5]


def test_a_probe_above_the_prompt_rate_doubles_the_receives() -> None:
    assert (ready(400), ready(400, probing=True)) == (3, 6)
    assert ready(400, most=4, probing=True) == 4
    assert (ready(50), ready(50, probing=True)) == (4, 4)
