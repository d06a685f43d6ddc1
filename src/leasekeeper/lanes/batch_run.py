"""One run of a batch handler: its calls, from the whole batch down to single messages where it is told to isolate.

Made by `BatchHandler` for each bundle, used where the handler runs. It promises that no undecodable body and no lost
lease is in a call, and that each message gets the outcome of the call that it was in last.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from leasekeeper.batch import Batch
from leasekeeper.envelopes.opening import Blocked
from leasekeeper.errors import Closed
from leasekeeper.lanes.batch_results import named_by
from leasekeeper.lanes.failures import outcome_of_error
from leasekeeper.lanes.lease_control import LeaseControl
from leasekeeper.lanes.retry_rules import with_rule
from leasekeeper.message import Message
from leasekeeper.outcomes import DONE, NOT_STARTED, WITHHELD, Failed, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.bundles import Bundle
    from leasekeeper.message import Received
    from leasekeeper.options import BatchErrorPolicy
    from leasekeeper.outcomes import Outcome, Reject
    from leasekeeper.retries import Retries

BEHIND = Retry(0.0)
"""What becomes of a message of a FIFO queue behind one that has not gone well: it runs again after that one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """How the handler of a consumer is called.

    Attributes:
        name: the handler's name.
        queue: the queue's name.
        decode: decodes a body.
        open: opens the envelopes of a message before that; None: there are none to open.
        bodies: whether the call takes a list of bodies, so that no `Message` is made.
        on_error: what follows when it raises.
        retries: what follows for a message that failed; None: the default.
    """

    name: str
    queue: str
    decode: Callable[[Received], Any]
    open: Callable[[Received], Received] | None
    bodies: bool
    on_error: BatchErrorPolicy
    retries: Retries | None


class BatchRun:
    """The calls of one bundle. Ask `next_call`, call, then say `returned` or `raised`, until there is no next call."""

    __slots__ = ("_all", "_bundle", "_left", "_lost", "_plan", "_rows", "_view", "outcome")

    def __init__(self, plan: BatchPlan, bundle: Bundle) -> None:
        self._plan = plan
        self._bundle = bundle
        self._all = bundle.rows
        self._left: list[Sequence[Delivery]] = [bundle.rows] if bundle.parts is None else [*reversed(bundle.parts)]
        """The parts that are still to be called; the last one is next."""
        self._rows: Sequence[Delivery] = ()
        self._view: _View | None = None
        self._lost: Outcome = NOT_STARTED
        """How messages end whose lease was lost before they could be in the next call."""
        self.outcome: Outcome = DONE
        """How the messages end that have no outcome otherwise."""

    def next_call(self) -> Any:
        """The argument of the next call; None when all are made.

        Raises:
            Blocked: something has to be fetched for it; then ask again.
        """
        while self._left and not self._bundle.given_up:
            rows = self._startable(self._left.pop())
            rows, received, bodies = self._decoded(rows)
            if not rows:
                continue
            if self._rows:
                self._bundle.restarted(rows)
            self._rows = rows
            return self._argument(rows, received, bodies)
        return None

    def _startable(self, rows: Sequence[Delivery]) -> Sequence[Delivery]:
        """Those that have a lease, were not settled in a call before, and stand behind no message that failed."""
        outcomes = self._bundle.outcomes
        if not self._rows and not outcomes and not any(map(_lost, rows)):  # nearly always
            return rows
        startable: list[Delivery] = []
        for row in rows:
            if row in outcomes:
                continue
            if row.lost:
                outcomes[row] = self._lost
                self._note_failed([row], self._lost)
            elif row.settlement is None:
                startable.append(row)
        return startable

    def _note_failed(self, rows: Iterable[Delivery], behind: Outcome = BEHIND) -> None:
        """On a FIFO queue: none that stands behind one of these in its group is called; that is its outcome."""
        if self._bundle.ordered:
            failed, groups = set(rows), set[str | None]()
            for row in self._all if failed else ():
                if row in failed:
                    groups.add(_group(row))
                elif row.settlement is None and _group(row) in groups:
                    self._bundle.outcomes.setdefault(row, behind)

    def _decoded(self, rows: Sequence[Delivery]) -> tuple[Sequence[Delivery], list[Received], list[Any]]:
        """Those that can be decoded, as they were received (with their envelopes open), and their bodies.

        On a FIFO queue none of them stands behind a message that cannot be decoded and comes again.
        """
        decode, open_ = self._plan.decode, self._plan.open
        if open_ is None:
            with suppress(BaseException):  # a validator is code of others; below, each failure is found again
                messages = list(map(_received, rows))
                return rows, messages, list(map(decode, messages))
        good: list[Delivery] = []
        messages = []
        bodies: list[Any] = []
        for row in rows:
            if row in self._bundle.outcomes:  # it stands behind one that cannot be decoded
                continue
            try:
                received = row.received if open_ is None else open_(row.received)
                body = decode(received)
            except Blocked:  # something has to be fetched first: then this call is asked for again
                self._left.append(rows)
                raise
            except BaseException as error:
                self._bundle.outcomes[row] = self._with_rule(outcome_of_error(error), error, row)
                if not self._bundle.is_good(row, DONE):
                    self._note_failed([row])
            else:
                good.append(row)
                messages.append(received)
                bodies.append(body)
        return good, messages, bodies

    def _argument(self, rows: Sequence[Delivery], received: list[Received], bodies: list[Any]) -> Any:
        plan, bundle = self._plan, self._bundle
        if plan.bodies:
            return bodies
        view = self._view = _View(bundle, rows, received, bodies, plan.queue)
        messages = list(view.rows)
        return Batch(messages, queue=plan.queue, trigger=bundle.trigger, waited=bundle.waited, view=view)

    # How a call has ended

    def returned(self, result: Any) -> None:
        """The call has returned."""
        view = self._view
        outcome: Outcome = DONE
        if result is not None:
            named, outcome = named_by(result, self._rows, view.rows if view is not None else {}, self._plan.name)
            for row, each in named.items():
                if type(each) is Failed:
                    each = self._with_rule(each, each.error, row)  # noqa: PLW2901 - the same one, completed
                self._bundle.outcomes.setdefault(row, each)  # what was said through the batch stands
        if view is not None:
            view.withhold()
        self._end(self._rows, outcome)

    def raised(self, error: BaseException) -> None:
        """The call has raised: it is made again in parts if that is wanted, with the messages that it has not named."""
        outcome, rows, bundle = outcome_of_error(error), self._rows, self._bundle
        unnamed = [row for row in rows if row not in bundle.outcomes and row.settlement is None]
        if self._plan.on_error == "retry" or not isinstance(outcome, Failed) or len(rows) == 1 or not unnamed:
            if self._plan.retries is not None and self._plan.retries.asks(type(error)):
                for row in unnamed:
                    bundle.outcomes[row] = self._with_rule(outcome, error, row)
            else:
                outcome = self._with_rule(outcome, error, rows[0])  # the same for all
            self._end(rows, outcome)
            return
        if self._view is not None:
            self._view.close()
        self._lost = outcome
        self._note_failed(row for row in rows if not self._bundle.is_good(row, DONE))
        if self._plan.on_error == "halves" and len(unnamed) > 1:
            middle = (len(unnamed) + 1) // 2
            self._left += [unnamed[middle:], unnamed[:middle]]
        else:
            self._left += [[row] for row in reversed(unnamed)]

    def _with_rule(self, outcome: Outcome, error: BaseException, row: Delivery) -> Outcome:
        retries = self._plan.retries
        if retries is None:
            return outcome
        return with_rule(outcome, error, retries, attempt=row.attempt, message=partial(self._message_of, row))

    def _message_of(self, row: Delivery) -> Message[Any]:
        """The message, for a function among the retries."""
        plan, received, body = self._plan, row.received, None
        with suppress(Exception):  # what could not be opened or decoded before
            received = received if plan.open is None else plan.open(received)
            body = plan.decode(received)
        return Message(received, body, queue=plan.queue, lease=LeaseControl(self._bundle.say, row))

    def _end(self, rows: Sequence[Delivery], outcome: Outcome) -> None:
        bundle = self._bundle
        if self._view is not None:
            self._view.close()
        if not self._left and len(rows) == len(bundle.rows):
            self.outcome = outcome  # the lane answers for all
        elif not bundle.ordered:
            for answer in bundle.answer(outcome, rows):
                bundle.say(answer)
        else:  # the messages of a group are answered together, so that those behind one that failed are seen as such
            for row in rows:
                bundle.outcomes.setdefault(row, outcome)
            self._note_failed(row for row in rows if not self._bundle.is_good(row, outcome))


_lost: Callable[[Delivery], bool] = attrgetter("lost")
_received: Callable[[Delivery], Received] = attrgetter("received")


def _group(row: Delivery) -> str | None:
    return row.received.system.get("MessageGroupId")


class _View:
    """A `leasekeeper.batch.BatchView`: the messages of one call, and what the handler says of them."""

    __slots__ = ("_bundle", "_closed", "_leases", "rows")

    def __init__(
        self,
        bundle: Bundle,
        rows: Sequence[Delivery],
        messages: Sequence[Received],
        bodies: Sequence[Any],
        queue: str,
    ) -> None:
        self._bundle = bundle
        self._leases = [LeaseControl(bundle.say, row) for row in rows]
        self.rows = {
            Message(received, body, queue=queue, lease=lease): row
            for row, received, body, lease in zip(rows, messages, bodies, self._leases, strict=True)
        }
        self._closed = False

    def name(self, message: Message[Any], outcome: Retry | Reject) -> None:
        """As `BatchView.name`."""
        row = self.rows.get(message)
        if row is None:
            raise ValueError(f"{message!r} is not a message of this batch: name one that the batch contains")
        if self._closed or row.settlement is not None:
            raise Closed(
                f"message {message.id} is settled already: a batch takes words about its messages until its handler "
                "has returned"
            )
        self._bundle.outcomes[row] = outcome

    def withhold(self) -> None:
        """Keep the messages that the handler withheld."""
        for row, lease in zip(self.rows.values(), self._leases, strict=True):
            if lease.withheld:
                self._bundle.outcomes.setdefault(row, WITHHELD)

    def close(self) -> None:
        """The call has ended."""
        self._closed = True
