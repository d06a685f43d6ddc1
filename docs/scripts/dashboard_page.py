"""Write deploy/grafana-dashboard.json from the catalogue of metrics: `python docs/scripts/dashboard_page.py`.

The panels are here; what a panel says when one points at it is the catalogue's meaning and advice. Tests keep the file
up to date, and check every expression against what a consumer really exports.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from leasekeeper.observe.catalogue import CATALOGUE

PAGE = Path(__file__).parents[2] / "deploy" / "grafana-dashboard.json"
SOURCE = {"type": "prometheus", "uid": "${source}"}
RATE = "$__rate_interval"
METRIC = re.compile(r"leasekeeper_\w+")


def _of(name: str, **labels: str) -> str:
    """A metric of the chosen queues."""
    more = "".join(f', {label}=~"{value}"' for label, value in labels.items())
    return f'leasekeeper_{name}{{queue=~"$queue"{more}}}'


def _rate(name: str, *by: str, **labels: str) -> str:
    return f"sum by ({', '.join(('queue', *by))}) (rate({_of(name, **labels)}[{RATE}]))"


def _quantile(name: str, share: float, *by: str) -> str:
    return f"histogram_quantile({share:g}, {_rate(f'{name}_bucket', 'le', *by)})"


def _quantiles(name: str) -> dict[str, str]:
    return {f"{{{{queue}}}} p{share * 100:g}": _quantile(name, share) for share in (0.5, 0.95, 0.99)}


DONE = _rate("handled_total", outcome="done")
FAILED = _rate("handled_total", outcome="failed|timed_out|exhausted")
SUMMARY: list[tuple[str, str, str, list[tuple[float | None, str]]]] = [
    ("Healthy processes", f"sum({_of('healthy')})", "short", [(None, "red"), (1, "green")]),
    ("Done a second", f"sum({DONE})", "ops", [(None, "blue")]),
    ("Backlog", f"max({_of('backlog_seconds')})", "s", [(None, "green"), (60, "orange"), (600, "red")]),
    ("Lag, p95", f"max({_quantile('lag_seconds', 0.95)})", "s", [(None, "green"), (10, "orange"), (60, "red")]),
    ("Utilisation", f"avg({_of('utilisation')})", "percentunit", [(None, "green"), (0.8, "orange"), (0.95, "red")]),
    ("Lease margin", f"min({_of('lease_margin_seconds')})", "s", [(None, "red"), (1, "orange"), (5, "green")]),
    ("Fail", f"sum({FAILED}) / sum({_rate('handled_total')})", "percentunit", [(None, "green"), (0.05, "red")]),
    (
        "Dead letters in an hour",
        f"sum(increase({_of('dead_letters_total')}[1h]))",
        "short",
        [(None, "green"), (1, "red")],
    ),
]
ROWS: dict[str, list[tuple[str, str, dict[str, str]]]] = {
    "Flow": [
        ("Received and done", "ops", {"{{queue}} received": _rate("messages_received_total"), "{{queue}} done": DONE}),
        ("Messages of the queue", "short", {"{{queue}} {{state}}": f"max by (queue, state) ({_of('queue_messages')})"}),
        ("Backlog in seconds of work", "s", {"{{queue}}": f"max by (queue) ({_of('backlog_seconds')})"}),
        ("Held here, by state", "short", {"{{queue}} {{state}}": f"sum by (queue, state) ({_of('in_hand')})"}),
        ("How runs end", "ops", {"{{queue}} {{outcome}}": _rate("handled_total", "outcome")}),
        ("Given back, by reason", "ops", {"{{queue}} {{why}}": _rate("released_total", "why")}),
    ],
    "Time": [
        ("Handlers", "s", _quantiles("handler_seconds")),
        ("From sent to received", "s", _quantiles("lag_seconds")),
        ("From received to started", "s", _quantiles("buffer_seconds")),
        ("Calls to SQS, p95", "s", {"{{operation}}": _quantile("call_seconds", 0.95, "operation")}),
    ],
    "Handlers": [
        ("Utilisation", "percentunit", {"{{queue}}": f"avg by (queue) ({_of('utilisation')})"}),
        (
            "Running, and how many may",
            "short",
            {
                "{{queue}} running": f"sum by (queue) ({_of('handlers_running')})",
                "{{queue}} limit": f"sum by (queue) ({_of('concurrency_limit')})",
            },
        ),
        (
            "Processes, and how many are wanted",
            "short",
            {
                "{{queue}} running": f"count by (queue) ({_of('healthy')})",
                "{{queue}} wanted": f"max by (queue) ({_of('wanted_replicas')})",
            },
        ),
        ("Lag of the engine", "s", {"{{queue}}": f"max by (queue) ({_of('engine_lag_seconds')})"}),
    ],
    "Leases": [
        ("Lease left at the closest delete", "s", {"{{queue}}": f"min by (queue) ({_of('lease_margin_seconds')})"}),
        ("Extensions", "ops", {"{{queue}} {{result}}": _rate("heartbeats_total", "result")}),
        (
            "Leases lost",
            "ops",
            {"{{queue}}": _rate("leases_lost_total"), "{{queue}} while running": _rate("leases_lost_running_total")},
        ),
        ("Redeliveries", "ops", {"{{queue}} {{kind}}": _rate("duplicates_total", "kind")}),
    ],
    "SQS": [
        ("Calls for a message", "short", {"{{queue}}": f"{_rate('calls_total')} / {DONE}"}),
        ("Receives", "ops", {"{{queue}} {{result}}": _rate("receives_total", "result")}),
        ("Errors", "ops", {"{{queue}} {{code}}": _rate("errors_total", "code")}),
        ("Deletes", "ops", {"{{queue}} {{result}}": _rate("deletes_total", "result")}),
        (
            "Receive loops",
            "short",
            {
                "{{queue}}": f"sum by (queue) ({_of('pollers')})",
                "{{queue}} wanted": f"sum by (queue) ({_of('pollers_wanted')})",
            },
        ),
        (
            "Waiting for a batch call",
            "short",
            {"{{queue}} {{purpose}}": f"sum by (queue, purpose) ({_of('batch_waiting')})"},
        ),
    ],
    "Dead letters and FIFO": [
        ("Dead letters", "ops", {"{{queue}} {{reason}}": _rate("dead_letters_total", "reason")}),
        ("Unsettled", "ops", {"{{queue}}": _rate("unsettled_total")}),
        ("Message groups", "short", {"{{queue}} {{state}}": f"sum by (queue, state) ({_of('groups')})"}),
    ],
}


def _description(expressions: list[str]) -> str:
    """The catalogue's words for the metrics of a panel."""
    texts = {metric.name: f"{metric.meaning} {metric.advice}" for metric in CATALOGUE}
    names = [name for each in expressions for name in METRIC.findall(each)]
    bare = [name.removesuffix("_bucket") for name in names]
    return "\n\n".join(dict.fromkeys(texts[name] for name in bare))


def _targets(expressions: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"datasource": SOURCE, "expr": expression, "legendFormat": legend, "refId": chr(ord("A") + number)}
        for number, (legend, expression) in enumerate(expressions.items())
    ]


def _stat(title: str, expression: str, unit: str, steps: list[tuple[float | None, str]]) -> dict[str, Any]:
    thresholds = {"mode": "absolute", "steps": [{"color": color, "value": value} for value, color in steps]}
    return {
        "type": "stat",
        "title": title,
        "fieldConfig": {"defaults": {"unit": unit, "thresholds": thresholds, "noValue": "-"}, "overrides": []},
        "options": {"colorMode": "value", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}},
        "targets": _targets({title: expression}),
    }


def _series(title: str, unit: str, expressions: dict[str, str]) -> dict[str, Any]:
    custom = {"drawStyle": "line", "fillOpacity": 10, "lineWidth": 1, "showPoints": "never"}
    return {
        "type": "timeseries",
        "title": title,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": _targets(expressions),
    }


def _placed(panel: dict[str, Any], number: int, **place: int) -> dict[str, Any]:
    expressions = [target["expr"] for target in panel.get("targets", ())]
    described = {"description": _description(expressions)} if expressions else {}  # a row has none in Grafana's schema
    return {"id": number, "gridPos": place, "datasource": SOURCE, **described, **panel}


def panels() -> list[dict[str, Any]]:
    """All panels, with their places."""
    found = [_placed(_stat(*each), place + 1, x=3 * place, y=0, w=3, h=4) for place, each in enumerate(SUMMARY)]
    y = 4
    for title, row in ROWS.items():
        found.append(_placed({"type": "row", "title": title, "collapsed": False}, len(found) + 1, x=0, y=y, w=24, h=1))
        y += 1
        for place, each in enumerate(row):
            at = {"x": 8 * (place % 3), "y": y + 8 * (place // 3), "w": 8, "h": 8}
            found.append(_placed(_series(*each), len(found) + 1, **at))
        y += 8 * ((len(row) + 2) // 3)
    return found


def page() -> str:
    """The whole dashboard."""
    queue = {
        "name": "queue",
        "label": "Queue",
        "type": "query",
        "datasource": SOURCE,
        "query": "label_values(leasekeeper_healthy, queue)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "current": {"text": "All", "value": "$__all"},
    }
    dashboard = {
        "uid": "leasekeeper",
        "title": "Leasekeeper",
        "tags": ["sqs", "leasekeeper"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"}, queue]
        },
        "panels": panels(),
    }
    return json.dumps(dashboard, indent=1) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
