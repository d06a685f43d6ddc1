"""What the page of the local server shows and does: queues, messages without receiving them, faults, send, purge, move.

Used by the server's pages. Looking changes nothing: no receive count, no visibility. A body is given only for the one
message that is asked for. What the page does is not counted, and no fault strikes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leasekeeper.errors import ConfigurationError
from leasekeeper.local.model.stored import Place

if TYPE_CHECKING:
    from leasekeeper.local.broker import Broker
    from leasekeeper.local.call_log import CallLog
    from leasekeeper.local.model.queue import Queue
    from leasekeeper.local.model.stored import Stored

MOST_SHOWN = 200
"""Messages of a queue that are listed: the first in the order of arrival."""


def state(broker: Broker, log: CallLog, queue: str) -> dict[str, Any]:
    """Everything that the page shows, with the messages of one queue. Messages and calls stand under their numbers."""
    log.watch()
    now = broker.now()
    queues = broker.account.queues
    for each in queues.values():
        each.advance(now)
    sources: dict[str, list[str]] = {}
    for each in queues.values():
        if each.settings.redrive is not None:
            sources.setdefault(each.settings.redrive.target, []).append(each.name)
    chosen = queues.get(queue)
    return {
        "now": now + broker.account.epoch,
        "endpoint": broker.account.base_url,
        "queues": [_queue(each, sources.get(each.arn, [])) for each in _arranged(broker)],
        "messages": None
        if chosen is None
        else {str(each.number): _message(each, chosen) for each in chosen.contents(MOST_SHOWN)},
        "faults": {"dead_polls": broker.faults.dead_polls, **broker.faults.standing()},
        "struck": dict(broker.faults.struck),
        "calls": dict(broker.calls),
        "log": log.newest(),
    }


def _arranged(broker: Broker) -> list[Queue]:
    """The queues as they were created, but a dead-letter queue after the first queue whose messages it takes."""
    by_arn = {each.arn: each for each in broker.account.queues.values()}
    placed: dict[str, Queue] = {}

    def place(arn: str | None) -> None:
        while arn in by_arn and arn not in placed:
            queue = placed[arn] = by_arn[arn]
            arn = queue.settings.redrive.target if queue.settings.redrive else None

    targets = {each.settings.redrive.target for each in by_arn.values() if each.settings.redrive}
    for arn in by_arn:
        if arn not in targets:
            place(arn)
    for arn in by_arn:  # those that are dead-letter queues of one another
        place(arn)
    return list(placed.values())


def _queue(queue: Queue, sources: list[str]) -> dict[str, Any]:
    settings = queue.settings
    first = queue.contents(1)
    return {
        "name": queue.name,
        "fifo": settings.fifo,
        "visible": queue.visible,
        "in_flight": queue.in_flight,
        "delayed": queue.delayed,
        "oldest": first[0].sent + queue.epoch if first else None,
        "dead_letter_queue": settings.redrive.target.rpartition(":")[2] if settings.redrive else None,
        "max_receives": settings.redrive.max_receives if settings.redrive else None,
        "dead_letters_of": sources,
        "visibility": settings.visibility,
        "delay": settings.delay,
        "retention": settings.retention,
    }


def _message(message: Stored, queue: Queue) -> dict[str, Any]:
    hidden = message.place is not Place.VISIBLE
    return {
        "id": message.id,
        "number": message.number,
        "state": message.place.value,
        "receives": message.receives,
        "sent": message.sent + queue.epoch,
        "visible_at": message.due + queue.epoch if hidden else None,
        "group": message.group,
        "bytes": len(message.content.body.encode("utf-8", "surrogatepass")),
    }


def body(broker: Broker, queue: str, number: int) -> dict[str, Any]:
    """Body and attributes of one message.

    Raises:
        ConfigurationError: it is not in the queue.
    """
    found = _found(broker, queue)
    for message in found.contents():
        if message.number == number:
            content = message.content
            return {"body": content.body, "attributes": content.attributes, "system": message.system}
    raise ConfigurationError(f"message {number} is not in {queue} any more")


def act(broker: Broker, wanted: dict[str, Any]) -> dict[str, Any]:
    """Do what the page asks for: `send`, `purge`, `redrive` or `create`.

    Raises:
        ConfigurationError: there is no such queue or action.
        Refusal: SQS would refuse it.
    """
    name = str(wanted.get("queue", ""))
    action = wanted.get("action")
    if action == "create":
        fifo = {"Attributes": {"FifoQueue": "true"}} if name.endswith(".fifo") else {}
        return _performed(broker, "CreateQueue", {"QueueName": name, **fifo})
    queue = _found(broker, name)
    if action == "send":
        return _performed(broker, "SendMessage", _sending(broker, queue, wanted))
    if action == "purge":
        return _performed(broker, "PurgeQueue", {"QueueUrl": queue.name})
    if action == "redrive":
        return _performed(broker, "StartMessageMoveTask", {"SourceArn": queue.arn})
    raise ConfigurationError(f"no action {action!r}: the actions are send, purge, redrive and create")


def _sending(broker: Broker, queue: Queue, wanted: dict[str, Any]) -> dict[str, Any]:
    request: dict[str, Any] = {"QueueUrl": queue.name, "MessageBody": str(wanted.get("body", ""))}
    if group := wanted.get("group"):
        request["MessageGroupId"] = str(group)
    if queue.settings.fifo:
        request.setdefault("MessageGroupId", "1")
        request["MessageDeduplicationId"] = f"page-{broker.now():.6f}"
    elif delay := wanted.get("delay"):
        request["DelaySeconds"] = delay
    return request


def _performed(broker: Broker, operation: str, request: dict[str, Any]) -> dict[str, Any]:
    answer = broker.perform(operation, request)
    assert isinstance(answer, dict), "only a receive is answered later"
    return answer


def _found(broker: Broker, name: str) -> Queue:
    queue = broker.account.queues.get(name)
    if queue is None:
        raise ConfigurationError(f"no queue {name[:80]!r}")
    return queue
