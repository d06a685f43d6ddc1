"""What `leasekeeper local` is asked for: its flags, and the queues and faults that they name.

Used by `cli/local.py`. Pure. It promises one sentence for a value that cannot be read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from leasekeeper.errors import ConfigurationError
from leasekeeper.sqs.address import NAME_RULE, is_queue_name

ATTRIBUTES = {
    "visibility": "VisibilityTimeout",
    "delay": "DelaySeconds",
    "wait": "ReceiveMessageWaitTimeSeconds",
    "retention": "MessageRetentionPeriod",
}
"""Short names for a queue's attributes; the full names of SQS work too."""
MAX_RECEIVES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueWish:
    """A queue to create, from `--queue`.

    Attributes:
        name: its name; a FIFO queue's ends in `.fifo`.
        attributes: by their SQS names.
        dead_letters: the name of its dead-letter queue, which is created first; None for none.
        max_receives: receives after which SQS moves a message there.
    """

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    dead_letters: str | None = None
    max_receives: int = MAX_RECEIVES

    @classmethod
    def parse(cls, given: str) -> QueueWish:
        """Read `orders` or `orders:dlq=orders-dead,max=5,visibility=30`.

        Raises:
            ConfigurationError: it is malformed.
        """
        name, _, rest = given.partition(":")
        attributes, wish = {"FifoQueue": "true"} if name.endswith(".fifo") else {}, dict[str, str]()
        for pair in filter(None, rest.split(",")):
            key, equals, value = pair.partition("=")
            if not (equals and value) or not (key in {"dlq", "max"} or key in ATTRIBUTES or key[:1].isupper()):
                raise ConfigurationError(
                    f"--queue={given!r}: {pair!r} is not understood; give dlq=NAME, max=RECEIVES, "
                    f"{', '.join(f'{word}=SECONDS' for word in ATTRIBUTES)}, or an attribute of SQS, e.g. "
                    "orders:dlq=orders-dead,max=5,visibility=60"
                )
            (wish if key in {"dlq", "max"} else attributes)[ATTRIBUTES.get(key, key)] = value
        maximum = wish.get("max", str(MAX_RECEIVES))
        if not maximum.isdigit() or ("max" in wish and "dlq" not in wish):
            raise ConfigurationError(
                f"--queue={given!r}: max={maximum} must be a whole number, given together with dlq=NAME"
            )
        dead = wish.get("dlq", "")
        for each in filter(lambda each: not is_queue_name(each), (name, dead or name)):
            raise ConfigurationError(f"--queue={given!r}: {each!r} is not the name of a queue, which has {NAME_RULE}")
        if dead and dead.endswith(".fifo") is not name.endswith(".fifo"):
            kind = "a FIFO queue: end its name in .fifo" if name.endswith(".fifo") else "a standard queue"
            raise ConfigurationError(f"--queue={given!r}: dlq={dead} must be {kind}, as {name} is")
        return cls(name=name, attributes=attributes, dead_letters=wish.get("dlq"), max_receives=int(maximum))


def parse_fault(given: str) -> tuple[str, dict[str, Any]]:
    """Read `throttle=0.1,latency=0.02` or `ReceiveMessage:empty=0.5`: the operation (`*` for all) and its switches."""
    operation, colon, rest = given.rpartition(":")
    switches: dict[str, Any] = {}
    for pair in rest.split(","):
        name, _, value = pair.partition("=")
        try:
            low, dash, high = value.partition("-")
            switches[name.strip().replace("-", "_")] = (float(low), float(high)) if dash else float(low)
        except ValueError:
            raise ConfigurationError(
                f"--fault={given!r}: {pair!r} is not NAME=NUMBER, e.g. throttle=0.1 or ReceiveMessage:latency=0.01-0.05"
            ) from None
    return (operation if colon else "*"), switches


# The flags

AddressFlag = Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")]
PortFlag = Annotated[
    int, typer.Option(metavar="NUMBER", help="Port to listen on; 0 takes a free one.", min=0, max=65535)
]
BucketFlags = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Create a bucket of S3 for large payloads; may be repeated."),
]
QueueFlags = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[:KEY=VALUE,...]",
        help="Create a queue; may be repeated. Keys: dlq (name of its dead-letter queue, which is created too), "
        "max (receives after which a message goes there), visibility, delay, wait and retention (in seconds), "
        "and every attribute of SQS by its name.",
    ),
]
FaultFlags = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[OPERATION:]NAME=NUMBER,...",
        help="Make calls fail; may be repeated. Names: latency (seconds, or LOW-HIGH) and, each with a probability "
        "from 0 to 1: throttle, unavailable, deny, reset, garbage, hang, lose, lose_by_reset, "
        "fail_entries, lose_entries, duplicate, shorten, empty.",
    ),
]
DeadPollsFlag = Annotated[
    bool, typer.Option("--dead-polls", help="Let long polls of clients that have disconnected take messages.")
]
SeedFlag = Annotated[
    int | None, typer.Option(metavar="NUMBER", help="Seed of message ids and faults; unset, a new one at each start.")
]
AnywhereFlag = Annotated[
    bool, typer.Option("--anywhere", help="Allow an address that other machines can reach; there is no access control.")
]
RequireCredentialsFlag = Annotated[
    bool,
    typer.Option("--require-credentials", help="Refuse requests without credentials; any credentials are accepted."),
]
