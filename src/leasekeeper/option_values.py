"""The keyword arguments of `Consumer` and of `Leasekeeper.consumer`, with the text that editors show.

Written by `docs/scripts/options_page.py` from the schema in `leasekeeper/options.py`; change that, then run the script.
"""

import logging
from collections.abc import Sequence
from typing import TypedDict

from leasekeeper.api import Credentials, CredentialsProvider, SqsApi
from leasekeeper.envelopes.choosing import Envelope
from leasekeeper.options import (
    BatchErrorPolicy,
    BatchGroups,
    BatchKey,
    Dispatch,
    ExhaustedPolicy,
    FifoAck,
    HttpClient,
    LaneKind,
    LeaseLossPolicy,
    Middleware,
    MiddlewareMaker,
    RejectPolicy,
    StartMethod,
    UnmatchedPolicy,
    Unstarted,
)
from leasekeeper.payload import PayloadsOption
from leasekeeper.retries import RetryPolicy
from leasekeeper.share import Share


class OptionValues(TypedDict, total=False):
    """The fields of `Options`, all optional. All times are in seconds."""

    concurrency: int
    """Handlers that run at the same time. Each runs one message, or with `batch` one batch: then this counts batches,
    and `concurrency` times `batch` messages may be at work.

    Default: 20; 1 to 120,000.
    """

    dispatch: Dispatch
    """How coroutine handlers run: 'semaphore' starts a task for each message; 'pool' keeps workers and reuses them,
    with more or fewer of them as the load changes.

    Default: semaphore; 'semaphore' or 'pool'.
    """

    prefetch: int | None
    """Messages that may wait in this process while all handlers are busy. Unset: the throttler sets it so that handlers
    do not wait for the next receive.

    Default: unset; 0 to 120,000.
    """

    idle_timeout: float
    """Idle time after which a pool releases a worker, one at a time.

    Default: 10 s; 0.01 to 86,400 s.
    """

    threads: int | None
    """Threads that run `def` handlers. Unset: as many as `concurrency`, at most 32.

    Default: unset; 1 to 1,024.
    """

    thread_queue_depth: int
    """Messages that may wait behind each busy thread. Idle threads take them over.

    Default: 10; 0 to 10,000.
    """

    switch_interval: float
    """How often Python lets busy threads take turns, in the whole process, while `def` handlers have more than 4
    threads (`sys.setswitchinterval`; the old value returns at the end). Python's default, 0.005, delays the engine by
    half a second behind 32 threads that compute; 0.001 costs these 8% of their work. Not changed if the program has set
    another value.

    Default: 0.001 s; 0.0001 to 1 s.
    """

    handler_timeout: float | None
    """Time a handler may take. After it, a coroutine is cancelled, a thread is abandoned, and the message is retried.
    Unset: no limit.

    Default: unset; 0.001 to 43,200 s.
    """

    middleware: Sequence[Middleware]
    """Functions around the handler, outermost first: `m(message, call_next)`. They are coroutine functions if the
    handler is one.

    Default: none.
    """

    idempotency: MiddlewareMaker | None
    """Do the work of a message once, also when it comes twice: `Idempotency(store, key=...)` of
    `leasekeeper.idempotency`. Unset: the handler runs for every delivery.

    Default: unset.
    """

    envelope: Envelope | None
    """What is around the payloads: it is opened, the handler gets the payload, and `message.envelopes` the rest. 'sns',
    'eventbridge', 's3', 'cloudevents', 'auto' (whatever is recognised, up to four inside of each other), your own
    decoder (`leasekeeper.envelopes.EnvelopeDecoder`), or a sequence of these, the outermost first. Unset: the body is
    the payload, and a warning is logged if it looks like an envelope; empty: without the warning.

    Default: unset.
    """

    log_repeats: int | None
    """Log records of one kind that are written in a minute: the same sentence about the same error. One record more
    says how many were left out. Unset: all are written.

    Default: 10; 1 to 1,000,000.
    """

    log_bodies: bool
    """Quote a body that cannot be decoded (its first 80 characters, and single values) in the log and in the reason of
    its rejection. Off: only its length and what is wrong with it, because bodies may be personal data.

    Default: False.
    """

    lane: LaneKind | None
    """Where handlers run. 'processes': in worker processes, one message or batch at a time in each, for handlers that
    compute, crash, or leak memory. Functions, middleware and the lifespan must be importable: each worker imports them
    and enters the lifespan (called with None). Unset: `async def` in tasks, `def` in threads.

    Default: unset; 'processes'.
    """

    workers: int | None
    """Worker processes. Unset: as many as there are CPUs for this process.

    Default: unset; 1 to 1,024.
    """

    max_tasks: int | None
    """Messages after which a worker process is replaced, a tenth more or less. Unset: no limit.

    Default: unset; 1 to 1,000,000,000.
    """

    max_age: float | None
    """Age at which a worker process is replaced after its message, a tenth more or less. Unset: no limit.

    Default: unset; 1 to 31,536,000 s.
    """

    max_rss: int | None
    """Bytes of memory above which a worker process is replaced after its message. Unset: no limit.

    Default: unset; 1e+06 to 1e+15.
    """

    kill_rss: int | None
    """Bytes of memory above which a worker process is ended in the middle of a message; looked at each second. Unset:
    no limit.

    Default: unset; 1e+06 to 1e+15.
    """

    kill_grace: float
    """Time between SIGTERM and SIGKILL for a worker process whose handler runs longer than `handler_timeout`.

    Default: 2 s; 0 to 3,600 s.
    """

    start_method: StartMethod | None
    """How worker processes are started: 'forkserver' (the default on Linux) forks them from a clean process that has
    imported `preload`; 'spawn' starts Python for each.

    Default: unset; 'forkserver' or 'spawn'.
    """

    preload: Sequence[str]
    """Modules that the fork server imports once for all worker processes, such as 'shop.models'. They must open no
    connections and start no threads.

    Default: none.
    """

    batch: int | None
    """The most messages of a batch, for a handler that takes a `Batch[T]` or a `list[T]`: larger batches than the ten
    of one receive are collected from several. `concurrency` then counts batches. Unset: one message a call.

    Default: unset; 1 to 10,000.
    """

    batch_wait: float
    """The longest time the oldest message of a batch waits for others. Leases are extended meanwhile. While all
    handlers are busy, a batch goes on filling.

    Default: 1 s; 0 to 300 s.
    """

    batch_bytes: int | None
    """The most bytes of bodies in a batch. A message with a longer body is a batch alone. Unset: 16,000,000.

    Default: unset; 1 to 1,000,000,000.
    """

    on_batch_error: BatchErrorPolicy
    """What follows for the messages that a batch handler has not named when it raises: 'retry' retries them; 'halves'
    calls it again at once with each half of them, and so on, so that only the guilty messages fail; 'singly' calls it
    again with each of them alone. These calls use the same leases and cost no receive; the handler must be idempotent
    for each message.

    Default: retry; 'retry' or 'halves' or 'singly'.
    """

    batch_groups: BatchGroups
    """Message groups in a batch of a FIFO queue: 'one' makes batches of up to 10 messages of one group; 'several'
    collects larger ones from all groups. Either way the order within each group is kept.

    Default: one; 'one' or 'several'.
    """

    batch_key: BatchKey | None
    """A function of a message (its body as text) that returns a key, such as a tenant or a table: a batch has messages
    of one key only. It runs on the engine's thread, so it must be quick and must not block.

    Default: unset.
    """

    rate: float | None
    """Messages that may start in a second, on average. None is received that could not start within about 0.25 s, so
    the limit spends no receive counts. Unset: no limit.

    Default: unset; 0.0001 to 100,000.
    """

    burst: int | None
    """Messages that may start at once after a while in which fewer did than `rate` allows: in any t seconds at most
    `burst` + `rate` x t start. Unset: as many as `rate` allows in a second, at least 1.

    Default: unset; 1 to 100,000.
    """

    fair: bool
    """Let the message groups (tenants) of a standard queue take turns: a message that is here starts before the second
    of any other group, however many of those wait. Messages without a group are one group. Up to 40 messages wait here
    to choose from, or `prefetch`.

    Default: False.
    """

    group_concurrency: int | None
    """Handlers that one message group of a standard queue may have at once, in this process. Up to 100 messages wait
    here for their groups and take no handler from others. It includes `fair`. Unset: no limit.

    Default: unset; 1 to 120,000.
    """

    share: Share | None
    """Handlers that several consumers of an app have together: `Share(concurrency=50)`. Unset `concurrency` is then
    that of the share; a lower one limits this consumer. Nothing is received for which no handler is free.

    Default: unset.
    """

    weight: int
    """The part of this consumer in its share: the handlers' time is divided by weight among the consumers of one
    `priority` whose queues have a backlog.

    Default: 1; 1 to 1,000.
    """

    priority: int
    """The turn of this consumer in its share: while the queue of a lower number has a backlog, those of higher numbers
    are not polled.

    Default: 1; 1 to 1,000.
    """

    receive_batch: int
    """Messages requested in one receive.

    Default: 10; 1 to 10.
    """

    wait_time: float
    """Long-poll wait of a receive.

    Default: 20 s; 0 to 20 s.
    """

    pollers: int | None
    """A fixed number of concurrent receive calls. Unset: from one to `max_pollers`, as the load needs.

    Default: unset; 1 to 1,000.
    """

    max_pollers: int
    """The most pollers, when their number follows the load.

    Default: 10; 1 to 1,000.
    """

    throttle: bool
    """Set pollers, pauses and prefetch from what is measured. Off: all pollers, no pauses, and no prefetch unless
    `prefetch` is set.

    Default: True.
    """

    longest_pause: float
    """The longest time a poller waits so that its next batch fills, and the most this adds to a message's latency. 0:
    the least latency, with about one receive per message up to 100 messages a second. 0.05: less than half of these
    receives.

    Default: 0 s; 0 to 60 s.
    """

    max_in_flight: int
    """Messages held at the same time, from receive to confirmed delete.

    Default: 120000; 1 to 120,000.
    """

    message_attributes: Sequence[str]
    """Message attributes to fetch: names, 'All', or a prefix such as 'bar.*'. All are fetched if rejected messages may
    be copied to a dead-letter queue, because the copy keeps them.

    Default: ('All',).
    """

    visibility_timeout: int
    """Time for which SQS hides a received message. Leasekeeper extends it while the message is held, so keep it short:
    after a crash the message returns this soon.

    Default: 30 s; 1 to 43,200 s.
    """

    adaptive_visibility: bool
    """Raise the visibility timeout with the median handler time, so that most messages need no extension.

    Default: False.
    """

    heartbeat_interval: float | None
    """Age of a lease at which it is extended. Unset: half the visibility timeout.

    Default: unset; 0.05 to 32,400 s.
    """

    extend_interval: float
    """Time that visibility changes wait for a batch of ten to fill.

    Default: 0.1 s; 0 to 60 s.
    """

    keeper: bool
    """Start a process beside this one that extends the leases while this one cannot (threads that compute, a C call
    that keeps the GIL, a stopped process), and that settles what it held if it dies: finished messages are deleted,
    waiting ones visible at once, running ones after a back-off. One for all consumers of a program; about 20 MiB. Under
    `leasekeeper run` the supervisor does that unless `--no-keeper` is given. Linux only; needs the built-in HTTP
    client.

    Default: False.
    """

    keep_for: float
    """Time for which the keeper extends leases without a sign of life of the consumer. After it the leases end, and
    others receive the messages.

    Default: 300 s; 1 to 43,200 s.
    """

    on_lease_lost: LeaseLossPolicy
    """What happens to a handler when its lease is lost: 'tell' sets `message.lease_lost`; 'cancel' also cancels the
    handler.

    Default: tell; 'tell' or 'cancel'.
    """

    remember_finished: int
    """Ids of finished messages to remember (at times twice as many), so that a known duplicate is deleted without
    running. 0: off.

    Default: 10000; 0 to 10,000,000.
    """

    ack_batch_size: int
    """Deletes sent in one call. 1: each delete is sent at once.

    Default: 10; 1 to 10.
    """

    ack_interval: float
    """The longest time a finished message waits for its delete batch to fill.

    Default: 0.5 s; 0 to 60 s.
    """

    retry: RetryPolicy | None
    """How failed messages are retried: `Exponential`, `Linear`, `Table`, `Retries` with rules by kind of error and
    immediate tries, or a function of `(message, attempt, error)` that returns seconds, `Retry` or `Reject`. Unset:
    `Exponential(retry_base, maximum=retry_maximum)`.

    Default: unset.
    """

    retry_base: float
    """Back-off after the first failure. It doubles with each attempt.

    Default: 2 s; 0 to 43,200 s.
    """

    retry_maximum: float
    """The longest back-off.

    Default: 900 s; 0 to 43,200 s.
    """

    max_attempts: int | None
    """The attempt after which a failed message is not tried again: it goes the way of a rejected one (`on_reject`).
    Where no copy can be made it is hidden for the longest back-off, counted as exhausted, and never deleted. Unset:
    only the queue's redrive policy limits the attempts.

    Default: unset; 1 to 1,000,000.
    """

    on_reject: RejectPolicy
    """What happens to a rejected message: 'dead-letter' copies it with its attributes to the dead-letter queue, then
    deletes it (this needs sqs:SendMessage; without such a queue it acts as 'redrive'); 'redrive' hides it for the
    longest back-off and leaves it to the queue's redrive policy.

    Default: dead-letter; 'dead-letter' or 'redrive'.
    """

    on_unmatched: UnmatchedPolicy
    """What happens to a message that none of a queue's several handlers takes: 'reject' follows `on_reject`; 'retry'
    hides it with back-off, for other consumers that know it; 'ack' deletes it, with a warning.

    Default: reject; 'reject' or 'retry' or 'ack'.
    """

    dead_letter_queue: str | None
    """Where rejected messages are copied: name, URL or ARN. Unset: the queue of the redrive policy.

    Default: unset.
    """

    fifo_ack: FifoAck
    """When the next message of a group starts: 'batched' when the handler of the one before has returned, so deletes go
    ten to a call; 'confirmed' when its delete is confirmed, which costs a call per message and, with few busy groups, a
    third of the throughput. A crash repeats the finished messages of a group that were not deleted yet, in order: at
    most ten, or one.

    Default: batched; 'batched' or 'confirmed'.
    """

    on_exhausted: ExhaustedPolicy
    """What happens to the first message of a group when it has used up its attempts: 'dead-letter' copies it to the
    dead-letter queue, and its group goes on; 'halt' keeps its group waiting and tries it again after each longest back-
    off (this needs a queue without a redrive policy).

    Default: dead-letter; 'dead-letter' or 'halt'.
    """

    local_retry_limit: float
    """The longest back-off that a message without others behind it waits for in this process, under its lease. After a
    longer one it comes from the queue. With others behind it a message always waits here, because they would be given
    back too and their receives counted.

    Default: 300 s; 0 to 43,200 s.
    """

    drain_timeout: float
    """Time that running handlers get at a stop. After it they are cancelled and their messages released.

    Default: 20 s; 0 to 43,200 s.
    """

    poll_grace: float
    """Time that open polls get at a stop, or longer as long as handlers run: SQS may have sent messages already, which
    are then released.

    Default: 1 s; 0 to 30 s.
    """

    flush_timeout: float
    """Time that the last deletes and releases get at a stop.

    Default: 5 s; 0.1 to 3,600 s.
    """

    lifespan_timeout: float
    """Time that the lifespan gets to close, after the last acks. After it the lifespan is cancelled.

    Default: 10 s; 0.1 to 3,600 s.
    """

    on_unstarted: Unstarted
    """What happens at a stop to messages that have not started: 'release' makes them visible at once (SQS has counted
    their receive); 'run' runs them.

    Default: release; 'release' or 'run'.
    """

    ecs_protection: bool
    """Ask Amazon ECS to spare this task from scale-in and deployments while handlers run that outlast `drain_timeout`,
    by their median or by now. It needs ecs:UpdateTaskProtection; outside ECS it does nothing.

    Default: False.
    """

    unhealthy_after: float
    """Time without a successful receive after which the consumer is unhealthy; at least `wait_time` plus 5 s.

    Default: 60 s; 1 to 86,400 s.
    """

    exit_on_unusable: bool
    """Stop the consumer if its queue is deleted or access to it is denied while it runs.

    Default: False.
    """

    payloads: PayloadsOption | None
    """Fetch payloads that are too large for a message from S3, where the extended clients of AWS put them:
    `S3Payloads(bucket)` of `leasekeeper.payloads`. Senders of handlers write them there. Unset: bodies are as SQS sent
    them.

    Default: unset.
    """

    payload_memory: int
    """Bytes of payloads that are here at the same time, fetched or being fetched (these count twice). A larger one is
    let in alone. Another `concurrency` at run time does not change it.

    Default: 268435456; 1 to 1e+15.
    """

    max_payload: int
    """Bytes of the largest payload that is fetched as a whole. Messages with larger ones are rejected, unless the
    handler takes a `Payload`, which it reads in pieces.

    Default: 67108864; 1 to 1,000,000,000,000.
    """

    region: str | None
    """AWS region. Unset: the region of the queue's URL or ARN, then the environment, then the profile.

    Default: unset.
    """

    endpoint_url: str | None
    """Endpoint of SQS. Unset: AWS_ENDPOINT_URL_SQS, else the endpoint of the region.

    Default: unset.
    """

    wait_for_endpoint: float
    """Time that a start waits for an endpoint that is not up yet, as when containers start together; 0: a start fails
    at once.

    Default: 0 s; 0 to 86,400 s.
    """

    profile: str | None
    """AWS profile of the shared configuration.

    Default: unset.
    """

    credentials: Credentials | CredentialsProvider | None
    """AWS credentials (`leasekeeper.api.Credentials`), or a function, plain or async, that returns them. Unset: the
    credentials that boto3 would find.

    Default: unset.
    """

    http: HttpClient
    """HTTP client: 'native', 'aiohttp' (needs aiohttp), or a function that makes transports.

    Default: native.
    """

    verify_md5: bool
    """Verify the MD5 of bodies and attributes. Bodies over 64 KiB are hashed only over plain HTTP to another machine:
    TLS protects the others already, and the hash would double the CPU that they cost.

    Default: True.
    """

    client: SqsApi | None
    """Your own SQS client, instead of the built-in one (`leasekeeper.api.SqsApi`).

    Default: unset.
    """

    logger: logging.Logger
    """The logger of this consumer.

    Default: the logger leasekeeper.
    """
