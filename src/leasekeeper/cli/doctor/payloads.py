"""The doctor's look at payloads in S3: whether the bucket deletes what no consumer deletes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from leasekeeper.cli.doctor.facts import Finding, Level
from leasekeeper.errors import ConfigurationError
from leasekeeper.payload import PayloadUnavailable

if TYPE_CHECKING:
    from leasekeeper.cli.connection import Connection
    from leasekeeper.options import Options
    from leasekeeper.payloads.settings import S3Payloads

_RULE = re.compile(r"<Rule>(.*?)</Rule>", re.DOTALL)
WANTED = (
    "Objects stay when their messages are rejected or late, or when a process dies: add a lifecycle rule that expires "
    "them after the retention periods of the queue and its dead-letter queue together"
)


async def payloads(options: Options | None, connection: Connection) -> list[Finding]:
    """Whether the bucket has a rule that expires objects; nothing without the option `payloads`."""
    if options is None or options.payloads is None:
        return []
    return [await _bucket(cast("S3Payloads", options.payloads), connection)]


async def _bucket(found: S3Payloads, connection: Connection) -> Finding:
    from leasekeeper.payloads.s3 import S3Client

    where = f"bucket {found.bucket}"
    settings = connection.settings()
    try:
        store = await found.connect(region=settings.region, profile=settings.profile, credentials=settings.credentials)
    except ConfigurationError as error:
        return Finding(Level.FAIL, "payloads", f"{where}: {error}")
    if not isinstance(store, S3Client):
        return Finding(Level.OK, "payloads", f"{where}: a store of yours, which is not checked")
    try:
        rules = await store.lifecycle(found.bucket)
    except PayloadUnavailable as error:
        if "NoSuchBucket" in str(error):
            return Finding(
                Level.FAIL, "payloads", f"{where} does not exist: create it, or check its name and the region"
            )
        message = f"{where}: its lifecycle rules cannot be read ({error}). {WANTED}"
        return Finding(Level.WARN, "payloads", message)
    finally:
        await store.close()
    return lifecycle(found.bucket, rules)


def lifecycle(bucket: str, rules: str) -> Finding:
    """What the rules of a bucket, in XML, mean for payloads."""
    active = [rule for rule in _RULE.findall(rules) if "<Status>Enabled</Status>" in rule and "<Expiration>" in rule]
    if not active:
        return Finding(Level.WARN, "payloads", f"bucket {bucket} has no lifecycle rule that expires objects. {WANTED}")
    return Finding(Level.OK, "payloads", f"bucket {bucket} has a lifecycle rule that expires objects")
