"""Each policy gets the options that it decides by."""

from __future__ import annotations

from dataclasses import fields

from leasekeeper.engine.policies import lease_policy, throttle_policy
from leasekeeper.options import Options


def test_the_throttle_policy_takes_each_of_its_options() -> None:
    options = Options(
        concurrency=7,
        visibility_timeout=11,
        max_in_flight=90,
        pollers=3,
        max_pollers=5,
        receive_batch=4,
        prefetch=2,
        wait_time=3.0,
        longest_pause=0.2,
        throttle=False,
    )
    policy = throttle_policy(options)
    names = {"visibility": "visibility_timeout", "batch": "receive_batch", "wait": "wait_time", "enabled": "throttle"}
    for each in fields(policy):
        if each.name != "together":
            assert getattr(policy, each.name) == getattr(options, names.get(each.name, each.name))
    assert (policy.together, throttle_policy(Options(batch=6)).together) == (1, 6)


def test_the_lease_policy_takes_each_of_its_options() -> None:
    policy = lease_policy(Options(visibility_timeout=40, heartbeat_interval=9.0, remember_finished=5))
    assert (policy.visibility, policy.extend_after, policy.remember) == (40, 9.0, 5)
