"""The scenarios that every client runs, with all figures in one place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clients import Client

KILOBYTE = 1024
TEN = 10
"""The most messages that a receive brings."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One situation for clients.

    Attributes:
        letter: its name on the command line and in the results.
        title: what it is, in a few words.
        handler: "noop", "wait" or "burn"; seconds: what it waits or burns.
        messages: how many are released; fewer for slow clients (`Client.most`).
        limit: seconds from the release after which a run is over.
        latency: seconds that every answer of the server takes.
        visibility: seconds.
        size: characters of a body.
        rate: messages released a second; all at once without one.
        notes: whether handlers note when they start and finish.
        term_after: seconds from the release to SIGTERM; None: no SIGTERM.
        own_concurrency: whether a client may use the concurrency that suits it best.
        groups: message groups of a FIFO queue; 0: a standard queue.
        hot: how many of the messages, the first ones, are of one more group.
        clients: the names of those that can run it; empty: all.
    """

    letter: str
    title: str
    handler: str = "noop"
    seconds: float = 0.0
    messages: int = 0
    limit: float = 120.0
    latency: float = 0.0
    visibility: int = 30
    concurrency: int = 100
    size: int = 500
    rate: float | None = None
    notes: bool = False
    term_after: float | None = None
    own_concurrency: bool = False
    groups: int = 0
    hot: int = 0
    clients: tuple[str, ...] = ()

    @property
    def at_once(self) -> int:
        """How many handlers can be at work at once: one of each group, and no more than the concurrency."""
        return min(self.groups or self.concurrency, self.concurrency)

    def allowed(self, seconds: float, latency: float) -> float:
        """Messages a second that the rules of SQS and the concurrency allow, for such handlers and calls.

        Args:
            seconds: what a handler takes.
            latency: what a call takes.
        """
        most = self.concurrency / seconds
        # Of a group ten are in flight at most, and nothing more is given out until all of them are deleted.
        return min(most, self.groups * TEN / (TEN * seconds + latency)) if self.groups else most

    def suits(self, client: Client) -> bool:
        """Whether a client can run it, and is meant to."""
        named = not self.clients or client.name in self.clients
        return named and (not client.only or self.letter[0] in client.only)

    def count(self, client: Client) -> int:
        """How many messages a run of this client has."""
        return min(self.messages, client.most)

    def concurrency_of(self, client: Client) -> int:
        """How many handlers a client may run at once."""
        return client.concurrency if self.own_concurrency and client.concurrency else self.concurrency


NOOP = Scenario("A", "handlers that do nothing", messages=40_000, own_concurrency=True)
WAIT = Scenario(
    "B",
    "handlers that wait 20 ms, every call takes 10 ms",
    handler="wait",
    seconds=0.02,
    messages=10_000,
    limit=30.0,
    latency=0.01,
    notes=True,
)
BURN = Scenario(
    "C",
    "handlers that need 1 ms of CPU",
    handler="burn",
    seconds=0.001,
    messages=3_000,
    own_concurrency=True,
)
LEASE = Scenario(
    "D",
    "handlers that take 12 s, a visibility timeout of 4 s",
    handler="wait",
    seconds=12.0,
    messages=200,
    limit=20.0,
    latency=0.01,
    visibility=4,
    concurrency=200,
    notes=True,
)
IDLE = Scenario("E", "nothing to do", own_concurrency=True)
STOP = replace(WAIT, letter="G", title="SIGTERM during B", visibility=60, term_after=1.0)
LARGE = Scenario("H64", "bodies of 64 KiB", messages=1_000, size=64 * KILOBYTE, visibility=120, own_concurrency=True)
LARGEST = replace(LARGE, letter="H1M", title="bodies of 1 MiB", messages=100, size=1024 * KILOBYTE)
TRICKLE = Scenario(
    "I",
    "50 messages a second for 20 s, every call takes 10 ms",
    messages=1_000,
    limit=35.0,
    latency=0.01,
    rate=50.0,
    notes=True,
)

ORDERED = ("leasekeeper-async", "leasekeeper-def", "boto3-1", "boto3-32", "sqs-consumer", "sqs-consumer-batch")
"""Clients that can consume a FIFO queue."""
ALONE = ("no-queue-async", "no-queue-threads")
"""Handlers without a queue, to compare those with."""
OURS = ("leasekeeper-async", "leasekeeper-def")
GROUP = replace(
    WAIT,
    letter="K1",
    title="a FIFO queue with 1 group",
    messages=500,
    groups=1,
    limit=40.0,
    clients=(*ORDERED, *ALONE),
)
GROUPS = replace(GROUP, letter="K10", title="a FIFO queue with 10 groups", messages=4_000, groups=10)
MANY = replace(GROUP, letter="K1K", title="a FIFO queue with 1,000 groups", messages=25_000, groups=1_000)
COLD = replace(
    MANY, letter="KC", title="a FIFO queue with 100 groups of 200", messages=20_000, groups=100, clients=OURS
)
HOT = replace(COLD, letter="KH", title="the same beside one group of 10,000", messages=30_000, hot=10_000, limit=15.0)
NOOP_ORDERED = replace(NOOP, letter="L", title="a FIFO queue, handlers that do nothing", groups=1_000, clients=ORDERED)
BATCHES = replace(NOOP, letter="M", title="batches of 100, handlers that do nothing", clients=("leasekeeper-batch",))

SCENARIOS = {
    each.letter: each
    for each in (
        NOOP,
        WAIT,
        BURN,
        LEASE,
        IDLE,
        STOP,
        LARGE,
        LARGEST,
        TRICKLE,
        GROUP,
        GROUPS,
        MANY,
        COLD,
        HOT,
        NOOP_ORDERED,
        BATCHES,
    )
}
"""All scenarios that run; F is calculated from B's runs."""


def chosen(letters: str) -> list[Scenario]:
    """The scenarios of these letters ("ABH"): H is both of its sizes, F is B."""
    wanted = {"B" if letter == "F" else letter for letter in letters.upper()}
    if unknown := wanted - {letter[0] for letter in SCENARIOS}:
        raise SystemExit(
            f"no such scenario: {', '.join(sorted(unknown))}; there are A to I and K to M, {letters!r} was asked for"
        )
    return [scenario for letter, scenario in SCENARIOS.items() if letter[0] in wanted]


def quick(scenario: Scenario) -> Scenario:
    """The same scenario with few messages, as a check that it works."""
    few = {
        "A": 2_000,
        "B": 1_000,
        "C": 300,
        "D": 40,
        "G": 5_000,
        "H64": 50,
        "H1M": 10,
        "I": 100,
        "K1": 50,
        "K10": 300,
        "K1K": 2_000,
        "KC": 1_000,
        "KH": 2_000,
        "L": 2_000,
        "M": 2_000,
    }
    hot = min(scenario.hot, 1_000)
    shorter = replace(scenario, hot=hot, messages=few.get(scenario.letter, 0), limit=min(scenario.limit, 30.0))
    return replace(shorter, seconds=6.0, limit=10.0) if scenario is LEASE else shorter
