"""The consumers that run the tasks of every `SqsBackend` in `TASKS`: `leasekeeper.contrib.django.tasks:app`.

Run by `manage.py leasekeeper`. A task that raises is retried with back-off, and is a dead letter after its last
attempt, as every message; `Retry` and `Reject` of leasekeeper work in tasks too. It sends Django's signals.
"""

from __future__ import annotations

import sys
import traceback
from datetime import datetime  # noqa: TC003 - a field of a struct
from typing import Any

import msgspec
from django.apps import apps
from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

from leasekeeper.app import Leasekeeper
from leasekeeper.contrib.django.api import (
    Task,
    TaskContext,
    TaskError,
    TaskResult,
    TaskResultStatus,
    task_backends,
    task_finished,
    task_started,
)
from leasekeeper.contrib.django.backend import SqsBackend
from leasekeeper.contrib.django.connections import prepare
from leasekeeper.errors import ConfigurationError
from leasekeeper.message import Message  # noqa: TC001 - the annotation of a handler
from leasekeeper.outcomes import Reject
from leasekeeper.share import Share


class SentTask(msgspec.Struct):
    """What `SqsBackend` sends."""

    task: str
    id: str
    args: list[Any]
    kwargs: dict[str, Any]
    enqueued_at: datetime | None = None


def task_of(path: str) -> Any:
    """The task with that path.

    Raises:
        Reject: there is none in an installed app. What a message names is not imported from elsewhere.
    """
    module = path.rpartition(".")[0]
    known = any(module == app.name or module.startswith(f"{app.name}.") for app in apps.get_app_configs())
    if not known and module not in sys.modules:
        raise Reject(f"task {path!r} is in no installed app")
    try:
        found = import_string(path)
    except ImportError as error:
        raise Reject(f"task {path!r} does not exist: {error}") from error
    if not isinstance(found, Task):
        raise Reject(f"{path!r} is not a task: decorate the function with @task")
    return found


def runner_for(backend: SqsBackend) -> Any:
    """The handler for the tasks of a backend."""

    def run_task(message: Message[SentTask]) -> None:
        sent = message.body
        task = task_of(sent.task)
        now = timezone.now()
        result = TaskResult(
            task=task,
            id=sent.id,
            status=TaskResultStatus.RUNNING,
            enqueued_at=sent.enqueued_at,
            started_at=now,
            finished_at=None,
            last_attempted_at=now,
            args=sent.args,
            kwargs=sent.kwargs,
            backend=backend.alias,
            errors=[],
            worker_ids=[message.queue] * message.attempt,  # Django counts the attempts by these
        )
        task_started.send(type(backend), task_result=result)
        given = [TaskContext(task_result=result), *sent.args] if task.takes_context else sent.args
        try:
            task.call(*given, **sent.kwargs)
        except BaseException as error:
            path = f"{type(error).__module__}.{type(error).__qualname__}"
            text = "".join(traceback.format_exception(error))
            result.errors.append(TaskError(exception_class_path=path, traceback=text))
            _finish(backend, result, TaskResultStatus.FAILED)
            raise
        _finish(backend, result, TaskResultStatus.SUCCESSFUL)

    return run_task


def _finish(backend: SqsBackend, result: Any, status: Any) -> None:
    for name, value in (("status", status), ("finished_at", timezone.now())):
        object.__setattr__(result, name, value)
    task_finished.send(type(backend), task_result=result)


def make_app() -> Leasekeeper:
    """An app with a consumer for each queue of each `SqsBackend`.

    Raises:
        ConfigurationError: there is no such backend.
    """
    prepare()
    made, found = Leasekeeper(), False
    for alias in settings.TASKS:
        backend = task_backends[alias]
        if isinstance(backend, SqsBackend):
            found = True
            share = None if backend.share is None else Share(concurrency=backend.share)
            for turn, queue in enumerate(backend.addresses.values(), start=1):
                shared: dict[str, Any] = {} if share is None else {"share": share, "priority": turn}
                made.consumer(queue, **backend.consumer_options, **shared)(runner_for(backend))
    if not found:
        raise ConfigurationError(
            "TASKS has no backend 'leasekeeper.contrib.django.SqsBackend': there are no tasks to run from SQS"
        )
    return made


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    made = globals()["app"] = make_app()
    return made
