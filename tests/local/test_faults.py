from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from leasekeeper.errors import ConfigurationError
from leasekeeper.local.faults import CallFault, Faults, Switches


def test_there_are_no_faults_by_default() -> None:
    faults = Faults()
    assert not faults.active
    assert faults.draw("SendMessage").fault is CallFault.NONE


def test_switches_of_an_operation_come_before_those_of_all() -> None:
    faults = Faults()
    faults.set("*", throttle=1.0)
    faults.set("DeleteMessage", reset=1.0)
    assert faults.draw("SendMessage").fault is CallFault.THROTTLE
    assert faults.draw("DeleteMessage").fault is CallFault.RESET
    faults.set("DeleteMessage")
    assert faults.draw("DeleteMessage").fault is CallFault.THROTTLE
    faults.clear()
    assert not faults.active


def test_switches_of_the_next_calls_come_first_and_in_order() -> None:
    faults = Faults()
    faults.set("SendMessage", throttle=1.0)
    faults.next("SendMessage", times=2, hang=1.0)
    faults.next("SendMessage", deny=1.0)
    drawn = [faults.draw("SendMessage").fault for _ in range(4)]
    assert drawn == [CallFault.HANG, CallFault.HANG, CallFault.DENY, CallFault.THROTTLE]


def test_latency_is_fixed_or_drawn_between_two_numbers() -> None:
    faults = Faults(seed=5)
    faults.set("SendMessage", latency=0.5)
    assert faults.draw("SendMessage").latency == 0.5
    faults.set("SendMessage", latency=(1.0, 2.0))
    drawn = {faults.draw("SendMessage").latency for _ in range(50)}
    assert len(drawn) > 40
    assert all(1.0 <= latency <= 2.0 for latency in drawn)


def test_faults_have_their_probability() -> None:
    faults = Faults(seed=5)
    faults.set("SendMessage", throttle=0.25)
    throttled = sum(faults.draw("SendMessage").fault is CallFault.THROTTLE for _ in range(4_000))
    assert 900 < throttled < 1_100


def test_a_switch_at_zero_draws_nothing() -> None:
    one, other = Faults(seed=7), Faults(seed=7)
    one.set("SendMessage", throttle=0.5)
    other.set("SendMessage", throttle=0.5, reset=0.0, hang=0.0)
    assert [one.draw("SendMessage")[:2] for _ in range(50)] == [other.draw("SendMessage")[:2] for _ in range(50)]


@pytest.mark.parametrize(
    ("operation", "switches", "message"),
    [
        ("MakeCoffee", {"throttle": 1.0}, "no operation 'MakeCoffee'"),
        ("SendMessage", {"explode": 1.0}, "no switch 'explode'"),
        ("SendMessage", {"throttle": 1.5}, "throttle=1.5"),
        ("SendMessage", {"throttle": "often"}, "switches of SendMessage"),
        ("SendMessage", {"latency": -1}, "latency=-1"),
        ("SendMessage", {"latency": (2, 1)}, "latency=(2.0, 1.0)"),
    ],
)
def test_an_invalid_switch_is_refused_by_name(operation: str, switches: dict[str, Any], message: str) -> None:
    faults = Faults()
    for change in (faults.set, faults.next, faults.check):
        with pytest.raises(ConfigurationError) as caught:
            change(operation, **switches)
        assert message in str(caught.value)
    assert not faults.active


def test_the_switches_can_be_shown() -> None:
    faults = Faults()
    faults.set("SendMessage", throttle=0.5)
    faults.next("SendMessage", hang=1.0)
    assert faults.standing() == {"SendMessage": Switches(throttle=0.5)}
    assert repr(faults) == "<Faults SendMessage>"


def test_the_manual_lists_exactly_the_switches() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "how-to" / "local.md").read_text()
    table = manual.partition("| switch |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(Switches.__struct_fields__)
