"""Metrics of several processes as one text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from leasekeeper.admin.exposition import merged

if TYPE_CHECKING:
    from prometheus_client import Metric

ONE = b"""\
# HELP jobs_total Jobs.
# TYPE jobs_total counter
jobs_total{queue="a}b",x="{"} 3
jobs_total{} 4
# HELP up Whether it is up.
# TYPE up gauge
up 1
"""
TWO = b"""\
# HELP up Whether it is up.
# TYPE up gauge
up 0
# HELP seconds A histogram.
# TYPE seconds histogram
seconds_bucket{le="+Inf"} 2
seconds_count 2
seconds_sum 5
"""


def families(text: bytes) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


def test_every_sample_has_its_process_and_every_family_comes_once() -> None:
    text = merged({1: ONE, 2: TWO}, [])
    assert text.count(b"# TYPE up ") == 1
    found = families(text)
    assert [(sample.labels, sample.value) for sample in found["up"].samples] == [
        ({"process": "1"}, 1),
        ({"process": "2"}, 0),
    ]
    assert [sample.labels for sample in found["jobs"].samples] == [
        {"process": "1", "queue": "a}b", "x": "{"},
        {"process": "1"},
    ]
    assert [sample.name for sample in found["seconds"].samples] == ["seconds_bucket", "seconds_count", "seconds_sum"]
    assert found["seconds"].type == "histogram"


def test_the_supervisor_adds_what_it_knows_of_its_processes() -> None:
    known = [{"number": 1, "state": "ready", "restarts": 0}, {"number": 2, "state": "waiting", "restarts": 7}]
    found = families(merged({}, known))
    assert [(sample.labels["process"], sample.value) for sample in found["leasekeeper_process_up"].samples] == [
        ("1", 1),
        ("2", 0),
    ]
    assert [sample.value for sample in found["leasekeeper_process_restarts"].samples] == [0, 7]
