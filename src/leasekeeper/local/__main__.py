"""`python -m leasekeeper.local`: SQS on this machine as a separate process.

Owned by the program or person that starts it. It promises to print one line with its address when it listens, and to
end with status 0 on TERM and INT.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys

from leasekeeper.errors import ConfigurationError
from leasekeeper.local.broker import Broker
from leasekeeper.local.running import loop_factory
from leasekeeper.local.server import LocalServer


def main(arguments: list[str] | None = None) -> int:
    """Serve until TERM or INT. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m leasekeeper.local", description="SQS on this machine.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=9324, help="port; 0 takes a free one (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="seed of message ids and faults; by default a new one at each start")
    parser.add_argument("--anywhere", action="store_true", help="allow a host that other machines can reach")
    parser.add_argument(
        "--require-credentials",
        action="store_true",
        help="refuse requests without credentials; signatures are not checked",
    )
    options = parser.parse_args(arguments)
    try:
        server = LocalServer(
            Broker(seed=options.seed),
            host=options.host,
            port=options.port,
            anywhere=options.anywhere,
            require_credentials=options.require_credentials,
        )
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(server))
    except (ConfigurationError, OSError) as error:
        print(f"leasekeeper local: {error}", file=sys.stderr)  # noqa: T201 - this is a command line
        return 1
    return 0


async def _serve(server: LocalServer) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await server.open()
    # The objects of now stay until the end. Messages are many and hold no reference cycles, so collect rarely.
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    print(f"SQS is listening on {server.endpoint_url}", flush=True)  # noqa: T201 - this is a command line
    await stopping.wait()
    await server.close()


if __name__ == "__main__":
    sys.exit(main())
