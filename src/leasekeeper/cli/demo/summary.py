"""The demo's report: what happened, counted at both ends.

Pure: the last state and the ending go in, something to print comes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.cli.demo.view import margin

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
    ended = f", {ended} were ended and their messages given back" if (ended := ending.ended_in_drain) else ""
    return (
        f"Stopped ({ending.why}) and drained in {ending.drained:.1f} s: {ending.running} handlers were running, "
        f"{ending.finished_in_drain} finished{ended}; {ending.released_at_stop} unstarted messages were given back, "
        f"{ending.acked_in_drain} deletes were confirmed."
    )


def allowed(plan: DemoPlan) -> str:
    """The rate that concurrency and handler time allow."""
    handlers = f"{plan.concurrency} handlers of about {plan.handler_ms:g} ms"
    return f"{handlers} allow {plan.most:,.0f}/s" if plan.handler_ms else handlers


def rows(state: DemoState, ending: Ending) -> list[tuple[str, str, str]]:
    """What, how much, and a remark."""
    each, plan = state.statistics, state.plan
    rate = state.finished / ending.flowed if ending.flowed else 0.0
    settled = each.acked + each.late
    shares = ", ".join(f"{SHORT[name]} {count / settled:.3f}" for name, count in state.calls.items() if settled)
    return [
        (
            "first message handled",
            f"{ending.first:.2f} s" if ending.first is not None else "never",
            f"after the command; {ending.first_consumed:.2f} s after the consumer's start",
        ),
        ("orders finished", f"{state.finished:,}", f"of {state.sent:,} sent, in {ending.flowed:.1f} s"),
        (
            "rate",
            f"{rate:,.0f}/s",
            allowed(plan),
        ),
        ("API calls a message", f"{state.calls_a_message:.3f}", shares),
        ("failed and retried", f"{each.failed + each.retried:,}", "with back-off"),
        ("dead letters", f"{ending.dead:,}", f"{each.rejected:,} rejected by the handler"),
        (
            "smallest lease margin",
            margin(each.smallest_margin),
            f"of {plan.visibility} s; heartbeats sent: {each.heartbeat_calls}",
        ),
        ("duplicates", f"{ending.duplicates:,}", "orders finished twice"),
        ("released at stop", f"{ending.released_at_stop:,}", "received, not started, given back at once"),
        ("left in the queue", f"{ending.left:,}", "for the next consumer"),
        ("lost", f"{ending.lost:,}", "sent = finished + dead letters + left + lost"),
    ]


def plain(state: DemoState, ending: Ending) -> str:
    """The report as lines."""
    return "\n".join(
        (
            drained(ending),
            "",
            *(f"  {what:<22} {much:>10}  {remark}".rstrip() for what, much, remark in rows(state, ending)),
        )
    )
