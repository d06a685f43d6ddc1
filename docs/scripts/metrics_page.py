"""Write docs/reference/metrics.md from the catalogue of metrics: `python docs/scripts/metrics_page.py`.

A test keeps it up to date.
"""

from __future__ import annotations

from pathlib import Path

from leasekeeper.observe.catalogue import CATALOGUE

PAGE = Path(__file__).parents[1] / "reference" / "metrics.md"
HEAD = """# Metrics

What a consumer exports for Prometheus and CloudWatch. [Export metrics](../how-to/metrics.md) shows how.
`docs/scripts/metrics_page.py` writes this page from `leasekeeper/observe/catalogue.py`.

Every metric has the labels `queue` and `consumer`, the handler's name; some have one more. No label has a message id, a
message group or a body. Counters start at 0 with the consumer. Medians are of the last 63 values, and missing before
the first. A scrape reads what the engine counts anyway.

Histograms are of every message. A consumer fills them from the moment when an exporter exists, which costs about a
microsecond a message ([why](../internals/decisions/0040-histograms-on-demand.md)); without an exporter it fills none.

| metric | kind, unit | what it says | what to do |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = []
    for metric in CATALOGUE:
        label = f"{{{','.join(metric.own)}}}" if metric.own else ""
        kind = f"{metric.kind.value}, {metric.unit.value}"
        rows.append(f"| `{metric.name}{label}` | {kind} | {metric.meaning} | {metric.advice} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
