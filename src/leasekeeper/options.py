"""The options of a consumer: one schema for code, flags, environment, TOML, editors and the reference page.

`Options` is frozen and checked when it is made, by `option_checks` and `option_rules`. Each field carries its section,
text, unit and bounds.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from leasekeeper.api import Credentials, CredentialsProvider, SqsApi, TransportFactory
from leasekeeper.batch import Batch
from leasekeeper.envelopes.choosing import Envelope, check_envelope, parts_of
from leasekeeper.errors import Mistakes
from leasekeeper.message import Message
from leasekeeper.option_checks import check_value
from leasekeeper.option_fields import section
from leasekeeper.option_rules import clashes
from leasekeeper.payload import PayloadsOption  # noqa: TC001 - as below
from leasekeeper.retries import RetryPolicy  # noqa: TC001 - the annotations of options are read
from leasekeeper.share import Share  # noqa: TC001 - as above

Dispatch = Literal["semaphore", "pool"]
LaneKind = Literal["processes"]
StartMethod = Literal["forkserver", "spawn"]
RejectPolicy = Literal["dead-letter", "redrive"]
FifoAck = Literal["batched", "confirmed"]
ExhaustedPolicy = Literal["dead-letter", "halt"]
UnmatchedPolicy = Literal["reject", "retry", "ack"]
Unstarted = Literal["release", "run"]
LeaseLossPolicy = Literal["tell", "cancel"]
HttpClient = Literal["native", "aiohttp"] | TransportFactory
BatchErrorPolicy = Literal["retry", "halves", "singly"]
BatchGroups = Literal["one", "several"]
BatchKey = Callable[[Message[str]], Hashable]


@runtime_checkable
class MiddlewareMaker(Protocol):
    """Middleware that is made for each handler, so that one object serves handlers of both kinds, e.g. `Tracing`.

    With a method `subscribe_to(channel)` it also hears the events of its consumers.
    """

    def for_handler(self, name: str, *, is_coroutine: bool, timeout: float | None) -> Callable[[Any, Any], Any]:
        """What is called around one handler.

        Args:
            name: the handler's name.
            is_coroutine: whether the result of a call is awaited.
            timeout: seconds that the handler may take; None: no limit.
        """
        ...


Middleware = (
    Callable[[Message[Any], Callable[[Message[Any]], Any]], Any]
    | Callable[[Batch[Any], Callable[[Batch[Any]], Any]], Any]
    | MiddlewareMaker
)
"""`(message, call_next)`: a coroutine function around coroutine handlers, a plain one around `def` handlers. Around a
batch handler it takes the batch in place of the message."""


_handlers = section("Handlers")
_processes = section("Processes")
_batches = section("Batches")
_limits = section("Limits")
_polling = section("Polling")
_lease = section("Lease")
_settling = section("Acknowledging")
_fifo = section("FIFO queues")
_stopping = section("Stopping")
_health = section("Health")
_payloads = section("Payloads")
_connection = section("Connection")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a consumer polls, runs handlers, keeps leases, acknowledges and stops. All times are in seconds."""

    concurrency: int = _handlers(
        20,
        "Handlers that run at the same time. Each runs one message, or with `batch` one batch: then this counts "
        "batches, and `concurrency` times `batch` messages may be at work.",
        low=1,
        high=120_000,
    )
    dispatch: Dispatch = _handlers(
        "semaphore",
        "How coroutine handlers run: 'semaphore' starts a task for each message; 'pool' keeps workers and reuses them, "
        "with more or fewer of them as the load changes.",
        choices=get_args(Dispatch),
    )
    prefetch: int | None = _handlers(
        None,
        "Messages that may wait in this process while all handlers are busy. Unset: the throttler sets it so that "
        "handlers do not wait for the next receive.",
        low=0,
        high=120_000,
    )
    idle_timeout: float = _handlers(
        10.0, "Idle time after which a pool releases a worker, one at a time.", unit="s", low=0.01, high=86_400
    )
    threads: int | None = _handlers(
        None, "Threads that run `def` handlers. Unset: as many as `concurrency`, at most 32.", low=1, high=1024
    )
    thread_queue_depth: int = _handlers(
        10, "Messages that may wait behind each busy thread. Idle threads take them over.", low=0, high=10_000
    )
    switch_interval: float = _handlers(
        0.001,
        "How often Python lets busy threads take turns, in the whole process, while `def` handlers have more than 4 "
        "threads (`sys.setswitchinterval`; the old value returns at the end). Python's default, 0.005, delays the "
        "engine by half a second behind 32 threads that compute; 0.001 costs these 8% of their work. Not changed if "
        "the program has set another value.",
        unit="s",
        low=0.0001,
        high=1,
    )
    handler_timeout: float | None = _handlers(
        None,
        "Time a handler may take. After it, a coroutine is cancelled, a thread is abandoned, and the message is "
        "retried. Unset: no limit.",
        unit="s",
        low=0.001,
        high=43_200,
    )
    middleware: Sequence[Middleware] = _handlers(
        (),
        "Functions around the handler, outermost first: `m(message, call_next)`. They are coroutine functions if the "
        "handler is one.",
        configurable=False,
    )
    idempotency: MiddlewareMaker | None = _handlers(
        None,
        "Do the work of a message once, also when it comes twice: `Idempotency(store, key=...)` of "
        "`leasekeeper.idempotency`. Unset: the handler runs for every delivery.",
        configurable=False,
    )
    envelope: Envelope | None = _handlers(
        None,
        "What is around the payloads: it is opened, the handler gets the payload, and `message.envelopes` the rest. "
        "'sns', 'eventbridge', 's3', 'cloudevents', 'auto' (whatever is recognised, up to four inside of each other), "
        "your own decoder (`leasekeeper.envelopes.EnvelopeDecoder`), or a sequence of these, the outermost first. "
        "Unset: the body is the payload, and a warning is logged if it looks like an envelope; empty: without the "
        "warning.",
    )
    log_repeats: int | None = _handlers(
        10,
        "Log records of one kind that are written in a minute: the same sentence about the same error. One record more "
        "says how many were left out. Unset: all are written.",
        low=1,
        high=1_000_000,
    )
    log_bodies: bool = _handlers(
        False,
        "Quote a body that cannot be decoded (its first 80 characters, and single values) in the log and in the reason "
        "of its rejection. Off: only its length and what is wrong with it, because bodies may be personal data.",
    )

    lane: LaneKind | None = _processes(
        None,
        "Where handlers run. 'processes': in worker processes, one message or batch at a time in each, for handlers "
        "that compute, crash, or leak memory. Functions, middleware and the lifespan must be importable: each worker "
        "imports them and enters the lifespan (called with None). Unset: `async def` in tasks, `def` in threads.",
        choices=get_args(LaneKind),
    )
    workers: int | None = _processes(
        None, "Worker processes. Unset: as many as there are CPUs for this process.", low=1, high=1024
    )
    max_tasks: int | None = _processes(
        None,
        "Messages after which a worker process is replaced, a tenth more or less. Unset: no limit.",
        low=1,
        high=1_000_000_000,
    )
    max_age: float | None = _processes(
        None,
        "Age at which a worker process is replaced after its message, a tenth more or less. Unset: no limit.",
        unit="s",
        low=1,
        high=31_536_000,
    )
    max_rss: int | None = _processes(
        None,
        "Bytes of memory above which a worker process is replaced after its message. Unset: no limit.",
        low=1_000_000,
        high=1_000_000_000_000_000,
    )
    kill_rss: int | None = _processes(
        None,
        "Bytes of memory above which a worker process is ended in the middle of a message; looked at each "
        "second. Unset: no limit.",
        low=1_000_000,
        high=1_000_000_000_000_000,
    )
    kill_grace: float = _processes(
        2.0,
        "Time between SIGTERM and SIGKILL for a worker process whose handler runs longer than `handler_timeout`.",
        unit="s",
        low=0,
        high=3600,
    )
    start_method: StartMethod | None = _processes(
        None,
        "How worker processes are started: 'forkserver' (the default on Linux) forks them from a clean process "
        "that has imported `preload`; 'spawn' starts Python for each.",
        choices=get_args(StartMethod),
    )
    preload: Sequence[str] = _processes(
        (),
        "Modules that the fork server imports once for all worker processes, such as 'shop.models'. They must "
        "open no connections and start no threads.",
    )

    batch: int | None = _batches(
        None,
        "The most messages of a batch, for a handler that takes a `Batch[T]` or a `list[T]`: larger batches than the "
        "ten of one receive are collected from several. `concurrency` then counts batches. Unset: one message a call.",
        low=1,
        high=10_000,
    )
    batch_wait: float = _batches(
        1.0,
        "The longest time the oldest message of a batch waits for others. Leases are extended meanwhile. While all "
        "handlers are busy, a batch goes on filling.",
        unit="s",
        low=0,
        high=300,
    )
    batch_bytes: int | None = _batches(
        None,
        "The most bytes of bodies in a batch. A message with a longer body is a batch alone. Unset: 16,000,000.",
        low=1,
        high=1_000_000_000,
    )
    on_batch_error: BatchErrorPolicy = _batches(
        "retry",
        "What follows for the messages that a batch handler has not named when it raises: 'retry' retries them; "
        "'halves' calls it again at once with each half of them, and so on, so that only the guilty messages fail; "
        "'singly' calls it again with each of them alone. These calls use the same leases and cost no receive; the "
        "handler must be idempotent for each message.",
        choices=get_args(BatchErrorPolicy),
    )
    batch_groups: BatchGroups = _batches(
        "one",
        "Message groups in a batch of a FIFO queue: 'one' makes batches of up to 10 messages of one group; 'several' "
        "collects larger ones from all groups. Either way the order within each group is kept.",
        choices=get_args(BatchGroups),
    )
    batch_key: BatchKey | None = _batches(
        None,
        "A function of a message (its body as text) that returns a key, such as a tenant or a table: a batch has "
        "messages of one key only. It runs on the engine's thread, so it must be quick and must not block.",
        configurable=False,
    )

    rate: float | None = _limits(
        None,
        "Messages that may start in a second, on average. None is received that could not start within about "
        "0.25 s, so the limit spends no receive counts. Unset: no limit.",
        low=0.0001,
        high=100_000,
    )
    burst: int | None = _limits(
        None,
        "Messages that may start at once after a while in which fewer did than `rate` allows: in any t seconds at most "
        "`burst` + `rate` x t start. Unset: as many as `rate` allows in a second, at least 1.",
        low=1,
        high=100_000,
    )

    fair: bool = _limits(
        False,
        "Let the message groups (tenants) of a standard queue take turns: a message that is here starts before the "
        "second of any other group, however many of those wait. Messages without a group are one group. Up to 40 "
        "messages wait here to choose from, or `prefetch`.",
    )
    group_concurrency: int | None = _limits(
        None,
        "Handlers that one message group of a standard queue may have at once, in this process. Up to 100 messages "
        "wait here for their groups and take no handler from others. It includes `fair`. Unset: no limit.",
        low=1,
        high=120_000,
    )
    share: Share | None = _limits(
        None,
        "Handlers that several consumers of an app have together: `Share(concurrency=50)`. Unset `concurrency` is then "
        "that of the share; a lower one limits this consumer. Nothing is received for which no handler is free.",
        configurable=False,
    )
    weight: int = _limits(
        1,
        "The part of this consumer in its share: the handlers' time is divided by weight among the consumers of one "
        "`priority` whose queues have a backlog.",
        low=1,
        high=1000,
    )
    priority: int = _limits(
        1,
        "The turn of this consumer in its share: while the queue of a lower number has a backlog, those of higher "
        "numbers are not polled.",
        low=1,
        high=1000,
    )

    receive_batch: int = _polling(10, "Messages requested in one receive.", low=1, high=10)
    wait_time: float = _polling(20.0, "Long-poll wait of a receive.", unit="s", low=0, high=20)
    pollers: int | None = _polling(
        None,
        "A fixed number of concurrent receive calls. Unset: from one to `max_pollers`, as the load needs.",
        low=1,
        high=1000,
    )
    max_pollers: int = _polling(10, "The most pollers, when their number follows the load.", low=1, high=1000)
    throttle: bool = _polling(
        True,
        "Set pollers, pauses and prefetch from what is measured. Off: all pollers, no pauses, and no prefetch unless "
        "`prefetch` is set.",
    )
    longest_pause: float = _polling(
        0.0,
        "The longest time a poller waits so that its next batch fills, and the most this adds to a message's latency. "
        "0: the least latency, with about one receive per message up to 100 messages a second. 0.05: less than half of "
        "these receives.",
        unit="s",
        low=0,
        high=60,
    )
    max_in_flight: int = _polling(
        120_000, "Messages held at the same time, from receive to confirmed delete.", low=1, high=120_000
    )
    message_attributes: Sequence[str] = _polling(
        ("All",),
        "Message attributes to fetch: names, 'All', or a prefix such as 'bar.*'. All are fetched if rejected messages "
        "may be copied to a dead-letter queue, because the copy keeps them.",
    )

    visibility_timeout: int = _lease(
        30,
        "Time for which SQS hides a received message. Leasekeeper extends it while the message is held, so keep it "
        "short: after a crash the message returns this soon.",
        unit="s",
        low=1,
        high=43_200,
    )
    adaptive_visibility: bool = _lease(
        False, "Raise the visibility timeout with the median handler time, so that most messages need no extension."
    )
    heartbeat_interval: float | None = _lease(
        None,
        "Age of a lease at which it is extended. Unset: half the visibility timeout.",
        unit="s",
        low=0.05,
        high=32_400,
    )
    extend_interval: float = _lease(
        0.1, "Time that visibility changes wait for a batch of ten to fill.", unit="s", low=0, high=60
    )
    keeper: bool = _lease(
        False,
        "Start a process beside this one that extends the leases while this one cannot (threads that compute, a C call "
        "that keeps the GIL, a stopped process), and that settles what it held if it dies: finished messages are "
        "deleted, waiting ones visible at once, running ones after a back-off. One for all consumers of a program; "
        "about 20 MiB. Under `leasekeeper run` the supervisor does that unless `--no-keeper` is given. "
        "Linux only; needs the built-in HTTP client.",
    )
    keep_for: float = _lease(
        300.0,
        "Time for which the keeper extends leases without a sign of life of the consumer. After it the leases end, and "
        "others receive the messages.",
        unit="s",
        low=1,
        high=43_200,
    )
    on_lease_lost: LeaseLossPolicy = _lease(
        "tell",
        "What happens to a handler when its lease is lost: 'tell' sets `message.lease_lost`; 'cancel' also cancels the "
        "handler.",
        choices=get_args(LeaseLossPolicy),
    )
    remember_finished: int = _lease(
        10_000,
        "Ids of finished messages to remember (at times twice as many), so that a known duplicate is deleted without "
        "running. 0: off.",
        low=0,
        high=10_000_000,
    )

    ack_batch_size: int = _settling(10, "Deletes sent in one call. 1: each delete is sent at once.", low=1, high=10)
    ack_interval: float = _settling(
        0.5, "The longest time a finished message waits for its delete batch to fill.", unit="s", low=0, high=60
    )
    retry: RetryPolicy | None = _settling(
        None,
        "How failed messages are retried: `Exponential`, `Linear`, `Table`, `Retries` with rules by kind of error and "
        "immediate tries, or a function of `(message, attempt, error)` that returns seconds, `Retry` or `Reject`. "
        "Unset: `Exponential(retry_base, maximum=retry_maximum)`.",
        configurable=False,
    )
    retry_base: float = _settling(
        2.0, "Back-off after the first failure. It doubles with each attempt.", unit="s", low=0, high=43_200
    )
    retry_maximum: float = _settling(900.0, "The longest back-off.", unit="s", low=0, high=43_200)
    max_attempts: int | None = _settling(
        None,
        "The attempt after which a failed message is not tried again: it goes the way of a rejected one (`on_reject`). "
        "Where no copy can be made it is hidden for the longest back-off, counted as exhausted, and never deleted. "
        "Unset: only the queue's redrive policy limits the attempts.",
        low=1,
        high=1_000_000,
    )
    on_reject: RejectPolicy = _settling(
        "dead-letter",
        "What happens to a rejected message: 'dead-letter' copies it with its attributes to the dead-letter queue, "
        "then deletes it (this needs sqs:SendMessage; without such a queue it acts as 'redrive'); 'redrive' hides it "
        "for the longest back-off and leaves it to the queue's redrive policy.",
        choices=get_args(RejectPolicy),
    )
    on_unmatched: UnmatchedPolicy = _settling(
        "reject",
        "What happens to a message that none of a queue's several handlers takes: 'reject' follows `on_reject`; "
        "'retry' hides it with back-off, for other consumers that know it; 'ack' deletes it, with a warning.",
        choices=get_args(UnmatchedPolicy),
    )
    dead_letter_queue: str | None = _settling(
        None, "Where rejected messages are copied: name, URL or ARN. Unset: the queue of the redrive policy."
    )

    fifo_ack: FifoAck = _fifo(
        "batched",
        "When the next message of a group starts: 'batched' when the handler of the one before has returned, so "
        "deletes go ten to a call; 'confirmed' when its delete is confirmed, which costs a call per message and, with "
        "few busy groups, a third of the throughput. A crash repeats the finished messages of a group that were not "
        "deleted yet, in order: at most ten, or one.",
        choices=get_args(FifoAck),
    )
    on_exhausted: ExhaustedPolicy = _fifo(
        "dead-letter",
        "What happens to the first message of a group when it has used up its attempts: 'dead-letter' copies it to "
        "the dead-letter queue, and its group goes on; 'halt' keeps its group waiting and tries it again after each "
        "longest back-off (this needs a queue without a redrive policy).",
        choices=get_args(ExhaustedPolicy),
    )
    local_retry_limit: float = _fifo(
        300.0,
        "The longest back-off that a message without others behind it waits for in this process, under its lease. "
        "After a longer one it comes from the queue. With others behind it a message always waits here, because they "
        "would be given back too and their receives counted.",
        unit="s",
        low=0,
        high=43_200,
    )

    drain_timeout: float = _stopping(
        20.0,
        "Time that running handlers get at a stop. After it they are cancelled and their messages released.",
        unit="s",
        low=0,
        high=43_200,
    )
    poll_grace: float = _stopping(
        1.0,
        "Time that open polls get at a stop, or longer as long as handlers run: SQS may have sent messages already, "
        "which are then released.",
        unit="s",
        low=0,
        high=30,
    )
    flush_timeout: float = _stopping(
        5.0, "Time that the last deletes and releases get at a stop.", unit="s", low=0.1, high=3600
    )
    lifespan_timeout: float = _stopping(
        10.0,
        "Time that the lifespan gets to close, after the last acks. After it the lifespan is cancelled.",
        unit="s",
        low=0.1,
        high=3600,
    )
    on_unstarted: Unstarted = _stopping(
        "release",
        "What happens at a stop to messages that have not started: 'release' makes them visible at once (SQS has "
        "counted their receive); 'run' runs them.",
        choices=get_args(Unstarted),
    )

    ecs_protection: bool = _stopping(
        False,
        "Ask Amazon ECS to spare this task from scale-in and deployments while handlers run that outlast "
        "`drain_timeout`, by their median or by now. It needs ecs:UpdateTaskProtection; outside ECS it does nothing.",
    )

    unhealthy_after: float = _health(
        60.0,
        "Time without a successful receive after which the consumer is unhealthy; at least `wait_time` plus 5 s.",
        unit="s",
        low=1,
        high=86_400,
    )
    exit_on_unusable: bool = _health(
        False, "Stop the consumer if its queue is deleted or access to it is denied while it runs."
    )

    payloads: PayloadsOption | None = _payloads(
        None,
        "Fetch payloads that are too large for a message from S3, where the extended clients of AWS put them: "
        "`S3Payloads(bucket)` of `leasekeeper.payloads`. Senders of handlers write them there. Unset: bodies are as "
        "SQS sent them.",
        configurable=False,
    )
    payload_memory: int = _payloads(
        268_435_456,
        "Bytes of payloads that are here at the same time, fetched or being fetched (these count twice). A larger one "
        "is let in alone. Another `concurrency` at run time does not change it.",
        low=1,
        high=1_000_000_000_000_000,
    )
    max_payload: int = _payloads(
        67_108_864,
        "Bytes of the largest payload that is fetched as a whole. Messages with larger ones are rejected, unless the "
        "handler takes a `Payload`, which it reads in pieces.",
        low=1,
        high=1_000_000_000_000,
    )

    region: str | None = _connection(
        None, "AWS region. Unset: the region of the queue's URL or ARN, then the environment, then the profile."
    )
    endpoint_url: str | None = _connection(
        None, "Endpoint of SQS. Unset: AWS_ENDPOINT_URL_SQS, else the endpoint of the region."
    )
    wait_for_endpoint: float = _connection(
        0.0,
        "Time that a start waits for an endpoint that is not up yet, as when containers start together; 0: a start "
        "fails at once.",
        unit="s",
        low=0,
        high=86_400,
    )
    profile: str | None = _connection(None, "AWS profile of the shared configuration.")
    credentials: Credentials | CredentialsProvider | None = _connection(
        None,
        "AWS credentials (`leasekeeper.api.Credentials`), or a function, plain or async, that returns them. Unset: the "
        "credentials that boto3 would find.",
        configurable=False,
    )
    http: HttpClient = _connection(
        "native", "HTTP client: 'native', 'aiohttp' (needs aiohttp), or a function that makes transports."
    )
    verify_md5: bool = _connection(
        True,
        "Verify the MD5 of bodies and attributes. Bodies over 64 KiB are hashed only over plain HTTP to another "
        "machine: TLS protects the others already, and the hash would double the CPU that they cost.",
    )
    client: SqsApi | None = _connection(
        None, "Your own SQS client, instead of the built-in one (`leasekeeper.api.SqsApi`).", configurable=False
    )
    logger: logging.Logger = _connection(
        logging.getLogger("leasekeeper"), "The logger of this consumer.", configurable=False
    )

    def __post_init__(self) -> None:
        with Mistakes() as mistakes:
            for name in FIELDS:
                mistakes.noted(check_option, name, getattr(self, name))
        if self.lane == "processes":
            object.__setattr__(self, "concurrency", self.worker_count)  # it is frozen for everyone else
        with Mistakes() as mistakes:
            mistakes.add(clashes(self))

    @property
    def extend_after(self) -> float:
        """Age in seconds at which a lease is extended."""
        return self.heartbeat_interval or self.visibility_timeout / 2

    @property
    def fetched_attributes(self) -> Sequence[str]:
        """Message attributes to ask for: also those that mark a message whose payload is elsewhere."""
        markers = () if self.payloads is None else ("ExtendedPayloadSize", "SQSLargePayloadSize")
        return (*self.message_attributes, *(each for each in markers if each not in self.message_attributes))

    @property
    def slots(self) -> int:
        """Messages that may be at work at once: one, or a batch, for each of `concurrency`; two for each process."""
        if self.lane == "processes" and self.batch is None:
            return 2 * self.worker_count  # one runs, and one waits in the worker
        return self.concurrency * (self.batch or 1)

    @property
    def worker_count(self) -> int:
        """Worker processes, with `lane='processes'`."""
        return self.workers or min(self.concurrency, _cpus())

    @property
    def most_batch_bytes(self) -> int:
        """Bytes of bodies in a batch at most."""
        return self.batch_bytes or 16_000_000

    @property
    def listeners(self) -> tuple[object, ...]:
        """What may want to hear events: middleware, and decoders of envelopes."""
        return (*self.middleware, *(() if self.envelope is None else parts_of(self.envelope)))

    @property
    def thread_count(self) -> int:
        """Threads that run `def` handlers."""
        return self.threads or min(self.concurrency, 32)


FIELDS = {option.name: option for option in dataclasses.fields(Options)}
"""The options by name, in the order of the reference."""


def check_option(name: str, value: Any) -> None:
    """Refuse a value that is wrong whatever the others are."""
    if name == "envelope":
        check_envelope(value)
    else:
        check_value(FIELDS[name], value)


def _cpus() -> int:
    """CPUs that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
