"""How programs end that used an HTTP library a moment ago: a program that did all well must exit with 0.

Run as `python benchmarks/wire/exits.py [--times 60]`; it counts exit codes. For pyreqwest as it was measured before its
transport waited at exit, set PARTING in `http_pyreqwest.py` to 0.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
PROGRAM = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from measure import _transport
from leasekeeper.api import TransportSettings

async def main():
    transport = _transport(sys.argv[2])(TransportSettings(url=f"http://127.0.0.1:{sys.argv[4]}/"))

    async def several(times):
        for _ in range(times):
            await transport.post(b"{}", {"X-Amz-Target": "AmazonSQS.ReceiveMessage"}, 5.0)

    await asyncio.gather(*[several(20) for _ in range(8)])
    if sys.argv[3] == "cancel":
        tasks = [asyncio.create_task(several(1000)) for _ in range(8)]
        await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    await transport.close()

asyncio.run(main())
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=60)
    times = parser.parse_args().times
    stub = subprocess.Popen([sys.executable, str(HERE / "stub.py")], stdout=subprocess.PIPE, text=True)
    try:
        assert stub.stdout is not None
        port = stub.stdout.readline().strip()
        for library in ("native", "pyreqwest", "pyqwest", "aiohttp"):
            for way in ("close", "cancel"):
                command = [sys.executable, "-c", PROGRAM, str(HERE), library, way, port]
                codes: Counter[int] = Counter()
                for _ in range(0, times, 4):  # four at once: the race wants a busy machine
                    running = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(4)]
                    codes.update(process.wait(30) for process in running)
                print(f"{library:<10} {way:<7} {dict(codes)}", flush=True)
    finally:
        stub.kill()
        stub.wait()


if __name__ == "__main__":
    main()
