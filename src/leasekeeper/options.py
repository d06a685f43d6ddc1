"""The options of a consumer: one schema for code, flags, environment, TOML and the reference page.

`Options` is frozen and validated when it is made; each field carries its words, unit and bounds. A combination that
cannot work is refused here, with the sentence a user needs.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from leasekeeper.api import Credentials, CredentialsProvider, SqsApi, TransportFactory
from leasekeeper.errors import ConfigurationError
from leasekeeper.message import Message

Dispatch = Literal["semaphore", "pool"]
RejectPolicy = Literal["dead-letter", "redrive"]
Unstarted = Literal["release", "run"]
LeaseLossPolicy = Literal["tell", "cancel"]
HttpClient = Literal["native", "aiohttp"] | TransportFactory
Middleware = Callable[[Message[Any], Callable[[Message[Any]], Any]], Any]
"""`(message, call_next)`: a coroutine function around coroutine handlers, a plain one around `def` handlers."""


def _option(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    configurable: bool = True,
) -> Any:
    """A field of `Options` with its words and bounds; not `configurable` ones can be given in code only."""
    return field(
        default=default, metadata={"doc": doc, "unit": unit, "low": low, "high": high, "configurable": configurable}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a consumer polls, works, keeps leases, acknowledges and stops. Seconds and plain numbers throughout."""

    # Working
    concurrency: int = _option(20, "Handlers at work at once.", low=1, high=120_000)
    dispatch: Dispatch = _option(
        "semaphore",
        "How coroutine handlers are run: 'semaphore' starts a task for each message, 'pool' keeps workers, hires and "
        "lets them go with the load, and reuses them.",
    )
    prefetch: int | None = _option(
        None,
        "Messages that may wait here beyond those at work; unset, the throttler finds how many keep handlers fed.",
        low=0,
        high=120_000,
    )
    idle_timeout: float = _option(
        10.0, "Idle time after which a pool lets a worker go, one by one.", unit="s", low=0.01
    )
    threads: int | None = _option(
        None, "Threads that run `def` handlers; unset, as many as `concurrency`, at most 32.", low=1, high=1024
    )
    thread_queue_depth: int = _option(
        10, "Messages that may stand behind each busy thread; idle threads take them over.", low=0, high=10_000
    )
    handler_timeout: float | None = _option(
        None,
        "Time a handler may take before it is ended (coroutines) or given up (threads) and its message retried; "
        "unset, no limit.",
        unit="s",
        low=0.001,
        high=43_200,
    )
    middleware: Sequence[Middleware] = _option(
        (),
        "Functions around the handler, outermost first: `m(message, call_next)`, of the same kind as the handler.",
        configurable=False,
    )

    # Polling
    receive_batch: int = _option(10, "Messages asked for in one receive.", low=1, high=10)
    wait_time: float = _option(20.0, "Long-poll wait of a receive.", unit="s", low=0, high=20)
    pollers: int | None = _option(
        None, "Receive calls in flight at once, fixed; unset, scaled with the load from one to `max_pollers`.", low=1
    )
    max_pollers: int = _option(10, "The most pollers when they are scaled.", low=1, high=1000)
    throttle: bool = _option(
        True,
        "Let the throttler set pollers, pauses and prefetch from what it measures; off: all pollers, no pauses, "
        "no prefetch beyond `prefetch`.",
    )
    longest_pause: float = _option(
        0.05,
        "The longest a poller waits for its next batch to fill, and the most that this adds to a message's latency; "
        "0: the least latency, at up to one receive a message.",
        unit="s",
        low=0,
        high=60,
    )
    max_in_flight: int = _option(
        120_000, "Messages in hand at once, acks not yet confirmed included.", low=1, high=120_000
    )
    message_attributes: Sequence[str] = _option(
        ("All",), "Message attributes to fetch: names, 'All', or a prefix such as 'bar.*'."
    )

    # The lease
    visibility_timeout: int = _option(
        30,
        "Seconds a received message stays hidden from others; extended as long as work lasts, so keep it short: "
        "after a crash the message is back this soon.",
        unit="s",
        low=1,
        high=43_200,
    )
    adaptive_visibility: bool = _option(
        False, "Raise the visibility timeout with the median handler time, so that most messages need no extension."
    )
    heartbeat_interval: float | None = _option(
        None, "Age of a lease at which it is extended; unset, half the visibility timeout.", unit="s", low=0.05
    )
    extend_interval: float = _option(
        0.1, "Time the visibility extender waits for a batch of ten to fill.", unit="s", low=0, high=60
    )
    on_lease_lost: LeaseLossPolicy = _option(
        "tell", "What becomes of a handler whose lease is lost: 'tell' sets `message.lease_lost`, 'cancel' ends it too."
    )
    remember_finished: int = _option(
        10_000,
        "Message ids of finished work to remember (at times twice as many), so that a redelivery is deleted without "
        "running; 0: off.",
        low=0,
        high=10_000_000,
    )

    # Acknowledging
    ack_batch_size: int = _option(10, "Deletes gathered in one call; 1 deletes each at once.", low=1, high=10)
    ack_interval: float = _option(
        0.5, "The longest a finished message waits for its delete batch to fill.", unit="s", low=0, high=60
    )
    retry_base: float = _option(2.0, "Back-off after the first failure, doubling with each.", unit="s", low=0)
    retry_maximum: float = _option(900.0, "The longest back-off.", unit="s", low=0, high=43_200)
    on_reject: RejectPolicy = _option(
        "dead-letter",
        "What becomes of a message that can never be processed: 'dead-letter' copies it with its attributes to the "
        "dead-letter queue and deletes it (without such a queue: as 'redrive'); 'redrive' backs it off and leaves it "
        "to the queue's redrive policy.",
    )
    dead_letter_queue: str | None = _option(
        None, "Where rejected messages are copied (name, URL or ARN); unset, the queue's redrive policy says."
    )

    # Stopping
    drain_timeout: float = _option(
        20.0, "Time running handlers get at a stop before they are cancelled and released.", unit="s", low=0
    )
    poll_grace: float = _option(
        1.0,
        "Time polls in flight get at a stop: SQS may have handed them messages already, which are then released.",
        unit="s",
        low=0,
        high=30,
    )
    flush_timeout: float = _option(5.0, "Time the last acks and releases get at a stop.", unit="s", low=0.1)
    on_unstarted: Unstarted = _option(
        "release",
        "What becomes of received, unstarted messages at a stop: 'release' gives them back at once (which counts as a "
        "receive), 'run' runs them.",
    )

    # Health
    unhealthy_after: float = _option(
        60.0, "Time without one good receive after which the consumer is unhealthy.", unit="s", low=1
    )
    exit_on_unusable: bool = _option(
        False, "Stop the consumer when, while running, its queue is gone or access to it is denied."
    )

    # Where and as whom
    region: str | None = _option(None, "AWS region; unset, from the queue's URL or ARN, the environment or profile.")
    endpoint_url: str | None = _option(None, "Endpoint of SQS; unset, from AWS_ENDPOINT_URL_SQS or the region.")
    profile: str | None = _option(None, "AWS profile of the shared configuration.")
    credentials: Credentials | CredentialsProvider | None = _option(
        None,
        "AWS credentials (`leasekeeper.api.Credentials`), or a function, plain or async, that returns some; unset, "
        "those that boto3 would find.",
        configurable=False,
    )
    http: HttpClient = _option("native", "HTTP client: 'native', 'aiohttp' (an extra), or a factory of transports.")
    verify_md5: bool = _option(True, "Verify the MD5 of bodies and attributes.")
    client: SqsApi | None = _option(None, "An SQS client of your own (`leasekeeper.api.SqsApi`).", configurable=False)
    logger: logging.Logger = _option(logging.getLogger("leasekeeper"), "The logger.", configurable=False)

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            _check(each, getattr(self, each.name))
        _check_together(self)

    @property
    def beat_after(self) -> float:
        """Age in seconds at which a lease is extended."""
        return self.heartbeat_interval or self.visibility_timeout / 2

    @property
    def thread_count(self) -> int:
        """Threads that run `def` handlers."""
        return self.threads or min(self.concurrency, 32)


class OptionValues(TypedDict, total=False):
    """The keyword arguments of `Consumer` and of `Leasekeeper.consumer`: the fields of `Options`."""

    concurrency: int
    dispatch: Dispatch
    prefetch: int | None
    idle_timeout: float
    threads: int | None
    thread_queue_depth: int
    handler_timeout: float | None
    middleware: Sequence[Middleware]
    receive_batch: int
    wait_time: float
    pollers: int | None
    max_pollers: int
    throttle: bool
    longest_pause: float
    max_in_flight: int
    message_attributes: Sequence[str]
    visibility_timeout: int
    adaptive_visibility: bool
    heartbeat_interval: float | None
    extend_interval: float
    on_lease_lost: LeaseLossPolicy
    remember_finished: int
    ack_batch_size: int
    ack_interval: float
    retry_base: float
    retry_maximum: float
    on_reject: RejectPolicy
    dead_letter_queue: str | None
    drain_timeout: float
    poll_grace: float
    flush_timeout: float
    on_unstarted: Unstarted
    unhealthy_after: float
    exit_on_unusable: bool
    region: str | None
    endpoint_url: str | None
    profile: str | None
    credentials: Credentials | CredentialsProvider | None
    http: HttpClient
    verify_md5: bool
    client: SqsApi | None
    logger: logging.Logger


CHOICES: Mapping[str, tuple[str, ...]] = {
    "dispatch": ("semaphore", "pool"),
    "on_reject": ("dead-letter", "redrive"),
    "on_unstarted": ("release", "run"),
    "on_lease_lost": ("tell", "cancel"),
}
_INTEGERS = ("int", "int | None")
_NUMBERS = ("float", "float | None", *_INTEGERS)


def make_options(values: Mapping[str, Any]) -> Options:
    """Options from keyword values; an unknown name is refused with the nearest known one."""
    known = {each.name for each in dataclasses.fields(Options)}
    for name in values:
        if name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"
            raise ConfigurationError(f"unknown option {name!r}{hint}")
    return Options(**values)


def _check(option: dataclasses.Field[Any], value: Any) -> None:
    kind, low, high = str(option.type), option.metadata["low"], option.metadata["high"]
    if value is None and "None" in kind:
        return
    if kind in _NUMBERS:
        allowed = (int,) if kind in _INTEGERS else (int, float)
        if not isinstance(value, allowed) or isinstance(value, bool) or value != value:  # noqa: PLR0124 - NaN
            word = "a whole number" if kind in _INTEGERS else "a number"
            raise ConfigurationError(f"{option.name}={value!r}: must be {word}{_bounds(low, high, option)}")
        if (low is not None and value < low) or (high is not None and value > high):
            raise ConfigurationError(f"{option.name}={value!r}: must be{_bounds(low, high, option)}")
    elif kind == "bool" and not isinstance(value, bool):
        raise ConfigurationError(f"{option.name}={value!r}: must be True or False")
    elif option.name in CHOICES and value not in CHOICES[option.name]:
        raise ConfigurationError(
            f"{option.name}={value!r}: must be one of {', '.join(map(repr, CHOICES[option.name]))}"
        )
    elif kind == "str | None" and not isinstance(value, str):
        raise ConfigurationError(f"{option.name}={value!r}: must be text")
    elif option.name == "message_attributes" and (
        isinstance(value, str) or not isinstance(value, Iterable) or not all(isinstance(each, str) for each in value)
    ):
        raise ConfigurationError(f"message_attributes={value!r}: must be a sequence of names, e.g. ('All',)")
    elif option.name == "middleware" and not isinstance(value, Sequence):
        name = getattr(value, "__name__", "timed")
        raise ConfigurationError(f"middleware={value!r}: must be a sequence of functions, e.g. [{name}]")


def _bounds(low: float | None, high: float | None, option: dataclasses.Field[Any]) -> str:
    unit = {"s": " seconds"}.get(option.metadata["unit"], "")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}{unit}"
    return f" {low:g}{unit} or more" if low is not None else unit


def _check_together(options: Options) -> None:
    """Refuse what cannot work in combination."""
    # A lease is counted up to a fifth shorter than it is, and the extension has to get there.
    if options.beat_after > options.visibility_timeout * 0.75:
        raise ConfigurationError(
            f"heartbeat_interval={options.heartbeat_interval!r} with visibility_timeout={options.visibility_timeout}: "
            "the lease would end before its first extension; make the interval at most half of the timeout"
        )
    if options.pollers is not None and options.pollers > options.concurrency + (
        options.prefetch or options.concurrency
    ):
        raise ConfigurationError(
            f"pollers={options.pollers} with concurrency={options.concurrency}: each poll needs room for a message; "
            "raise concurrency or prefetch, or lower pollers"
        )
    if options.threads is not None and options.concurrency > options.threads * (1 + options.thread_queue_depth):
        raise ConfigurationError(
            f"concurrency={options.concurrency} with threads={options.threads} and thread_queue_depth="
            f"{options.thread_queue_depth}: {options.threads} threads hold at most "
            f"{options.threads * (1 + options.thread_queue_depth)} messages; raise threads or lower concurrency"
        )
    if options.retry_base > options.retry_maximum:
        raise ConfigurationError(
            f"retry_base={options.retry_base!r} with retry_maximum={options.retry_maximum!r}: the first back-off would "
            "be longer than the longest"
        )
    if options.ack_interval >= options.visibility_timeout:
        raise ConfigurationError(
            f"ack_interval={options.ack_interval!r} with visibility_timeout={options.visibility_timeout}: finished "
            "messages would wait for their delete until their lease ends; use a second or less"
        )
    if options.max_in_flight < options.concurrency:
        raise ConfigurationError(
            f"max_in_flight={options.max_in_flight} with concurrency={options.concurrency}: handlers could never all "
            "be at work; raise max_in_flight or lower concurrency"
        )
    if options.dead_letter_queue is not None and options.on_reject == "redrive":
        raise ConfigurationError(
            f"dead_letter_queue={options.dead_letter_queue!r} with on_reject='redrive': rejected messages would never "
            "be copied there; leave one of them out"
        )
