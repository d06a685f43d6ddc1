"""The keeper of a real process: what becomes of messages when that dies. `soak/keeper` has what takes longer."""

from __future__ import annotations

import re
import signal
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

if TYPE_CHECKING:
    from kept_bench import KeptBench

pytestmark = pytest.mark.slow


def _alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_kill_what_a_killed_consumer_held_is_settled_at_once(bench: KeptBench) -> None:
    """L3: finished messages are deleted, waiting ones visible at once, and running ones after their back-off."""
    bench.fill(40)
    bench.sqs.start()
    program = bench.start("""
        def handle(message: Message[str]) -> None:
            if message.body in {"0", "1", "2"}:
                return note("done")
            note("running")
            time.sleep(600)

        consumer = Consumer(
            "orders", handle, keeper=True, visibility_timeout=600, concurrency=4, prefetch=36, ack_interval=60,
            retry_base=2, throttle=False,
        )
        consumer.start()
        threading.Event().wait()
    """)
    bench.until(lambda: program.said("running") == 4 and program.said("done") == 3, "seven handlers are called")
    bench.until(lambda: bench.counts() == (0, 40), "all are held")
    program.signal(signal.SIGKILL)
    killed = time.monotonic()
    bench.until(lambda: bench.counts() in {(33, 4), (37, 0)}, "what was not started is visible, and three are gone")
    bench.until(lambda: bench.counts() == (37, 0), "what ran is visible")
    assert time.monotonic() - killed >= 1.9
    bench.until(lambda: "held 40 messages: 3 deleted and 37 given back" in program.err, "the keeper says so")
    calls = bench.sqs.calls
    assert calls["DeleteMessageBatch"] == 1
    assert calls["ChangeMessageVisibilityBatch"] == 5


def test_a_consumer_and_its_keeper_speak_tls(bench: KeptBench, tmp_path: Path) -> None:
    """With a certificate that only the file named by `AWS_CA_BUNDLE` vouches for."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    bench.fill(3)
    bench.sqs.start()
    with bench.tls(context) as url:
        bench.variables = {"AWS_ENDPOINT_URL_SQS": url, "AWS_CA_BUNDLE": str(tmp_path / "ca.pem")}
        program = bench.start("""
            def handle(message: Message[str]) -> None:
                note("start")
                if message.body != "0":
                    time.sleep(600)

            consumer = Consumer(
                "orders", handle, keeper=True, visibility_timeout=600, concurrency=1, retry_base=1
            )
            consumer.start()
            while (ledger := consumer.statistics().ledger).acked < 1 or sum(ledger.held.values()) < 2:
                time.sleep(0.01)
            note("holds two")
            threading.Event().wait()
        """)
        # By its own words: what it has not read of SQS's answers yet would be lost with it.
        bench.until(lambda: program.said("start") == 2 and program.said("holds two"), "one is done, and one runs")
        program.signal(signal.SIGKILL)
        bench.until(lambda: bench.counts() == (2, 0), "both are visible")
        bench.until(lambda: "held 2 messages: 0 deleted and 2 given back" in program.err, "the keeper says so")


def test_the_keeper_ends_with_a_clean_stop_and_is_started_again_when_it_dies(bench: KeptBench) -> None:
    bench.fill(1)
    bench.sqs.start()
    program = bench.start("""
        from leasekeeper.keeper import process
        process.AGAIN = 0.0

        consumer = Consumer("orders", lambda message: note("done"), keeper=True, visibility_timeout=3)
        consumer.start()
        note(f"keeper {process.KEEPER.pid}")
        while not (words := open(f"/proc/{process.KEEPER.pid}/cmdline").read()):
            time.sleep(0.01)  # the kernel has none while it starts the program
        note(words.replace(chr(0), " "))
        first = process.KEEPER.pid
        os.kill(first, 9)
        while process.KEEPER.pid in {None, first}:
            time.sleep(0.05)
        note(f"keeper {process.KEEPER.pid}")
        print(consumer.stop().result())
        note(f"end {process.KEEPER.pid}")
    """)
    bench.until(lambda: program.said("end") or program.process.poll() is not None, "it has ended")
    assert program.said("end None") == 1, program.err
    assert (
        " -S -I -c " in program.out
    )  # no module of the user's, in the folder "/" or elsewhere, takes the place of ours
    keepers = [int(line.split()[1]) for line in program.out.splitlines() if line.startswith("keeper")]
    assert len(set(keepers)) == 2
    assert not any(map(_alive, keepers))
    assert bench.counts() == (0, 0)


def test_a_consumer_runs_without_a_keeper_where_the_system_refuses_it(bench: KeptBench) -> None:
    """A filter of system calls without `memfd_create`, a limit on the size of files, no interpreter to start."""
    bench.fill(300)
    bench.sqs.start()
    program = bench.start("""
        import errno, logging, resource
        logging.basicConfig(format="%(levelname)s %(message)s")
        made = os.memfd_create

        def refused(*_):
            raise PermissionError(errno.EPERM, "no memfd here")

        def some_messages():
            consumer = Consumer("orders", lambda message: note("done"), keeper=True, concurrency=1, prefetch=0)
            consumer.start()
            while not consumer.statistics().ledger.acked:
                time.sleep(0.02)
            consumer.stop().result()

        os.memfd_create = refused
        some_messages()
        os.memfd_create = made
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        some_messages()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        sys.executable = "/none/python"
        before = len(os.listdir("/proc/self/fd"))
        some_messages()
        note(f"end {len(os.listdir('/proc/self/fd')) - before}")
    """)
    bench.until(lambda: program.said("end") or program.process.poll() is not None, "it has ended")
    assert program.said("done") >= 3, program.err
    assert program.said("end 0") == 1, program.out
    said = "ERROR queue orders: the consumer runs without a keeper, because "
    assert program.err.count(said) == 3, program.err
    assert f"{said}its table cannot be made: [Errno 1] no memfd here; if this process" in program.err
    assert f"{said}its table cannot be made: [Errno 27] File too large" in program.err
    assert f"{said}its process cannot be started: [Errno 2] No such file or directory: '/none/python'" in program.err


def test_a_keeper_that_is_stopped_holds_up_neither_the_work_nor_the_end(bench: KeptBench) -> None:
    bench.fill(30)
    bench.sqs.start()
    program = bench.start("""
        import signal
        from leasekeeper.keeper.process import KEEPER

        consumer = Consumer("orders", lambda message: note("done"), keeper=True, visibility_timeout=3)
        consumer.start()
        keeper = KEEPER.pid
        os.kill(keeper, signal.SIGSTOP)
        while consumer.statistics().ledger.acked < 30:
            time.sleep(0.02)
        print("report", consumer.stop().result().lost)
        note(f"end {keeper} {KEEPER.pid}")
    """)
    bench.until(lambda: program.said("end") or program.process.poll() is not None, "it has ended")
    assert program.said("report 0") == 1, program.err
    [ended] = re.findall(r"end (\d+) None", program.out)
    assert not _alive(int(ended))


def test_the_supervisor_is_the_keeper_of_its_processes(bench: KeptBench) -> None:
    """It settles what a process held that it replaces, and the new one gets the messages."""
    bench.fill(3)
    bench.sqs.start()
    program = bench.run(
        """
        app = Leasekeeper()

        @app.consumer("orders", visibility_timeout=600, concurrency=1, prefetch=2, receive_batch=3, throttle=False,
                      retry_base=1)
        def ship(message: Message[str]) -> None:
            note(f"start {os.getpid()} {message.body} {message.receive_count}")
            if message.body == "0" and message.receive_count == 1:
                os.kill(os.getpid(), 9)
            note("done")
        """,
        "--processes",
        "1",
    )
    bench.until(lambda: program.said("done") == 3, "all are done, in the second process")
    program.signal(signal.SIGTERM)
    bench.until(lambda: program.process.poll() is not None, "it has ended")
    bench.until(lambda: bench.counts() == (0, 0), "all are deleted")
    [settled] = re.findall(r"the process ended and held 3 messages: (\d) deleted and (\d) given back", program.err)
    assert sum(map(int, settled)) == 3
    runs = [line.split()[1:] for line in program.out.splitlines() if line.startswith("start")]
    assert len({run[0] for run in runs}) == 2
    assert sorted(run[1:] for run in runs) == [["0", "1"], ["0", "2"], ["1", "2"], ["2", "2"]]
