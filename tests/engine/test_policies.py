"""Options reach those who decide by them."""

from __future__ import annotations

from dataclasses import fields

from leasekeeper.engine.policies import lease_policy, throttle_policy
from leasekeeper.options import Options


def test_the_throttler_is_told_every_option_of_its_own() -> None:
    options = Options(
        concurrency=7,
        visibility_timeout=11,
        max_in_flight=90,
        pollers=3,
        max_pollers=5,
        receive_batch=4,
        prefetch=2,
        longest_pause=0.2,
        throttle=False,
    )
    told = throttle_policy(options)
    names = {"visibility": "visibility_timeout", "batch": "receive_batch", "enabled": "throttle"}
    for each in fields(told):
        assert getattr(told, each.name) == getattr(options, names.get(each.name, each.name))


def test_leases_are_counted_by_the_options() -> None:
    told = lease_policy(Options(visibility_timeout=40, heartbeat_interval=9.0, remember_finished=5))
    assert (told.visibility, told.beat_after, told.remember) == (40, 9.0, 5)
