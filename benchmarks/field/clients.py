"""The field: the consumers to measure, with packages and settings, and handlers without a queue to compare with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = "project"
"""The environment that the benchmarks run in; it is never made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One consumer of the field.

    Attributes:
        name: of the client, unique.
        kind: what runs its handlers: coroutines, threads, Node, or nothing (a client of SQS alone).
        environment: name of the environment it runs in; clients may share one.
        file: its script, relative to the peers.
        packages: the pinned packages of its environment; for the project's own clients, the packages to report.
        settings: more environment variables for its script; names begin with PEER_.
        produces: whether only its own library can write the messages it reads, so its script fills the queue.
        most: the number of messages that makes a no-op run last a few seconds.
        concurrency: the best concurrency when handlers do not wait; None: that of the scenario.
        loop: whether it is a bare loop over an SQS client, as a reference.
        only: letters of the scenarios that it is for; empty: all.
        alone: whether it runs the handlers without any queue, to show what they reach alone on this machine.
        remark: settings that differ from the scenario or from the library's defaults.
    """

    name: str
    kind: Literal["async", "threads", "node", "wire"]
    environment: str
    file: str
    packages: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    produces: bool = False
    most: int
    concurrency: int | None = None
    loop: bool = False
    only: str = ""
    alone: bool = False
    remark: str = ""


BOTO3 = ("boto3==1.44.8", "botocore==1.44.8")
UVLOOP = "uvloop==0.23.0"
AIOBOTOCORE = ("aiobotocore==3.10.0", "botocore==1.43.117", UVLOOP)
SQS_CONSUMER = ("sqs-consumer==15.0.3", "@aws-sdk/client-sqs==3.1175.0", "node==26.10.0")
OURS = ("leasekeeper", "botocore", "msgspec", "uvloop")

_FIELD = (
    Client(
        name="leasekeeper-async",
        kind="async",
        environment=PROJECT,
        file="leasekeeper_consumer.py",
        packages=OURS,
        settings={"PEER_KIND": "async"},
        most=40_000,
    ),
    Client(
        name="leasekeeper-pool",
        remark="`dispatch='pool'`",
        kind="async",
        environment=PROJECT,
        file="leasekeeper_consumer.py",
        packages=OURS,
        settings={"PEER_KIND": "pool"},
        most=40_000,
    ),
    Client(
        name="leasekeeper-def",
        remark="as many threads as the concurrency where handlers wait, else its default of 32",
        kind="threads",
        environment=PROJECT,
        file="leasekeeper_consumer.py",
        packages=OURS,
        settings={"PEER_KIND": "def"},
        most=40_000,
    ),
    Client(
        name="leasekeeper-batch",
        remark="`batch=100`, a handler of `list[str]`, concurrency 4: as many messages at work as single handlers have",
        kind="async",
        environment=PROJECT,
        file="leasekeeper_consumer.py",
        packages=OURS,
        settings={"PEER_KIND": "batch"},
        most=40_000,
        concurrency=4,
        only="M",
    ),
    Client(
        name="leasekeeper-pauses",
        remark="`longest_pause=0.05`",
        kind="async",
        environment=PROJECT,
        file="leasekeeper_consumer.py",
        packages=OURS,
        settings={"PEER_KIND": "async", "PEER_LONGEST_PAUSE": "0.05"},
        most=40_000,
    ),
    Client(
        name="leasekeeper-wire",
        remark="eight loops whatever is asked; a loop's ten handlers run one after the other",
        kind="wire",
        environment=PROJECT,
        file="leasekeeper_wire.py",
        packages=OURS,
        most=40_000,
        loop=True,
    ),
    Client(
        name="boto3-1",
        remark="one thread, whatever is asked",
        kind="threads",
        environment="boto3",
        file="boto3_loop.py",
        packages=BOTO3,
        settings={"PEER_THREADS": "1"},
        most=20_000,
        concurrency=1,
        loop=True,
    ),
    Client(
        name="boto3-32",
        remark="32 threads, whatever is asked",
        kind="threads",
        environment="boto3",
        file="boto3_loop.py",
        packages=BOTO3,
        settings={"PEER_THREADS": "32"},
        most=20_000,
        concurrency=32,
        loop=True,
    ),
    Client(
        name="aiobotocore",
        remark="ten pollers, ten deleters of ten, on asyncio",
        kind="async",
        environment="aiobotocore",
        file="aiobotocore_loop.py",
        packages=AIOBOTOCORE,
        most=20_000,
        loop=True,
    ),
    Client(
        name="aiobotocore-uvloop",
        remark="the same on uvloop",
        kind="async",
        environment="aiobotocore",
        file="aiobotocore_loop.py",
        packages=AIOBOTOCORE,
        settings={"PEER_LOOP": "uvloop"},
        most=25_000,
        loop=True,
    ),
    Client(
        name="sqs-workers",
        remark="its own loop: one message at a time, whatever is asked",
        kind="threads",
        environment="sqs-workers",
        file="sqs_workers_queue.py",
        packages=(
            "sqs-workers==0.7.3",
            "typing-extensions==4.16.0",
            *BOTO3,
        ),  # it imports the second without declaring it
        most=20_000,
        concurrency=1,
    ),
    Client(
        name="olist-loafer",
        remark="one client shared by its parts, on uvloop; one poller, a queue of ten",
        kind="async",
        environment="olist-loafer",
        file="loafer_route.py",
        packages=("olist-loafer==7.0.0", "aiobotocore==2.26.0", "botocore==1.41.5", UVLOOP),
        most=7_000,
    ),
    Client(
        name="taskiq-aio-sqs",
        remark="its command line, one process, on uvloop; heartbeats on, acknowledges when the result is saved",
        kind="async",
        environment="taskiq-aio-sqs",
        file="taskiq_broker.py",
        packages=("taskiq-aio-sqs==2.1.1", "taskiq==0.13.0", *AIOBOTOCORE),
        produces=True,
        most=4_000,
    ),
    Client(
        name="repid",
        remark="on uvloop, keep-alive on",
        kind="async",
        environment="repid",
        file="repid_actor.py",
        packages=("repid[sqs]==2.1.4", *AIOBOTOCORE),
        produces=True,
        most=5_000,
    ),
    Client(
        name="dramatiq-sqs",
        remark="its command line, one process; holds some ten messages at most, polls of 1 s",
        kind="threads",
        environment="dramatiq-sqs",
        file="dramatiq_actor.py",
        packages=("dramatiq-sqs==0.4.4", "dramatiq==2.2.1", *BOTO3),
        produces=True,
        most=3_500,
        concurrency=8,
    ),
    Client(
        name="celery",
        remark="its worker with threads; `acks_late`, prefetch multiplier 4, `polling_interval=0.1`",
        kind="threads",
        environment="celery",
        file="celery_task.py",
        packages=("celery[sqs]==5.7.0", "kombu==5.7.0", "pycurl==7.49.0", *BOTO3),
        produces=True,
        most=2_000,
        concurrency=10,
    ),
    Client(
        name="sqs-consumer",
        remark="a consumer for each ten of the concurrency; heartbeats at half the visibility timeout",
        kind="node",
        environment="sqs-consumer",
        file="sqs_consumer.mjs",
        packages=SQS_CONSUMER,
        settings={"PEER_HANDLER": "single"},
        most=15_000,
        concurrency=50,
    ),
    Client(
        name="sqs-consumer-batch",
        remark="the same, ten messages to a handler",
        kind="node",
        environment="sqs-consumer",
        file="sqs_consumer.mjs",
        packages=SQS_CONSUMER,
        settings={"PEER_HANDLER": "batch"},
        most=30_000,
        concurrency=50,
    ),
)
_ALONE = (
    Client(
        name="no-queue-async",
        kind="async",
        environment=PROJECT,
        file="no_queue.py",
        packages=("uvloop",),
        settings={"PEER_KIND": "async"},
        most=40_000,
        loop=True,
        only="K",
        alone=True,
        remark="the handlers of the others, called in loops on uvloop, without a queue or a library",
    ),
    Client(
        name="no-queue-threads",
        kind="threads",
        environment=PROJECT,
        file="no_queue.py",
        packages=("uvloop",),
        settings={"PEER_KIND": "threads"},
        most=40_000,
        loop=True,
        only="K",
        alone=True,
        remark="the same in threads",
    ),
)
CLIENTS: dict[str, Client] = {each.name: each for each in (*_FIELD, *_ALONE)}

SINGLE = {"leasekeeper-batch": "leasekeeper-async"}
"""Clients with batches, and those that do the same with single messages."""
