"""Where there can be no keeper it is refused, with what to do."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from leasekeeper import ConfigurationError, Consumer, Options
from leasekeeper.local import Broker, LocalClient
from leasekeeper.supervision.plan import plan_of


@pytest.mark.parametrize("name", ["client", "http"])
def test_a_client_that_only_this_process_has_is_refused(name: str) -> None:
    def transport(_: Any) -> Any:
        return None

    value: Any = {"client": LocalClient(Broker()), "http": transport}[name]
    with pytest.raises(ConfigurationError, match=f"keeper=True with {name}=.*another process.*leave one of them out"):
        Consumer("orders", print, keeper=True, **{name: value})


def test_other_systems_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    with pytest.raises(ConfigurationError, match=f"keeper=True on {sys.platform}: .* which Linux has"):
        Options(keeper=True)


def test_a_program_without_an_interpreter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(ConfigurationError, match="without a Python interpreter"):
        Options(keeper=True)


def test_a_supervisor_keeps_leases_unless_that_is_turned_off() -> None:
    arguments = ("run", "--processes", "2", "shop:app")
    assert _keeps(arguments, {})
    assert _keeps(arguments, {"LEASEKEEPER_KEEPER": "true"})
    assert not _keeps((*arguments, "--no-keeper"), {})
    assert not _keeps(arguments, {"LEASEKEEPER_KEEPER": "off"})


def _keeps(arguments: tuple[str, ...], environment: dict[str, str]) -> bool:
    plan = plan_of(list(arguments), environment)
    assert plan is not None
    return plan.keeper
