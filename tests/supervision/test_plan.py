"""What the supervisor reads from the arguments of `leasekeeper run`, and what it leaves to the program."""

from __future__ import annotations

import importlib.machinery
import os
import sys
import types

import pytest

from leasekeeper.supervision.plan import Plan, plan_of


def test_its_flags_are_taken_out_and_all_others_go_to_the_processes() -> None:
    arguments = ["run", "shop:app", "--processes", "3", "--concurrency=5", "--admin", "9900", "--log-format", "json"]
    assert plan_of(arguments, {}) == Plan(
        arguments=("run", "shop:app", "--concurrency=5", "--log-format", "json"), count=3, admin="9900", kind="json"
    )


def test_variables_count_unless_a_flag_is_given() -> None:
    variables = {"LEASEKEEPER_PROCESSES": "2", "LEASEKEEPER_ADMIN": "9901", "LEASEKEEPER_LOG_LEVEL": "error"}
    assert plan_of(["run", "shop:app"], variables) == Plan(
        arguments=("run", "shop:app"), count=2, admin="9901", level="error"
    )
    plan = plan_of(["run", "shop:app", "--processes=4", "--log-level", "debug"], variables)
    assert plan is not None
    assert (plan.count, plan.level) == (4, "debug")


def test_reload_and_local_are_for_one_process_unless_more_are_asked_for() -> None:
    assert plan_of(["run", "--reload", "shop:app", "--local"], {}) == Plan(
        arguments=("run", "shop:app"), reload=True, local=True
    )


def test_words_after_two_dashes_are_no_flags() -> None:
    plan = plan_of(["run", "--processes", "2", "--", "--reload"], {})
    assert plan == Plan(arguments=("run", "--", "--reload"), count=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "shop:app", "--help"],
        ["run", "shop:app", "--no-supervisor"],
        ["run", "shop:app", "--no-supervisor", "--processes", "2"],
        ["run", "shop:app", "--processes", "two"],
        ["run", "shop:app", "--processes", "0"],
        ["run", "shop:app", "--processes"],
        ["run", "shop:app", "--processes", "2", "--log-level", "loud"],
        ["run", "shop:app", "--processes", "2", "--log-format", "xml"],
        ["send", "orders", "--processes", "2"],
        [],
    ],
)
def test_the_rest_is_for_the_program(arguments: list[str]) -> None:
    assert plan_of(arguments, {}) is None


def test_a_child_has_no_supervisor_of_its_own() -> None:
    assert plan_of(["run", "shop:app", "--reload"], {"LEASEKEEPER_SUPERVISED": "3:1:1:0"}) is None


def test_the_surface_of_several_processes_is_served_beside_them_and_that_of_one_by_itself() -> None:
    given = ["run", "shop:app", "--admin", "9900", "--peers=dns:a:1", "--admin-token", "secret12"]
    many = plan_of([*given, "--processes", "2"], {})
    assert many is not None
    assert many.arguments == ("run", "shop:app", "--admin-token", "secret12")
    assert many.admin == "9900"
    assert many.surface == {"LEASEKEEPER_ADMIN_TOKEN": "secret12", "LEASEKEEPER_PEERS": "dns:a:1"}
    one = plan_of([*given, "--reload"], {})
    assert one is not None
    assert one.arguments == (
        "run", "--admin", "9900", "--peers", "dns:a:1", "shop:app", "--admin-token", "secret12",
    )  # fmt: skip
    assert one.admin is None


def test_peers_without_a_surface_are_a_mistake_for_the_program_and_a_variable_is_none() -> None:
    assert plan_of(["run", "shop:app", "--peers=dns:a:1", "--processes", "2"], {}) is None
    assert plan_of(["run", "shop:app"], {"LEASEKEEPER_PEERS": "dns:a:1"}) is not None


def test_one_process_has_a_supervisor_unless_that_is_turned_off() -> None:
    assert plan_of(["run", "shop:app"], {}) == Plan(arguments=("run", "shop:app"))
    assert plan_of(["run", "shop:app"], {"LEASEKEEPER_SUPERVISOR": "off"}) is None
    assert plan_of(["run", "shop:app", "--supervisor"], {"LEASEKEEPER_SUPERVISOR": "off"}) is not None


def test_one_process_has_none_where_there_can_be_no_keeper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows and macOS, and archives whose packages another interpreter would not find."""
    assert plan_of(["run", "shop:app"], {"PEX": "/srv/shop.pex"}) is None
    main = types.ModuleType("__main__")
    main.__spec__ = importlib.machinery.ModuleSpec("__main__", None)
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "__main__", main)
        assert plan_of(["run", "shop:app"], {}) is None
    monkeypatch.delattr(os, "memfd_create")
    assert plan_of(["run", "shop:app"], {}) is None
    assert plan_of(["run", "shop:app", "--processes", "1"], {}) == Plan(arguments=("run", "shop:app"))


def test_the_switch_for_peers_goes_to_the_processes_and_to_what_serves_the_surface() -> None:
    plan = plan_of(["run", "shop:app", "--actions-over-http", "--processes", "2", "--admin", "9900"], {})
    assert plan is not None
    assert plan.arguments == ("run", "shop:app", "--actions-over-http")
    assert plan.surface == {"LEASEKEEPER_ACTIONS_OVER_HTTP": "on"}
