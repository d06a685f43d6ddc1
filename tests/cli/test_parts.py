"""What the commands read and show: bodies, attributes, queues and faults to be made, the demo's view."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from leasekeeper.api import MAX_BYTES, Outgoing
from leasekeeper.cli.demo import summary, view
from leasekeeper.cli.demo.state import DemoPlan, DemoState, Ending
from leasekeeper.cli.local_wishes import QueueWish, parse_fault
from leasekeeper.cli.redrive.move_tasks import described
from leasekeeper.cli.send import batches, bodies, parse_attribute
from leasekeeper.errors import ConfigurationError
from leasekeeper.message import MessageAttribute
from leasekeeper.sizes import size_of
from leasekeeper.sqs.codec import MoveTask
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from pathlib import Path

    from leasekeeper.observe.statistics import ConsumerStatistics


@pytest.mark.parametrize(
    ("words", "attribute"),
    [
        ("tenant=acme", ("tenant", MessageAttribute(data_type="String", string_value="acme"))),
        ("sum=a=b", ("sum", MessageAttribute(data_type="String", string_value="a=b"))),
        ("rank:Number=3", ("rank", MessageAttribute(data_type="Number", string_value="3"))),
        ("id:Number.int=3", ("id", MessageAttribute(data_type="Number.int", string_value="3"))),
        ("blob:Binary=aGk=", ("blob", MessageAttribute(data_type="Binary", binary_value=b"hi"))),
    ],
)
def test_an_attribute_is_read(words: str, attribute: tuple[str, MessageAttribute]) -> None:
    assert parse_attribute(words) == attribute


@pytest.mark.parametrize("words", ["tenant", "=x", "tenant=", "n:Float=1", "b:Binary=!!"])
def test_an_attribute_that_is_none_is_refused(words: str) -> None:
    with pytest.raises(ConfigurationError, match="--attribute"):
        parse_attribute(words)


def test_each_line_of_a_file_is_a_body_and_empty_lines_are_none(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("one\n\n  two \r\nthree")
    assert list(bodies(None, path)) == ["one", "  two ", "three"]


@pytest.mark.parametrize("piped", [True, False])
def test_a_byte_order_mark_is_no_part_of_the_first_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, piped: bool
) -> None:
    """Standard input is read as UTF-8 like a file, whatever the encoding of the terminal is."""
    content = '\ufeff{"n": 1}\r\n\u20ac\n'.encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="latin-1"))
    path = tmp_path / "lines"
    path.write_bytes(content)
    assert list(bodies(None, None if piped else path)) == ['{"n": 1}', "\u20ac"]


def test_input_that_is_not_utf_8_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="latin-1"))
    with pytest.raises(ConfigurationError, match="standard input is not UTF-8 text"):
        list(bodies(None, None))


def test_batches_hold_ten_messages_and_a_megabyte() -> None:
    small = [Outgoing(body=str(n)) for n in range(25)]
    assert [len(each) for each in batches(small)] == [10, 10, 5]
    half = Outgoing(body="x" * (MAX_BYTES // 2))
    assert [len(each) for each in batches([half, half, half])] == [2, 1]


def test_a_message_that_is_too_large_is_refused_with_its_position() -> None:
    with pytest.raises(ConfigurationError, match="message 2 has 1,048,577 bytes"):
        list(batches([Outgoing(body="x"), Outgoing(body="x" * (MAX_BYTES + 1))]))


def test_the_size_of_a_message_counts_attributes_and_bytes_not_characters() -> None:
    attributes = {"né": MessageAttribute(data_type="String", string_value="é")}
    assert size_of("é", attributes) == 2 + 3 + 6 + 2


def test_a_queue_to_be_made_is_read() -> None:
    wish = QueueWish.parse("orders:dlq=orders-dead,max=3,visibility=60,MaximumMessageSize=1024")
    assert wish == QueueWish(
        name="orders",
        attributes={"VisibilityTimeout": "60", "MaximumMessageSize": "1024"},
        dead_letters="orders-dead",
        max_receives=3,
    )
    for given, kind in (("a.fifo:dlq=b", "a FIFO queue: end its name in .fifo"), ("a:dlq=b.fifo", "a standard queue")):
        with pytest.raises(ConfigurationError, match=rf"--queue='{given}': dlq=b.* must be {kind}, as a.* is"):
            QueueWish.parse(given)
    assert QueueWish.parse("a.fifo").attributes == {"FifoQueue": "true"}


def test_a_fault_is_read() -> None:
    assert parse_fault("throttle=0.1,latency=0.01-0.05") == ("*", {"throttle": 0.1, "latency": (0.01, 0.05)})
    assert parse_fault("ReceiveMessage:lose-by-reset=1") == ("ReceiveMessage", {"lose_by_reset": 1.0})


def test_a_move_task_is_told_in_a_few_words() -> None:
    task = MoveTask(
        status="FAILED",
        destination_arn="arn:aws:sqs:eu-west-1:123456789012:orders",
        approximate_number_of_messages_moved=3,
        approximate_number_of_messages_to_move=9,
        failure_reason="AccessDenied",
    )
    assert described(task) == "failed to orders, moved 3 of about 9: AccessDenied"


@pytest.mark.parametrize(
    ("values", "width", "bars"),
    [([], 5, ""), ([0, 0], 5, "  "), ([1, 2, 4, 8], 5, "▁▂▄█"), ([8, 1, 8], 2, "▁█")],
)
def test_a_sparkline_scales_to_its_highest_value(values: list[float], width: int, bars: str) -> None:
    assert view.sparkline(values, width) == bars


@virtual
async def statistics_at_rest() -> ConsumerStatistics:
    """Statistics of a consumer that has received nothing."""

    async def handle(_body: str) -> None:
        """Is never called."""

    async with World() as world:
        return (await world.start(handle)).statistics()


def state(**changed: Any) -> DemoState:
    made: dict[str, Any] = {
        "stage": "flowing",
        "elapsed": 12.34,
        "plan": DemoPlan(seconds=20, messages=None, concurrency=50, handler_ms=20),
        "statistics": statistics_at_rest(),
        "sent": 1_234_567,
        "waiting": 123_456,
        "finished": 1_111_111,
        "rates": [float(n) for n in range(500)],
        "calls": {"ReceiveMessage": 10, "DeleteMessageBatch": 10},
        "events": ["order 1: " + "x" * 300] * 4,
    }
    return DemoState(**{**made, **changed})


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("stage", ["flowing", "draining", "done"])
def test_the_view_fits_its_width_and_a_small_terminal(width: int, stage: str) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(view.live(state(stage=stage), width))
    lines = capture.get().splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= width
    assert "1,234,567" in capture.get()


def test_rejected_orders_do_not_make_more_deleted_than_finished() -> None:
    """They are deleted after they were copied to the dead-letter queue."""
    now = statistics_at_rest()
    ledger = replace(now.ledger, acked=1_000, late=7, deleted_by={"dead_letter": 7, "known_duplicate": 0})
    shown = view.line(state(finished=1_000, statistics=replace(now, ledger=ledger)))
    assert "finished 1,000  deleted 1,000  " in shown


def test_without_a_settled_message_there_are_no_calls_per_message() -> None:
    assert state().calls_per_message == 0.0
    assert view.margin(None) == "-"


def test_the_report_adds_up() -> None:
    ending = Ending(
        why="the time is over",
        flowed=10.0,
        drained=0.5,
        first=0.7,
        first_consumed=0.1,
        running=5,
        finished_in_drain=5,
        ended_in_drain=0,
        released_at_stop=2,
        acked_in_drain=7,
        duplicates=0,
        left=3,
        dead=1,
        lost=0,
    )
    shown = summary.plain(state(finished=1000), ending)
    assert shown.startswith(
        "Stopped (the time is over). The drain took 0.5 s: 5 handlers finished, 2 messages given back before a start, "
        "7 deletes confirmed."
    )
    assert "first message handled      0.70 s  after the command, 0.10 s after the consumer's start" in shown
    assert "rate                        100/s  the most for 50 handlers of about 20 ms: 2,500/s" in shown


def test_a_body_that_the_locale_could_not_read_is_utf8_if_its_bytes_are() -> None:
    """With `LANG=C` each byte beyond ASCII comes as a surrogate."""
    assert list(bodies("tea \udce2\udc98\udc95", None)) == ["tea \u2615"]
    assert list(bodies("tea \udce9", None)) == ["tea \udce9"]  # refused when it is sent
