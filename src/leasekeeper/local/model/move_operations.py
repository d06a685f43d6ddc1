"""What can be asked about message move tasks (redrive): start, list and cancel them; and how they proceed.

Each function is one API call: `(account, request, now) -> answer`, raising `Refusal`. A redriven message is a new one:
new id, new age, receive count from zero.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from leasekeeper.local.model import fields, refusals
from leasekeeper.local.model.moves import FASTEST, MoveStatus, MoveTask
from leasekeeper.local.model.stored import Place, Stored

if TYPE_CHECKING:
    from leasekeeper.local.model.account import Account
    from leasekeeper.local.model.fields import Request
    from leasekeeper.local.model.queue import Queue

MOST_LISTED = 10


def start_message_move_task(account: Account, request: Request, now: float) -> dict[str, Any]:
    """StartMessageMoveTask: from a dead-letter queue to a queue, or back to where each message came from."""
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
        raise refusals.unsupported(
            "There is already a task running. Only one active task is allowed for a source queue."
        )
    task = MoveTask(
        handle=f"{account.random.getrandbits(256):064x}",
        source=source.arn,
        destination=destination,
        rate=rate or FASTEST,
        asked_rate=rate,
        started=now,
        left=deque(source.contents()),
        to_move=source.visible,
    )
    _forget_old(account, source.arn)
    account.moves.append(task)
    step(account, now)
    return {"TaskHandle": task.handle}


def cancel_message_move_task(account: Account, request: Request, _now: float) -> dict[str, Any]:
    """CancelMessageMoveTask: what was moved stays moved."""
    handle = fields.text(request, "TaskHandle")
    for task in account.moves:
        if task.handle == handle:
            if task.status is not MoveStatus.RUNNING:
                raise refusals.unsupported("Only active tasks can be cancelled.")
            task.end(MoveStatus.CANCELLED)
            return {"ApproximateNumberOfMessagesMoved": task.moved}
    raise _no_resource("TaskHandle")


def list_message_move_tasks(account: Account, request: Request, _now: float) -> dict[str, Any]:
    """ListMessageMoveTasks: those of a source queue, the latest first."""
    source = _source(account, request)
    most = fields.integer(request, "MaxResults", 1, MOST_LISTED) or 1
    tasks = [task for task in reversed(account.moves) if task.source == source.arn]
    return {"Results": [_shown(account, task) for task in tasks[:most]]}


def step(account: Account, now: float) -> float:
    """Move what may be moved by now; returns when the next message may be, infinite when no task is running."""
    running = [task for task in account.moves if task.status is MoveStatus.RUNNING]
    for task in running:
        _proceed(account, task, now)
    return min((task.next_step() for task in running), default=float("inf"))


def _proceed(account: Account, task: MoveTask, now: float) -> None:
    source = account.by_arn(task.source)
    if source is None:
        task.end(MoveStatus.FAILED, "AWS.SimpleQueueService.NonExistentQueue")
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
            task.end(MoveStatus.FAILED, "CouldNotDetermineMessageSource")
            return
        _move(account, source, target, message, now)
        task.moved += 1
    task.end(MoveStatus.COMPLETED)


def _move(account: Account, source: Queue, target: Queue, message: Stored, now: float) -> None:
    target.advance(now)
    source.remove(message)
    message_id = account.new_message_id()
    system = {**message.system, "SentTimestamp": target.stamp(now)}
    system.pop("DeadLetterQueueSourceArn", None)
    if target.settings.fifo:
        system["SequenceNumber"] = target.next_sequence_number()
    target.add(lambda number: Stored(number, message_id, message.content, system, now, message.group), 0, now)


def _forget_old(account: Account, source: str) -> None:
    """Keep no more tasks of a queue than can be listed, the one to come included."""
    own = [task for task in account.moves if task.source == source]
    for task in own[: max(0, len(own) - MOST_LISTED + 1)]:
        account.moves.remove(task)


def _source(account: Account, request: Request) -> Queue:
    source = account.by_arn(fields.text(request, "SourceArn"))
    if source is None:
        raise _no_resource("SourceArn")
    return source


def _no_resource(parameter: str) -> refusals.Refusal:
    return refusals.no_such_resource(f"The resource that you specified for the {parameter} parameter doesn't exist.")


def _shown(account: Account, task: MoveTask) -> dict[str, Any]:
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
    if task.asked_rate is not None:
        shown["MaxNumberOfMessagesPerSecond"] = task.asked_rate
    if task.failure:
        shown["FailureReason"] = task.failure
    return shown


OPERATIONS = {
    "CancelMessageMoveTask": cancel_message_move_task,
    "ListMessageMoveTasks": list_message_move_tasks,
    "StartMessageMoveTask": start_message_move_task,
}
