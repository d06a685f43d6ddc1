"""`SqsBackend`: Django's tasks over SQS. It sends here; `tasks.py` has the consumers that run them.

Owned by Django, one for each alias in `TASKS`, used from any thread. Tasks may be coroutines and may be deferred by up
to 15 minutes, which is what SQS can delay. Results are not kept.
"""

from __future__ import annotations

import json
import math
import os
import uuid
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils import timezone

from leasekeeper.contrib.django.api import (
    BaseTaskBackend,
    InvalidTaskError,
    TaskResult,
    TaskResultStatus,
    task_enqueued,
)
from leasekeeper.errors import ConfigurationError
from leasekeeper.given_options import make_options
from leasekeeper.sending.sender import Sender
from leasekeeper.sqs.address import address_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LONGEST_DELAY = 900
"""Seconds that SQS can delay a message (API reference, SendMessage)."""
SEND_TIMEOUT = 20.0
"""Seconds that a send may take, with its retries."""


_senders: dict[tuple[Any, ...], Sender] = {}
"""The senders of all backends, by process, because a forked child needs others, by queue and by connection.

Django makes a backend for each thread, and a web server may make a thread for each request.
"""


def _forget(sender: Sender) -> None:
    """Let the next task make another sender: one that could not start stays as it is."""
    for key in [key for key, each in list(_senders.items()) if each is sender]:
        _senders.pop(key, None)


def _forget_all(setting: str, **_: Any) -> None:
    """Close all when a test changes the settings."""
    if setting == "TASKS":
        for sender in list(_senders.values()):
            _forget(sender)
            sender.finish()


setting_changed.connect(_forget_all)


class SqsBackend(BaseTaskBackend):  # type: ignore[misc] # Django has no types
    """Sends tasks to SQS: `TASKS = {"default": {"BACKEND": "leasekeeper.contrib.django.SqsBackend", ...}}`.

    `QUEUES` are the names of SQS queues, or names that `OPTIONS["queues"]` gives a queue (a name, URL or ARN) to. With
    `OPTIONS["share"]`, one worker has that many handlers for all of them, and an earlier queue in `QUEUES` comes first.
    Everything else in `OPTIONS` is an option of the consumers, such as `region`, `concurrency` and `retry_base`.
    """

    supports_defer = True
    supports_async_task = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        options = dict(self.options)
        names: Mapping[str, str] = options.pop("queues", {})
        self.share: int | None = options.pop("share", None)
        self.consumer_options = options
        self.addresses = {name: names.get(name, name) for name in params.get("QUEUES") or ["default"]}
        try:
            made = make_options(options)
            ordered = [queue for queue in self.addresses.values() if address_of(queue, made.region).fifo]
        except ConfigurationError as error:
            raise ImproperlyConfigured(f"TASKS[{alias!r}]: {error}") from error
        if ordered:
            raise ImproperlyConfigured(
                f"TASKS[{alias!r}]: queue {ordered[0]} is a FIFO queue, and tasks have no order: use a standard one"
            )
        self._connection: dict[str, Any] = {
            name: getattr(made, name) for name in ("region", "endpoint_url", "profile", "credentials")
        }

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Send a task, and wait until SQS has it.

        Raises:
            InvalidTaskError: it cannot be sent: its arguments are not JSON, or it is deferred for too long.
            QueueUnusable: the queue does not exist, or cannot be reached; the next task tries it again.
            SqsError: SQS did not take it.
        """
        result, body, delay = self._made(task, args, kwargs)
        sender = self._sender(task.queue_name)
        try:
            sender.start()
        except Exception:
            _forget(sender)
            raise
        sender.send(body, delay=delay or None).result()
        task_enqueued.send(type(self), task_result=result)
        return result

    async def aenqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """As `enqueue`, in an event loop."""
        result, body, delay = self._made(task, args, kwargs)
        sender = self._sender(task.queue_name)
        try:
            await sender.start()
        except Exception:
            _forget(sender)
            raise
        await sender.send(body, delay=delay or None)
        await task_enqueued.asend(type(self), task_result=result)
        return result

    def _sender(self, name: str) -> Sender:
        own = [id(value) if option == "credentials" else value for option, value in self._connection.items()]
        key = (os.getpid(), self.addresses[name], *own)
        sender = _senders.get(key)
        if sender is None:
            made = Sender(self.addresses[name], linger=0.0, timeout=SEND_TIMEOUT, **self._connection)
            sender = _senders.setdefault(key, made)
        return sender

    def _made(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str, int]:
        self.validate_task(task)
        now = timezone.now()
        delay = 0 if task.run_after is None else max(0, math.ceil((task.run_after - now).total_seconds()))
        if delay > LONGEST_DELAY:
            raise InvalidTaskError(
                f"{task.name} with run_after={task.run_after}: SQS can delay a message by 15 minutes at most"
            )
        result_id = uuid.uuid4().hex
        try:
            body = json.dumps(
                {
                    "task": task.module_path,
                    "id": result_id,
                    "args": list(args),
                    "kwargs": dict(kwargs),
                    "enqueued_at": now.isoformat(),
                }
            )
        except (TypeError, ValueError) as error:
            raise InvalidTaskError(f"{task.name}: its arguments cannot be written as JSON ({error})") from error
        result = TaskResult(
            task=task,
            id=result_id,
            status=TaskResultStatus.READY,
            enqueued_at=now,
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=list(args),
            kwargs=dict(kwargs),
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        return result, body, delay
