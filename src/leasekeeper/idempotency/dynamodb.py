"""A store in DynamoDB: one conditional write a verb, over our own wire.

DynamoDB has no clock for conditions, so the time is this machine's, with a margin. Its own deletion of old items lags
behind by days, so the end of each item is always compared.
"""

from __future__ import annotations

import asyncio
import base64
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from leasekeeper.errors import SqsError
from leasekeeper.idempotency.api import CLAIMED, Completed, Found, Running, TableMissing
from leasekeeper.loggers import safe_logger
from leasekeeper.sqs.connecting import connect
from leasekeeper.sqs.services import DYNAMODB
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from leasekeeper.api import Credentials, CredentialsProvider, Response, Transport, TransportSettings
    from leasekeeper.idempotency.api import Extension
    from leasekeeper.sqs.wire import Wire

log = safe_logger("leasekeeper.idempotency")

MARGIN = 2.0
"""Seconds after its end at which a claim counts as over: the clocks of two machines may differ by so much."""
SKEW = 5.0
"""Seconds by which this machine's clock may differ from DynamoDB's, by the `Date` of answers, without a warning."""
LOOK_AT_DATE = 60.0
"""Seconds between two looks at that."""
AT_ONCE = 32
"""Calls side by side, and so connections, at most."""
CREATED_WITHIN = 120.0
"""Seconds until a new table has to be active."""
NAMES = {"#key": "key", "#token": "token", "#done": "done", "#until": "until"}


class DynamoDbStore:
    """Keeps idempotency keys in a table of DynamoDB.

    The table has the partition key `key` (a string), and `expires` as its TTL attribute; `create_table()` makes it. The
    machines that use it need
    clocks that differ by less than two seconds.

    Args:
        table: its name or ARN.
        region: of the table; None takes the environment's, as for `endpoint_url`, `profile` and `credentials`.
        endpoint_url: of DynamoDB; None: `AWS_ENDPOINT_URL_DYNAMODB`, else the region's.
        profile: of ~/.aws/config.
        credentials: as the option of a consumer.
        wall: this machine's clock, in epoch seconds.
    """

    inline = False
    connections = AT_ONCE

    def __init__(
        self,
        table: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        credentials: Credentials | CredentialsProvider | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._wall = wall
        self._place: dict[str, Any] = {
            "region": region,
            "endpoint_url": endpoint_url,
            "profile": profile,
            "credentials": credentials,
        }
        self._settings = ClientSettings(**self._place, service=DYNAMODB, http=self._transport)
        self._looked_at_date = -LOOK_AT_DATE
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._loop: object = None
        self._wire: asyncio.Task[Wire] | None = None

    @property
    def definition(self) -> dict[str, Any]:
        """The arguments of CreateTable; those of UpdateTimeToLive, which follows it, are `time_to_live`."""
        return {
            "TableName": self._table,
            "KeySchema": [{"AttributeName": "key", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "key", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        }

    @property
    def time_to_live(self) -> dict[str, Any]:
        """The arguments of UpdateTimeToLive."""
        return {
            "TableName": self._table,
            "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "expires"},
        }

    @property
    def _where(self) -> str:
        return f" in region {self._place['region']}" if self._place["region"] else ""

    @property
    def _flags(self) -> str:
        return "".join(
            f" --{name.replace('_', '-')} {self._place[name]}"
            for name in ("region", "endpoint_url", "profile")
            if self._place[name]
        )

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:  # noqa: ARG002 - Store's
        """As `Store.claim`."""
        now = self._wall()
        free = "attribute_not_exists(#key) OR #until < :over OR (#done = :no AND #token = :token)"
        values = {":over": _number(_over(now)), ":no": {"BOOL": False}, ":token": {"S": token}}
        item = self._item(key, token, done=False, until=now + lease)
        old = await self._write("PutItem", {"Item": item, "ConditionExpression": free}, values)
        if old is None:
            return CLAIMED
        if old.get("done", {}).get("BOOL"):
            result = old.get("result", {}).get("B")
            known = old.get("fingerprint", {}).get("S", "")
            return Completed(known, None if result is None else base64.b64decode(result))
        return Running(max(0.0, float(old.get("until", {}).get("N", now)) + MARGIN - now))

    async def extend(self, extensions: Sequence[Extension]) -> Sequence[bool]:
        """As `Store.extend`: some side by side, because DynamoDB has no batches of conditional writes."""
        return await asyncio.gather(*(self._extend(*each) for each in extensions))

    async def _extend(self, key: str, token: str, lease: float) -> bool:
        now = self._wall()
        values = {
            ":over": _number(_over(now)),
            ":no": {"BOOL": False},
            ":token": {"S": token},
            ":until": _number(now + lease),
            ":expires": {"N": str(int(now + lease) + 60)},
        }
        fields = {
            "Key": {"key": {"S": key}},
            "UpdateExpression": "SET #until = :until, expires = :expires",
            "ConditionExpression": "#token = :token AND #done = :no AND #until >= :over",
        }
        return await self._write("UpdateItem", fields, values) is None

    async def complete(self, key: str, token: str, fingerprint: str, result: bytes | None, keep: float) -> bool:
        """As `Store.complete`."""
        now = self._wall()
        item = self._item(key, token, done=True, until=now + keep)
        item["fingerprint"] = {"S": fingerprint}
        if result is not None:
            item["result"] = {"B": base64.b64encode(result).decode()}
        ours = "attribute_not_exists(#key) OR #until < :over OR #token = :token"
        values = {":over": _number(_over(now)), ":token": {"S": token}}
        return await self._write("PutItem", {"Item": item, "ConditionExpression": ours}, values) is None

    async def release(self, key: str, token: str) -> bool:
        """As `Store.release`."""
        values = {":over": _number(_over(self._wall())), ":no": {"BOOL": False}, ":token": {"S": token}}
        ours = "#token = :token AND #done = :no AND #until >= :over"
        return (
            await self._write("DeleteItem", {"Key": {"key": {"S": key}}, "ConditionExpression": ours}, values) is None
        )

    async def close(self) -> None:
        """As `Store.close`."""
        connecting, self._wire = self._wire, None
        if connecting is not None:
            await (await connecting).close()

    @staticmethod
    def _item(key: str, token: str, *, done: bool, until: float) -> dict[str, Any]:
        return {
            "key": {"S": key},
            "token": {"S": token},
            "done": {"BOOL": done},
            "until": _number(until),
            "expires": {"N": str(int(until) + 60)},
        }

    async def _write(self, operation: str, fields: dict[str, Any], values: dict[str, Any]) -> dict[str, Any] | None:
        """Write if the condition holds; else the item that is there (empty if there is none)."""
        condition = fields["ConditionExpression"] + fields.get("UpdateExpression", "")
        request = {
            "TableName": self._table,
            **fields,
            "ExpressionAttributeNames": {name: real for name, real in NAMES.items() if name in condition},
            "ExpressionAttributeValues": values,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        wire = await self._connected()
        try:
            async with self._slots:
                await wire.call_patiently(operation, msgspec.json.encode(request))
        except SqsError as error:
            if error.code.startswith("ResourceNotFound"):
                raise TableMissing(
                    f"{self!r}: table {self._table} does not exist{self._where}: run "
                    f"`leasekeeper store create dynamodb --table {self._table}{self._flags}`"
                ) from error
            if not error.code.startswith("ConditionalCheckFailed"):
                raise
            found: dict[str, Any] = msgspec.json.decode(error.answer).get("Item") or {}
            return found
        return None

    async def _connected(self) -> Wire:
        loop = asyncio.get_running_loop()
        if self._wire is None or self._loop is not loop:  # another thread of the store, also in a forked child
            self._loop, self._wire = loop, asyncio.ensure_future(self._connect())
            self._slots = asyncio.Semaphore(AT_ONCE)
        connecting = self._wire
        try:
            return await asyncio.shield(connecting)
        except Exception:
            if self._wire is connecting:
                self._wire = None
            raise

    async def _connect(self) -> Wire:
        wire, _ = await connect(self._settings)
        return wire

    # The table

    def create_table(self) -> bool:
        """Create the table if it is not there, and switch its TTL on; blocks until it can be used.

        Returns: whether it was created; False: it was there already.
        """
        with ThreadPoolExecutor(1) as thread:  # this one may run a loop
            return thread.submit(lambda: asyncio.run(self._create())).result()

    async def _create(self) -> bool:
        created = False
        wire = await self._connect()
        try:
            with _allowed("ResourceInUse"):
                await wire.call_patiently("CreateTable", msgspec.json.encode(self.definition))
                created = True
            async with asyncio.timeout(CREATED_WITHIN):
                while not await self._is_active(wire):  # noqa: ASYNC110 - of a server
                    await asyncio.sleep(0.5)
            with _allowed("ValidationException"):  # it is switched on already
                await wire.call_patiently("UpdateTimeToLive", msgspec.json.encode(self.time_to_live))
        finally:
            await wire.close()
        return created

    async def _is_active(self, wire: Wire) -> bool:
        answer = await wire.call_patiently("DescribeTable", msgspec.json.encode({"TableName": self._table}))
        return bool(msgspec.json.decode(answer)["Table"]["TableStatus"] == "ACTIVE")

    # The clock

    def _transport(self, settings: TransportSettings) -> Transport:
        from leasekeeper.sqs.http_native import NativeTransport

        return _Dated(NativeTransport(settings), self._look_at_date)

    def _look_at_date(self, date: str | None) -> None:
        """Warn if this machine's clock differs from the server's by more than claims allow for."""
        now = self._wall()
        if abs(now - self._looked_at_date) < LOOK_AT_DATE or not date:
            return
        self._looked_at_date = now
        with suppress(ValueError, OverflowError):
            skew = now - parsedate_to_datetime(date).timestamp()
            if abs(skew) > SKEW:
                log.warning(
                    "%r: the clock of this machine is %.0f s %s that of DynamoDB, so claims of other machines may be "
                    "taken too early or too late; set the clock",
                    self,
                    abs(skew),
                    "ahead of" if skew > 0 else "behind",
                )

    def __reduce__(self) -> Any:
        """For worker processes, which open connections themselves."""
        return partial(DynamoDbStore, wall=self._wall, **self._place), (self._table,)

    def __repr__(self) -> str:
        return f"<DynamoDbStore, table {self._table}>"


class _Dated:
    """A transport that shows the `Date` of each answer."""

    def __init__(self, inner: Transport, look: Callable[[str | None], None]) -> None:
        self._inner = inner
        self._look = look

    async def post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Response:  # noqa: ASYNC109 - as `Transport`
        """As `Transport.post`."""
        answer = await self._inner.post(body, headers, timeout)
        self._look(answer.header("date"))
        return answer

    async def close(self) -> None:
        """As `Transport.close`."""
        await self._inner.close()


@contextmanager
def _allowed(code: str) -> Iterator[None]:
    """Let an error of that code pass."""
    try:
        yield
    except SqsError as error:
        if not error.code.startswith(code):
            raise


def _over(now: float) -> float:
    """Claims that ended before this are over."""
    return now - MARGIN


def _number(value: float) -> dict[str, str]:
    return {"N": f"{value:.6f}"}
