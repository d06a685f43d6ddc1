"""What a manifest has to know of a service: its queues, and how long its stop takes.

Used by the writers of manifests. It promises a grace period in which a stop ends, whatever its handlers do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leasekeeper.cli.grace import grace_period
from leasekeeper.core.scaling import backlog_per_replica, messages_in_flight
from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.consumer import Consumer

PORT = 9900
"""The port of the admin surface."""
VARIABLE = "LEASEKEEPER_GRACE_PERIOD"
"""Tells the process the grace period, which it cannot ask for."""
REGION, ACCOUNT = "REGION", "ACCOUNT"
"""Stand where the code says no region and no account."""
_NOT_A_LABEL = re.compile(r"[^a-z0-9-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePlan:
    """A queue to scale by.

    Attributes:
        name: its name.
        url: its URL, with `REGION` and `ACCOUNT` where they are not known.
        region: its region, or `REGION`.
        arn: its ARN.
        in_flight: messages in flight that one process should have.
        backlog: visible messages that one process works off in time; None: no handler time is known.
    """

    name: str
    url: str
    region: str
    arn: str
    in_flight: int
    backlog: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service to deploy.

    Attributes:
        name: a label of DNS.
        target: what `leasekeeper run` runs.
        image: the container image.
        stop: seconds that a stop may take.
        queues: its queues.
        most: the most processes.
        protected: whether it asks ECS for protection from scale-in.
    """

    name: str
    target: str
    image: str
    stop: float
    queues: tuple[QueuePlan, ...]
    most: int
    protected: bool

    @property
    def formula(self) -> str:
        """The wanted processes of all queues, from triggers that are named by `visible` and `all` and a number."""
        parts = [
            f"(all{place} - visible{place}) / {queue.in_flight} + visible{place} / {queue.backlog or queue.in_flight:g}"
            for place, queue in enumerate(self.queues)
        ]
        return parts[0] if len(parts) == 1 else f"max({', '.join(parts)})"

    @property
    def grace(self) -> int:
        """Seconds that the runtime has to wait after SIGTERM before it kills the process."""
        return grace_period(self.stop)


def label_of(text: str) -> str:
    """A text as a label of DNS: `shop.orders:app` becomes `shop-orders`."""
    return _NOT_A_LABEL.sub("-", text.removesuffix(":app").lower()).strip("-")[:50].strip("-") or "consumer"


def service_of(
    target: str,
    consumers: Sequence[Consumer],
    *,
    name: str | None,
    image: str,
    most: int,
    handler_seconds: float | None,
    latency: float,
) -> Service:
    """The service of these consumers.

    Args:
        target: `module:app`.
        consumers: those of the target.
        name: its name; None: from the target.
        image: the container image.
        most: the most processes.
        handler_seconds: the usual time of a handler; None: not known.
        latency: seconds in which a backlog should be worked off.

    Raises:
        ConfigurationError: a name that is no label of DNS.
    """
    if name is not None and label_of(name) != name:
        raise ConfigurationError(
            f"--name={name!r}: Kubernetes takes lower-case letters, digits and - only; try {label_of(name)!r}"
        )
    return Service(
        name=name or label_of(target),
        target=target,
        image=image,
        stop=max(consumer.longest_stop for consumer in consumers),
        queues=tuple(_plan(consumer, handler_seconds, latency) for consumer in consumers),
        most=most,
        protected=any(consumer.options.ecs_protection for consumer in consumers),
    )


def _plan(consumer: Consumer, handler_seconds: float | None, latency: float) -> QueuePlan:
    address, options = consumer.address, consumer.options
    region = address.region or options.region or REGION
    account = address.account or ACCOUNT
    seconds = handler_seconds or 0.0
    return QueuePlan(
        name=address.name,
        url=address.url or f"https://sqs.{region}.amazonaws.com/{account}/{address.name}",
        region=region,
        arn=f"arn:aws:sqs:{region}:{account}:{address.name}",
        in_flight=messages_in_flight(options.slots),
        backlog=backlog_per_replica(options.slots, seconds, latency) if seconds else None,
    )
