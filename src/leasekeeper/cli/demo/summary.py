"""The demo's report: what happened, counted by the producer, the handler and SQS.

Pure: it turns the last state and the ending into text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.cli.demo.view import margin
from leasekeeper.cli.words import counted

if TYPE_CHECKING:
    from leasekeeper.cli.demo.state import DemoPlan, DemoState, Ending

SHORT = {
    "ReceiveMessage": "receive",
    "DeleteMessageBatch": "delete",
    "ChangeMessageVisibilityBatch": "visibility",
    "SendMessageBatch": "dead letters",
}


def drained(ending: Ending) -> str:
    """What the stop did, in one sentence."""
    cancelled = f"{counted(ending.ended_in_drain, 'handler')} cancelled, " if ending.ended_in_drain else ""
    return (
        f"Stopped ({ending.why}). The drain took {ending.drained:.1f} s: "
        f"{counted(ending.finished_in_drain, 'handler')} finished, {cancelled}"
        f"{counted(ending.released_at_stop, 'message')} given back before a start, "
        f"{counted(ending.acked_in_drain, 'delete')} confirmed."
    )


def allowed(plan: DemoPlan) -> str:
    """The rate that concurrency and handler time allow."""
    handlers = f"{counted(plan.concurrency, 'handler')} of about {plan.handler_ms:g} ms"
    return f"the most for {handlers}: {plan.most:,.0f}/s" if plan.handler_ms else handlers


def rows(state: DemoState, ending: Ending) -> list[tuple[str, str, str]]:
    """Rows of a name, a figure and a remark."""
    statistics, plan = state.statistics, state.plan
    rate = state.finished / ending.flowed if ending.flowed else 0.0
    settled = statistics.ledger.acked + statistics.ledger.late
    shares = ", ".join(f"{SHORT[name]} {count / settled:.3f}" for name, count in state.calls.items() if settled)
    return [
        (
            "first message handled",
            f"{ending.first:.2f} s" if ending.first is not None else "never",
            f"after the command, {ending.first_consumed:.2f} s after the consumer's start",
        ),
        ("orders finished", f"{state.finished:,}", f"of {state.sent:,} sent, in {ending.flowed:.1f} s"),
        (
            "rate",
            f"{rate:,.0f}/s",
            allowed(plan),
        ),
        ("API calls per message", f"{state.calls_per_message:.3f}", shares),
        ("failed and retried", f"{statistics.work.failed + statistics.work.retried:,}", "with back-off"),
        ("dead letters", f"{ending.dead:,}", f"{statistics.work.rejected:,} rejected by the handler"),
        (
            "smallest lease margin",
            margin(statistics.ledger.smallest_margin),
            f"left of {plan.visibility} s; {counted(statistics.heartbeat.calls, 'heartbeat call')}",
        ),
        ("duplicates", f"{ending.duplicates:,}", "orders finished twice"),
        ("released at the stop", f"{ending.released_at_stop:,}", "received but not started, so given back"),
        ("left in the queue", f"{ending.left:,}", "for the next consumer, retries included"),
        ("lost", f"{ending.lost:,}", "sent = finished + dead letters + left + lost"),
    ]


def plain(state: DemoState, ending: Ending) -> str:
    """The report as plain lines."""
    return "\n".join(
        (
            drained(ending),
            "",
            *(f"  {what:<22} {much:>10}  {remark}".rstrip() for what, much, remark in rows(state, ending)),
        )
    )
