"""The CPU time of a call in the server: `python tests/local/cpu_per_call.py [--depths 1000 50000] [--calls 3000]`.

It starts the server as a separate process, fills a queue to a depth, then times batches of ten against user and system
time of the server's process alone. The client is raw sockets, so that it does not limit the rate.
"""

# ruff: noqa: T201 - it is a script that prints

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BODY = "x" * 500
TICK = os.sysconf("SC_CLK_TCK")


class Client:
    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.removeprefix("http://").partition(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, operation: str, body: bytes) -> bytes:
        head = (
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-amz-json-1.0\r\n"
            f"X-Amz-Target: AmazonSQS.{operation}\r\nx-amzn-query-mode: true\r\nX-Amz-Date: 20260101T000000Z\r\n"
            "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/sqs/aws4_request, SignedHeaders="
            "content-type;host;x-amz-date;x-amz-target, Signature=fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc9\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.socket.sendall(head.encode() + body)
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self.socket.recv(1 << 18)
        size = int(answer[:end].lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        while len(answer) < end + 4 + size:
            answer += self.socket.recv(1 << 18)
        return answer[end + 4 :]

    def call(self, operation: str, **request: Any) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.post(operation, json.dumps(request).encode()) or b"{}")
        return answer


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(client: Client, pid: int, operation: str, bodies: list[bytes]) -> tuple[str, list[bytes]]:
    cpu, wall = cpu_seconds(pid), time.perf_counter()
    answers = [client.post(operation, body) for body in bodies]
    cpu, wall = cpu_seconds(pid) - cpu, time.perf_counter() - wall
    return f"{operation:30} {cpu / len(bodies) * 1e3:.3f} ms CPU a call, {len(bodies) / wall:7.0f} calls/s", answers


def measure_depth(client: Client, pid: int, depth: int, calls: int, attributes: dict[str, str]) -> None:
    name = f"depth-{depth}" + (".fifo" if attributes else "")
    url = client.call("CreateQueue", QueueName=name, Attributes={"VisibilityTimeout": "900", **attributes})["QueueUrl"]

    def sends(first: int, count: int) -> list[bytes]:
        return [
            json.dumps(
                {
                    "QueueUrl": url,
                    "Entries": [
                        {"Id": str(i), "MessageBody": BODY}
                        | ({"MessageGroupId": f"g{at}", "MessageDeduplicationId": f"{at}-{i}"} if attributes else {})
                        for i in range(10)
                    ],
                }
            ).encode()
            for at in range(first, first + count)
        ]

    for body in sends(0, depth // 10):
        client.post("SendMessageBatch", body)
    print(f"--- {name}")
    print(measure(client, pid, "SendMessageBatch", sends(depth, calls))[0])
    receive = {"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0, "MessageSystemAttributeNames": ["All"]}
    line, answers = measure(client, pid, "ReceiveMessage", [json.dumps(receive).encode()] * calls)
    print(line)
    receipts = [[m["ReceiptHandle"] for m in json.loads(answer)["Messages"]] for answer in answers]
    assert all(len(batch) == 10 for batch in receipts)
    for operation, extra in (("ChangeMessageVisibilityBatch", {"VisibilityTimeout": 600}), ("DeleteMessageBatch", {})):
        bodies = [
            json.dumps(
                {"QueueUrl": url, "Entries": [{"Id": str(i), "ReceiptHandle": r, **extra} for i, r in enumerate(batch)]}
            ).encode()
            for batch in receipts
        ]
        print(measure(client, pid, operation, bodies)[0])
    left = client.call("GetQueueAttributes", QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    assert left["Attributes"]["ApproximateNumberOfMessages"] == str(depth // 10 * 10)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--depths", type=int, nargs="*", default=[1_000, 50_000])
    parser.add_argument("--calls", type=int, default=3_000)
    options = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, "-m", "leasekeeper", "local", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        client = Client(server.stdout.readline().partition(" at ")[2].partition(". ")[0])
        fifo = {"FifoQueue": "true"}
        for depth in options.depths:
            measure_depth(client, server.pid, depth, options.calls, {})
            measure_depth(client, server.pid, depth, options.calls, fifo)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
