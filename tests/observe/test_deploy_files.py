"""The dashboard and the alert rules: what they ask for is exported, they are valid, and alerts come when they must."""

from __future__ import annotations

import functools
import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse

from leasekeeper.admin.scaling import with_scaling
from leasekeeper.engine.queue_counts import QueueCounts
from leasekeeper.observe.backlog import Backlog
from leasekeeper.observe.prometheus import registry_of
from leasekeeper.outcomes import Reject
from leasekeeper.testing.world import World, virtual

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus-rules.yaml"
DASHBOARD = runpy.run_path(str(ROOT / "docs" / "scripts" / "dashboard_page.py"))
METRIC = re.compile(r"(leasekeeper_\w+)(?:\{([^}]*)\})?")
NAMES = re.compile(r"(\w+)\s*=")
GROUPED = re.compile(r"(?:by|ignoring|on|without) \(([^)]*)\)")
ADDED = {"le", "job", "instance"}
"""Labels that come with buckets, and those that Prometheus adds."""
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="needs promtool, of the Debian package prometheus")


def alerts() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


@functools.cache
def expressions() -> dict[str, str]:
    """Every expression of dashboard and rules, by where it stands."""
    found = {f"alert {each['alert']}": each["expr"] for each in alerts()}
    for panel in DASHBOARD["panels"]():
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$queue", ".*")
            found[f"panel {panel['title']} {target['refId']}"] = expression
    return found


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """The label names of every sample that a FIFO queue's consumer and a standard queue's export, by its name."""

    async def world(*, fifo: bool) -> Any:
        async with World(max_receives=5, fifo=fifo) as world:
            world.faults.set("DeleteMessageBatch", latency=0.02)

            async def handle(body: str) -> object:
                if body == "fail":
                    raise ValueError
                return Reject("no") if body == "reject" else None

            consumer = await world.start(handle, rate=None if fifo else 100)
            consumer.measure()
            await world.send("good", "reject")
            await world.send("fail", group="other" if fifo else None)
            world.faults.next("ReceiveMessage", throttle=1.0)
            await world.until(lambda: consumer.statistics().receives.failed)
            await world.until(lambda: sum(consumer.statistics().outcomes.values()) >= 3)
            await consumer.stop()
            return consumer.statistics()

    backlog = Backlog()
    for at in (0.0, 30.0):
        backlog.add(at, QueueCounts(visible=100, in_flight=5, delayed=1, dead_letters=None))
    found = [with_scaling(virtual(world)(fifo=fifo), backlog, 60.0) for fifo in (False, True)]

    class Fixed:
        def statistics(self) -> Any:
            return tuple(found)

    labels: dict[str, set[str]] = {}
    for family in parse(generate_latest(registry_of(Fixed())).decode()):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


@pytest.mark.parametrize("place", expressions())
def test_what_is_asked_for_is_exported(place: str, exported: dict[str, set[str]]) -> None:
    expression = expressions()[place]
    asked = METRIC.findall(expression)
    assert asked
    grouped = {name.strip() for each in GROUPED.findall(expression) for name in each.split(",")}
    known: set[str] = set(ADDED)
    for name, selected in asked:
        assert name in exported
        assert set(NAMES.findall(selected)) <= exported[name]
        known |= exported[name]
    assert grouped <= known


def test_the_dashboard_is_current() -> None:
    assert DASHBOARD["PAGE"].read_text() == DASHBOARD["page"](), "run `make pages`"


def test_panels_have_different_ids_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]()
    assert len({each["id"] for each in panels}) == len(panels)
    places = [each["gridPos"] for each in panels]
    taken = {
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    }
    assert len(taken) == sum(at["w"] * at["h"] for at in places)
    assert max(x for x, _ in taken) < 24
    assert all(each["description"] for each in panels if each["type"] != "row")


@pytest.mark.parametrize("alert", alerts(), ids=lambda each: each["alert"])
def test_every_alert_says_what_is_wrong_and_what_to_do(alert: dict[str, Any], exported: dict[str, set[str]]) -> None:
    assert alert["labels"]["severity"] in {"page", "ticket"}
    texts = alert["annotations"]
    assert texts.keys() == {"summary", "action"}
    assert all(text.endswith(".") for text in texts.values())
    for name in METRIC.findall(" ".join(texts.values())):
        assert name[0] in exported or f"{name[0]}_count" in exported


ALERTED = {
    "LeasekeeperNotReceiving": {
        'leasekeeper_last_receive_timestamp_seconds{queue="q",consumer="c",instance="i"}': "0x60",
        'leasekeeper_phase{queue="q",consumer="c",instance="i",phase="running"}': "1x60",
    },
    "LeasekeeperUnhealthy": {
        'leasekeeper_healthy{queue="q",consumer="c",instance="i"}': "0x60",
        'leasekeeper_phase{queue="q",consumer="c",instance="i",phase="running"}': "1x60",
    },
    "LeasekeeperProblem": {'leasekeeper_problem{queue="q",consumer="c"}': "1x60"},
    "LeasekeeperGone": {},
    "LeasekeeperBacklogGrows": {'leasekeeper_backlog_seconds{queue="q"}': "300+10x60"},
    "LeasekeeperHandlersSaturated": {'leasekeeper_utilisation{queue="q"}': "0.95x60"},
    "LeasekeeperHandlersFail": {
        'leasekeeper_handled_total{queue="q",outcome="failed"}': "0+30x60",
        'leasekeeper_handled_total{queue="q",outcome="done"}': "0+60x60",
    },
    "LeasekeeperLeasesLost": {'leasekeeper_leases_lost_total{queue="q"}': "0x50 1x10"},
    "LeasekeeperNoLeaseMargin": {'leasekeeper_lease_margin_seconds{queue="q"}': "0.2x60"},
    "LeasekeeperDeadLetters": {'leasekeeper_dead_letters_total{queue="q",reason="rejected"}': "0x50 2x10"},
    "LeasekeeperUnsettled": {'leasekeeper_unsettled_total{queue="q"}': "0x50 1x10"},
    "LeasekeeperCallsRefused": {'leasekeeper_errors_total{queue="q",code="AccessDenied"}': "0+12x60"},
    "LeasekeeperLoopBlocked": {'leasekeeper_handler_loop_blocked_seconds{queue="q"}': "5+15x60"},
    "LeasekeeperEngineLags": {'leasekeeper_engine_lag_seconds{queue="q"}': "2x60"},
    "LeasekeeperGroupHalted": {'leasekeeper_groups{queue="q",state="halted"}': "1x60"},
}
"""What makes each alert come: series with a value a minute."""
HEALTHY = {
    'leasekeeper_healthy{queue="q",consumer="c",instance="i"}': "1x60",
    'leasekeeper_phase{queue="q",consumer="c",instance="i",phase="running"}': "1x60",
    'leasekeeper_last_receive_timestamp_seconds{queue="q",consumer="c",instance="i"}': "0+60x60",
    'leasekeeper_problem{queue="q",consumer="c",instance="i"}': "0x60",
    'leasekeeper_backlog_seconds{queue="q"}': "30x60",
    'leasekeeper_utilisation{queue="q"}': "0.7x60",
    'leasekeeper_handled_total{queue="q",outcome="failed"}': "0+1x60",
    'leasekeeper_handled_total{queue="q",outcome="done"}': "0+60x60",
    'leasekeeper_leases_lost_total{queue="q"}': "3x60",
    'leasekeeper_lease_margin_seconds{queue="q"}': "20x60",
    'leasekeeper_dead_letters_total{queue="q",reason="rejected"}': "7x60",
    'leasekeeper_unsettled_total{queue="q"}': "2x60",
    'leasekeeper_errors_total{queue="q",code="AccessDenied"}': "0+1x60",
    'leasekeeper_engine_lag_seconds{queue="q"}': "0.01x60",
    'leasekeeper_groups{queue="q",state="halted"}': "0x60",
}


def test_every_alert_is_tried() -> None:
    assert ALERTED.keys() == {each["alert"] for each in alerts()}


def _series(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": text} for name, text in values.items()]


@pytest.mark.slow
@needs_promtool
def test_promtool_has_no_complaint_about_rules_and_queries(tmp_path: Path) -> None:
    """It runs the rules: each alert comes for its series, and none for a healthy consumer. It reads every query."""
    queries = [
        {"expr": each, "eval_time": "1m", "exp_samples": []} for each in expressions().values() if "absent" not in each
    ]
    healthy = [{"eval_time": "55m", "alertname": name, "exp_alerts": []} for name in ALERTED]
    cases: list[dict[str, Any]] = [
        {"interval": "1m", "input_series": _series(HEALTHY), "alert_rule_test": healthy},
        {"interval": "1m", "input_series": [], "promql_expr_test": queries},
    ]
    together: dict[str, str] = {}
    fired = []
    for name, series in ALERTED.items():  # each with a queue of its name, so that all can be tried at once
        together |= {each.replace('queue="q"', f'queue="{name}"'): values for each, values in series.items()}
        alert = f'alertname="{name}", alertstate="firing"' + (f', queue="{name}"' if series else "")
        samples = [{"labels": "{}", "value": 1}]
        fired.append({"expr": f"sum(ALERTS{{{alert}}})", "eval_time": "55m", "exp_samples": samples})
    gone = [each for each in fired if "LeasekeeperGone" in str(each["expr"])]
    cases.append({"interval": "1m", "input_series": [], "promql_expr_test": gone})
    others = [each for each in fired if each not in gone]
    cases.append({"interval": "1m", "input_series": _series(together), "promql_expr_test": others})
    test = tmp_path / "test.yaml"
    test.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": cases}))
    for command in (["check", "rules", str(RULES)], ["test", "rules", str(test)]):
        done = subprocess.run([str(PROMTOOL), *command], capture_output=True, check=False, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
