"""The state that the admin surface gives: what the page, `leasekeeper top` and a fleet read, as typed dictionaries.

Made once a second by `leasekeeper.admin.watch`. Every value can be written as JSON. Times are seconds since 1970,
durations seconds. It holds no message's body.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Backlog(TypedDict):
    """What SQS says of the queue, and what it means at the present rate. SQS counts approximately, and late."""

    visible: int
    """Messages that can be received."""
    in_flight: int
    """Messages that consumers hold: these, and all others."""
    delayed: int
    """Messages that become visible later."""
    dead_letters: int | None
    """Messages in the dead-letter queue; None: there is none, or it cannot be read."""
    seconds: float | None
    """Seconds that the visible messages need at the measured rate of this consumer; None: no rate is known yet."""
    trend: float | None
    """Messages a second by which the visible ones grow (above 0) or shrink; None before the second answer."""
    asked: float
    """When SQS was asked."""
    outdated: bool
    """Whether receives have come back empty since, although it counted visible messages."""


class Totals(TypedDict):
    """Counts since the start of the consumer."""

    received: int
    done: int
    failed: int
    timed_out: int
    retried: int
    rejected: int
    exhausted: int
    dead_lettered: int
    acked: int
    released: int
    late: int
    lost: int
    unsettled: int
    known_duplicates: int
    extended: int
    calls: int
    """Calls to SQS: receives, deletes, extensions and releases."""
    smallest_margin: float | None
    """Least seconds of lease left at a confirmed delete."""


class FailureGroup(TypedDict):
    """Failures of one exception at one place."""

    type: str
    where: str
    """The innermost line of the handler's own code: `shop.py:12 in ship`."""
    count: int
    """How many, since the surface began to look."""
    first: float
    last: float
    message: str
    """The text of the newest error; what it quotes of the message's body is replaced by `***`."""
    traceback: str
    """The calls that led to the newest one, without values."""
    ids: list[str]
    """Message ids of the newest, newest first, each once."""
    attempts: list[int]
    """The newest attempt that failed at each of them."""


Decision = TypedDict("Decision", {"at": float, "what": str, "from": int | str, "to": int | str, "reason": str})
"""A change of the throttler's: `limit`, `pollers` or `prefetch`; or of the consumer's `state`."""


class LeaseNews(TypedDict):
    """Leases that were extended or lost, or an extension that failed."""

    at: float
    what: str
    """`extended`, `lost`, or `failed`: an extension that is tried again, or given up."""
    count: int
    id: str | None
    """The message id, of a single one."""
    reason: str


class OptionState(TypedDict):
    """An option: its value now and where that comes from."""

    name: str
    value: str
    source: str
    """`default`, `code`, `file`, `environment` or `flag`."""
    place: str
    """Where in words: `--concurrency`, `LEASEKEEPER_CONCURRENCY`, `pyproject.toml [tool.leasekeeper]`; may be empty."""
    default: str
    text: str
    unit: str


InHand = tuple[str, float, float | None, float, int, str | None]
"""A message that is held: state, received at, started at, end of its lease, attempt, message group."""


class Detail(TypedDict):
    """What is given for one consumer only, because it is large."""

    where: str
    """The handler's place in its code: `shop.py:12`."""
    in_hand: dict[str, InHand]
    """By message id, the oldest first; at most 10,000."""
    in_hand_total: int
    failures: list[FailureGroup]
    decisions: list[Decision]
    series: dict[str, list[int]]
    """`limit`, `pollers` and `prefetch` in each of the last 60 seconds, oldest first; shorter after a start."""
    leases: list[LeaseNews]
    options: list[OptionState]


class ConsumerState(TypedDict):
    """A consumer at one moment."""

    queue: str
    handler: str
    fifo: bool
    state: str
    """STARTING, RUNNING, PAUSED, QUIET, DRAINING, UNHEALTHY or STOPPED."""
    reason: str
    """Why, as a sentence; empty when there is nothing to say."""
    blocked: NotRequired[str]
    """What blocks the event loop of its handlers, as a sentence; empty while it is free."""
    seconds: float
    """Since its start."""
    concurrency: int
    visibility_timeout: int
    """Seconds of a lease."""
    running: int
    waiting: int
    acking: int
    limit: int
    """The throttler's limit: messages that may be held, waiting and running."""
    prefetch: int
    """Messages that may wait for a handler."""
    utilisation: float
    """The share of the handlers' time that was used in the last minute, 0 to 1."""
    pollers: list[str]
    """For each: `waiting` for the answer of a receive; or what the last one brought, `full`, `short` or `empty`;
    `paused` before the next, or `failed`."""
    rate_in: float
    """Messages received a second, over the last five seconds."""
    rate_out: float
    """Handlers that ended well a second, over the last five seconds."""
    rate_out_minute: float
    """The same over the last minute; 0 when none has ended well for five seconds and for three times what one takes."""
    failures_per_minute: float
    calls_per_message: float | None
    """Calls to SQS for each finished message, of the last minute; None without one."""
    spark_in: list[float]
    """Messages received in each of the last 60 seconds, oldest first."""
    spark_out: list[float]
    lag_p95: float | None
    """Seconds from sent to received that 95 % of the last 63 first receives had at most; None when no new message was
    received in the last minute."""
    handler_p50: float
    """Seconds that handlers took, of the last 63."""
    handler_p95: float
    lease_margin: float | None
    """Least seconds of lease left now of the messages held; None without one."""
    groups: dict[str, int] | None
    """The message groups of a FIFO queue; None for a standard one."""
    backlog: Backlog | None
    totals: Totals
    detail: NotRequired[Detail]


class Process(TypedDict):
    """A process and its consumers."""

    key: str
    """Names it in a URL: `HOST:PID`."""
    number: NotRequired[int]
    """Its number under a supervisor, which calls it `process 1`; absent without one."""
    host: str
    pid: int
    version: str
    started: float
    """When; 0 of a process that has never answered."""
    state: str
    """As a consumer's, the most urgent of all; or UNREACHABLE."""
    reason: str
    since: float
    """When this state began, or with RUNNING its reason."""
    rss_bytes: int | None
    read_only: bool
    """Whether actions are refused because it has no token."""
    consumers: dict[str, ConsumerState]
    """By the queue's name."""


class QueueState(TypedDict):
    """A queue, with what all processes of the state do together."""

    processes: int
    """Those that consume it."""
    rate_in: float
    rate_out: float
    backlog: Backlog | None
    """The newest that one of them knows; its seconds are at the rate of all."""


class State(TypedDict):
    """What a surface knows: one process, or a fleet."""

    version: str
    now: float
    fleet: bool
    """Whether it asks other surfaces."""
    queues: dict[str, QueueState]
    """By name."""
    processes: dict[str, Process]
