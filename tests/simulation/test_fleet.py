"""The autoscaler that simulated fleets follow: as that of Kubernetes."""

from __future__ import annotations

from fleet import GRACE, Autoscaler

from leasekeeper.cli.grace import grace_period
from leasekeeper.consumer import Consumer


def test_the_grace_period_of_the_fleet_is_that_of_the_manifest() -> None:
    assert grace_period(Consumer("orders", lambda _body: None).longest_stop) == GRACE


def test_the_autoscaler_follows_as_that_of_kubernetes() -> None:
    scaler = Autoscaler(most=100)
    assert scaler.size(0, 10, 10.9) == 10  # within its tolerance
    assert scaler.size(30, 10, 11.1) == 12
    assert scaler.size(60, 12, 90) == 24  # twice at most
    assert scaler.size(90, 1, 90) == 5  # or four more
    assert Autoscaler(most=100).size(0, 5, 0) == 3  # half at most
    scaler = Autoscaler(most=100)
    for now in range(0, 301, 30):
        assert scaler.size(now, 10, 4 if now else 9.5) == (10 if now < 300 else 5)
