"""The operations on message move tasks (redrive): start, list and cancel them, and move their messages.

Each function is one API operation: `(account, request, now) -> answer`, raising `Refusal`. A moved message is a new
message, with a new id, a new age and a receive count of zero.
"""

from __future__ import annotations

import base64
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from leasekeeper.local.model import fields, refusals
from leasekeeper.local.model.moves import FASTEST, MoveStatus, MoveTask
from leasekeeper.local.model.stored import Place, Stored

if TYPE_CHECKING:
    from leasekeeper.local.model.account import AccountState
    from leasekeeper.local.model.fields import Request
    from leasekeeper.local.model.queue import Queue

MOST_LISTED = 10
_DELETED = "AWS.SimpleQueueService.NonExistentQueue"


class _Handle(msgspec.Struct):
    """A task handle: the task and the queue that it moves from."""

    task: str = msgspec.field(name="taskId")
    source: str = msgspec.field(name="sourceArn")


def start_message_move_task(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """StartMessageMoveTask: from a dead-letter queue to one queue, or back to the source queue of each message."""
    source = _source(account, request)
    source.advance(now)
    if not any(q.settings.redrive and q.settings.redrive.target == source.arn for q in account.queues.values()):
        raise refusals.bad_parameter("Source queue must be configured as a Dead Letter Queue.")
    destination = fields.optional_text(request, "DestinationArn") or ""
    rate = fields.integer(request, "MaxNumberOfMessagesPerSecond", 1, FASTEST)
    if destination:
        target = account.by_arn(destination)
        if target is None:
            raise _no_resource("DestinationArn")
        if target is source or target.settings.fifo != source.settings.fifo:
            raise refusals.bad_parameter(
                "Destination queue must be another queue of the same type as the source queue."
            )
    if any(task.source == source.arn and task.status is MoveStatus.RUNNING for task in account.moves):
        raise refusals.bad_parameter(
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
        )
    task = MoveTask(
        id=account.new_message_id(),
        source=source.arn,
        destination=destination,
        rate=rate or FASTEST,
        requested_rate=rate,
        started=now,
        left=deque(source.contents()),
        to_move=source.visible,
    )
    _forget_old(account, source.arn)
    account.moves.append(task)
    step(account, now)
    return {"TaskHandle": task.handle}


def cancel_message_move_task(account: AccountState, request: Request, _now: float) -> dict[str, Any]:
    """CancelMessageMoveTask: the messages already moved stay moved."""
    handle = _read_handle(fields.text(request, "TaskHandle"))
    if account.by_arn(handle.source) is None:
        raise _no_resource("SourceArn")
    for task in account.moves:
        if (task.id, task.source) == (handle.task, handle.source):
            if task.status is not MoveStatus.RUNNING:
                raise refusals.unsupported("Only active tasks can be cancelled.")
            task.end(MoveStatus.CANCELLED)
            return {"ApproximateNumberOfMessagesMoved": task.moved}
    raise refusals.no_such_resource("Task does not exist.")


def list_message_move_tasks(account: AccountState, request: Request, _now: float) -> dict[str, Any]:
    """ListMessageMoveTasks: the tasks of a source queue, the latest first."""
    source = _source(account, request)
    most = fields.integer(request, "MaxResults", 1, MOST_LISTED) or 1
    tasks = [task for task in reversed(account.moves) if task.source == source.arn]
    return {"Results": [_shown(account, task) for task in tasks[:most]]}


def step(account: AccountState, now: float) -> float:
    """Move what the rates allow by now. Returns the time of the next move, infinite when no task is running."""
    running = [task for task in account.moves if task.status is MoveStatus.RUNNING]
    for task in running:
        _proceed(account, task, now)
    return min((task.next_step() for task in running), default=float("inf"))


def _proceed(account: AccountState, task: MoveTask, now: float) -> None:
    source = account.by_arn(task.source)
    if source is None:
        task.end(MoveStatus.FAILED, _DELETED)
        return
    source.advance(now)
    while task.left:
        if task.left[0].place is not Place.VISIBLE:
            task.left.popleft()
            continue
        if task.allowance(now) <= 0:
            return
        message = task.left.popleft()
        target = account.by_arn(task.destination or message.system.get("DeadLetterQueueSourceArn", ""))
        if target is None:
            known = task.destination or "DeadLetterQueueSourceArn" in message.system
            task.end(MoveStatus.FAILED, _DELETED if known else "CouldNotDetermineMessageSource")
            return
        _move(account, source, target, message, now)
        task.moved += 1
    task.end(MoveStatus.COMPLETED)


def _move(account: AccountState, source: Queue, target: Queue, message: Stored, now: float) -> None:
    target.advance(now)
    source.remove(message)
    message_id = account.new_message_id()
    system = {**message.system, "SentTimestamp": target.stamp(now)}
    system.pop("DeadLetterQueueSourceArn", None)
    if target.settings.fifo:
        system["SequenceNumber"] = target.next_sequence_number()
    target.add(lambda number: Stored(number, message_id, message.content, system, now, message.group), 0, now)


def _read_handle(handle: str) -> _Handle:
    try:
        return msgspec.json.decode(base64.b64decode(handle, validate=True), type=_Handle)
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        raise refusals.bad_parameter("Value for parameter TaskHandle is invalid.") from error


def _forget_old(account: AccountState, source: str) -> None:
    """Keep only as many tasks of a queue as can be listed, the next one included."""
    own = [task for task in account.moves if task.source == source]
    for task in own[: max(0, len(own) - MOST_LISTED + 1)]:
        account.moves.remove(task)


def _source(account: AccountState, request: Request) -> Queue:
    source = account.by_arn(fields.text(request, "SourceArn"))
    if source is None:
        raise _no_resource("SourceArn")
    return source


def _no_resource(parameter: str) -> refusals.Refusal:
    return refusals.no_such_resource(f"The resource that you specified for the {parameter} parameter doesn't exist.")


def _shown(account: AccountState, task: MoveTask) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "Status": task.status.value,
        "SourceArn": task.source,
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "StartedTimestamp": int((task.started + account.epoch) * 1000),
    }
    if task.status is MoveStatus.RUNNING:
        shown["TaskHandle"] = task.handle
    if task.destination:
        shown["DestinationArn"] = task.destination
    if task.requested_rate is not None:
        shown["MaxNumberOfMessagesPerSecond"] = task.requested_rate
    if task.failure:
        shown["FailureReason"] = task.failure
    return shown


OPERATIONS = {
    "CancelMessageMoveTask": cancel_message_move_task,
    "ListMessageMoveTasks": list_message_move_tasks,
    "StartMessageMoveTask": start_message_move_task,
}
