"""Logs: every sentence that an operator reads about a running consumer, made from events.

Owned by a consumer's observer. Each record also has fields (`extra`): `queue`, and where they apply `handler`,
`message_id`, `receive_count`, `attempt`, `error`, `code`. What will be retried is a warning; what needs a person, or is
a message's last attempt, is an error.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from leasekeeper import events
from leasekeeper.errors import Verdict
from leasekeeper.observe.alike import ended_alike
from leasekeeper.observe.consumer_logs import REASON_LENGTH, ConsumerLogs
from leasekeeper.outcomes import Failed, Reject, Skipped
from leasekeeper.texts import bounded, safe_str

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.api import EntryFailure
    from leasekeeper.channel import Channel
    from leasekeeper.events import Conclusion

T = TypeVar("T")

_LAST_RECEIVE = "it was its last: the queue's redrive policy moves the message next"
ADVICE = {
    "DeleteMessageBatch": "sqs:DeleteMessage",
    "ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "SendMessageBatch": "sqs:SendMessage on the dead-letter queue (or set on_reject='redrive')",
}
"""What to allow when an operation is denied."""
GIVEN_UP = {
    "DeleteMessageBatch": "message %s is finished, but its delete was not confirmed (%s: %s); if it is delivered again "
    "here, it is deleted without being run%s",
    "ChangeMessageVisibilityBatch": "message %s could not be given back (%s: %s); it comes again when its visibility "
    "timeout ends%s",
    "SendMessageBatch": "message %s could not be copied to the dead-letter queue (%s: %s); it is left to the queue's "
    "redrive policy, as are others that meet this error (reported once a minute)%s",
}


class Logs(ConsumerLogs):
    """Writes to `logger` what the events of one channel tell."""

    def __init__(self, channel: Channel, logger: logging.Logger, repeats: int | None = None) -> None:
        super().__init__(channel, logger, repeats)
        channel.subscribe(self._ended, events.HandlersEnded)
        channel.subscribe(self._entries_failed, events.EntriesFailed)
        channel.subscribe(self._copied, events.MessagesCopied)
        channel.subscribe(self._lease_lost, events.LeaseLost)
        channel.subscribe(self._group_halted, events.GroupHalted)

    # Messages

    def _ended(self, event: events.HandlersEnded) -> None:
        _one_by_one(ended_alike(event.others), lambda alike: self._conclusion(event, *alike))

    def _conclusion(self, event: events.HandlersEnded, conclusion: Conclusion, *alike: Conclusion) -> None:
        """One line, also for all messages of a batch that ended in the same way."""
        more = f"; {len(alike)} more message{'s' * (len(alike) > 1)} ended in the same way" if alike else ""
        outcome = conclusion.outcome
        if isinstance(outcome, Failed):
            if outcome.rule_error is not None:
                self._rule_failed(event, conclusion, outcome.rule_error)
            if conclusion.counted in ("rejected", "undecodable"):
                self._rejected(event, conclusion, safe_str(outcome.error, REASON_LENGTH), outcome.error, more)
            # The handler's own `Retry` is no failure, and neither is a rule's, while another receive is allowed.
            elif conclusion.counted != "retried" or _last_retry(conclusion):
                self._failed(event, conclusion, outcome.error, more)
        elif isinstance(outcome, Reject):
            self._rejected(event, conclusion, safe_str(outcome.reason, REASON_LENGTH), outcome, more)
        elif isinstance(outcome, Skipped):
            self._skipped(event, conclusion, outcome)
        elif conclusion.counted == "exhausted" or _last_retry(conclusion):
            self._exhausted(event, conclusion, more)

    def _failed(self, event: events.HandlersEnded, conclusion: Conclusion, error: BaseException, more: str) -> None:
        level, follows = logging.WARNING, f"the message is retried in {conclusion.after or 0.0:.0f} s"
        if conclusion.settled:
            follows = "it had been settled before"
        elif conclusion.counted == "exhausted":
            level, follows = logging.ERROR, _after_the_last(conclusion)
        elif conclusion.again:
            follows = (
                f"it runs again here in {conclusion.after:.0f} s, and its group waits"
                if conclusion.after
                else "it runs again at once"
            )
        elif conclusion.last:
            level, follows = logging.ERROR, _LAST_RECEIVE
        self._write(
            level,
            event,
            "handler %s failed with message %s at attempt %d; %s",
            conclusion.handler,
            bounded(conclusion.message.message_id),
            conclusion.attempt,
            follows + more,
            raised=error,
            **_fields(conclusion, type(error).__name__),
        )

    def _exhausted(self, event: events.HandlersEnded, conclusion: Conclusion, more: str) -> None:
        self._write(
            logging.ERROR,
            event,
            "handler %s asked for a retry of message %s at attempt %d; %s",
            conclusion.handler,
            bounded(conclusion.message.message_id),
            conclusion.attempt,
            (_LAST_RECEIVE if conclusion.counted == "retried" else _after_the_last(conclusion)) + more,
            **_fields(conclusion, "Retry"),
        )

    def _rejected(
        self, event: events.HandlersEnded, conclusion: Conclusion, reason: str, error: BaseException, more: str
    ) -> None:
        level, follows = logging.ERROR, _goes(conclusion)
        if conclusion.settled:
            level, follows = logging.WARNING, "it had been settled before"
        undecodable = conclusion.counted == "undecodable"
        by_rule = not isinstance(error, Reject)
        self._write(
            level,
            event,
            "message %s cannot be decoded for handler %s%s: %s; %s"
            if undecodable
            else "message %s is rejected by handler %s%s: %s; %s",
            bounded(conclusion.message.message_id),
            conclusion.handler,
            f", by the rule for its {type(error).__name__}" if by_rule and not undecodable else "",
            reason or "no reason given",
            follows + more,
            raised=error if by_rule and not undecodable else None,
            **_fields(conclusion, type(error).__name__ if by_rule else "Reject"),
        )

    def _skipped(self, event: events.HandlersEnded, conclusion: Conclusion, outcome: Skipped) -> None:
        self._write(
            logging.WARNING if outcome.warn else logging.INFO,
            event,
            "handler %s has nothing to do for message %s, which is deleted: %s",
            conclusion.handler,
            bounded(conclusion.message.message_id),
            bounded(outcome.reason, REASON_LENGTH),
            **_fields(conclusion, "Skipped"),
        )

    def _rule_failed(self, event: events.HandlersEnded, conclusion: Conclusion, error: BaseException) -> None:
        self._write(
            logging.ERROR,
            event,
            "a function in `retry` raised for message %s of handler %s; the default back-off counts",
            bounded(conclusion.message.message_id),
            conclusion.handler,
            raised=error,
            **_fields(conclusion, type(error).__name__),
        )

    def _copied(self, event: events.MessagesCopied) -> None:
        for message_id in event.unexplained:
            self._write(
                logging.WARNING,
                event,
                "the copy of message %s in the dead-letter queue does not say why: SQS allows ten attributes and 1 MiB",
                bounded(message_id),
                message_id=message_id,
            )

    def _lease_lost(self, event: events.LeaseLost) -> None:
        self._write(
            logging.WARNING,
            event,
            "the lease of message %s ended while its handler was running; another consumer may run it too",
            bounded(event.message_id),
            message_id=event.message_id,
        )

    def _group_halted(self, event: events.GroupHalted) -> None:
        self._write(
            logging.ERROR,
            event,
            "message group %s is halted: its first message %s cannot be processed (%s, attempt %d). It is tried again "
            "every %.0f s, and nothing behind it runs before that succeeds. Correct the handler, or delete the message",
            bounded(event.group),
            bounded(event.message.message_id),
            bounded(event.reason),
            event.attempt,
            event.after,
            message_id=event.message.message_id,
        )

    def _entries_failed(self, event: events.EntriesFailed) -> None:
        if event.given_up:
            _one_by_one(event.failures, lambda failed: self._given_up(event, *failed))

    def _given_up(self, event: events.EntriesFailed, message_id: str, failure: EntryFailure) -> None:
        sentence = GIVEN_UP.get(event.operation, "message %s: a call failed (%s: %s)%s")
        allow = ADVICE.get(event.operation, "") if failure.verdict is Verdict.DENIED else ""
        self._write(
            logging.ERROR if event.operation == "SendMessageBatch" else logging.WARNING,
            event,
            sentence,
            bounded(message_id),
            failure.code,
            bounded(failure.message, REASON_LENGTH),
            f". Allow {allow}" if allow else "",
            message_id=message_id,
            code=failure.code,
        )


def _one_by_one(items: Sequence[T], write: Callable[[T], None]) -> None:
    """Write a line for each; a line that raises costs no other line, and the last error is raised at the end."""
    failed: BaseException | None = None
    for item in items:
        try:
            write(item)
        except BaseException as error:  # a logging handler is a user's code
            failed = error
    if failed is not None:
        raise failed


def _last_retry(conclusion: Conclusion) -> bool:
    """Whether a retry was asked for that the redrive policy does not allow: the message goes to dead letters."""
    return conclusion.counted == "retried" and conclusion.last and not conclusion.again and not conclusion.settled


def _after_the_last(conclusion: Conclusion) -> str:
    most, limit = conclusion.max_attempts, "`max_attempts`"
    if conclusion.attempt > most:
        limit = f"`max_attempts={most:.0f}`"
        if conclusion.again:
            return f"its attempts are used up ({limit}): {_goes(conclusion)}"
        limit += "; deliveries that were given back count too"  # by another process, or this one before a restart
    return f"it was its last ({limit}): {_goes(conclusion)}"


def _goes(conclusion: Conclusion) -> str:
    """Where a message goes that should not be tried again."""
    if conclusion.copied:
        return "it goes to the dead-letter queue"
    if conclusion.again:
        return f"it stays the first of its group, and is tried again in {conclusion.after or 0.0:.0f} s"
    hidden = f"it is hidden for {conclusion.after or 0.0:.0f} s"
    if conclusion.redriven:
        return f"{hidden} and left to the queue's redrive policy"
    return f"{hidden} and comes again, because the queue has no redrive policy, as far as is known"


def _fields(conclusion: Conclusion, error: str) -> dict[str, Any]:
    return {
        "handler": conclusion.handler,
        "message_id": conclusion.message.message_id,
        "receive_count": conclusion.message.receive_count,
        "attempt": conclusion.attempt,
        "error": error,
    }
