"""`S3Payloads`: where payloads are kept that are too large for a message, for the option `payloads` and for senders.

Made by users. It may be given to several consumers and senders: each has connections for itself.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Literal, get_args

from leasekeeper.errors import ConfigurationError, NotFound
from leasekeeper.loggers import safe_logger
from leasekeeper.payload import PayloadUnavailable
from leasekeeper.payloads.pointers import PointerName
from leasekeeper.sqs.services import S3
from leasekeeper.sqs.settings import ClientSettings
from leasekeeper.sqs.urls import check_endpoint, redacted
from leasekeeper.texts import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.api import Credentials, CredentialsProvider
    from leasekeeper.payloads.api import ObjectStore

log = safe_logger("leasekeeper.payloads")

Addressing = Literal["auto", "path", "virtual"]
DeletePolicy = Literal["acked", "never"]
LOOK = 5.0
"""Seconds that asking for a bucket may take at the start."""
LONGEST_PREFIX = 900
"""Bytes: keys have at most 1,024 (Amazon S3 limits), and ours add 36 to the prefix."""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class S3Payloads:
    """Keeps payloads that are too large for a message in S3, in the formats of the extended clients of AWS.

    Args:
        bucket: where senders put payloads, and from where consumers fetch them.
        prefix: begins the keys of payloads that are sent, e.g. `orders/`.
        above: bytes of a message with its attributes above which its payload goes to S3. Unset: 16 KiB less than the
            queue's largest message. 0: always.
        pointer: the format that senders write: 'extended', or 'legacy' for readers of the first generation.
        delete: when consumers delete an object: 'acked': when SQS has confirmed the delete of its message within the
            lease; 'never', e.g. if several queues get the same message from SNS.
        buckets: further buckets from which consumers may fetch. A message that points elsewhere is rejected.
        expected_owner: the account that must own the buckets, 12 digits; S3 refuses calls otherwise.
        kms_key: the id or ARN of the KMS key that encrypts what is sent; empty: the account's key for S3. Unset: as
            the bucket does by default.
        addressing: where the bucket's name is in URLs: 'virtual': in the host; 'path'; 'auto': in the host on AWS.
        region: of the buckets; unset, as the next three: that of the consumer or sender.
        endpoint_url: of S3; unset: as boto3 finds it (`AWS_ENDPOINT_URL_S3`).
        profile: of ~/.aws/config.
        credentials: credentials, or a function that returns some.
        client: another store to use (`leasekeeper.payloads.api.ObjectStore`); it is not closed.

    Raises:
        ConfigurationError: an argument is malformed.
    """

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        above: int | None = None,
        pointer: PointerName = "extended",
        delete: DeletePolicy = "acked",
        buckets: Sequence[str] = (),
        expected_owner: str | None = None,
        kms_key: str | None = None,
        addressing: Addressing = "auto",
        region: str | None = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        credentials: Credentials | CredentialsProvider | None = None,
        client: ObjectStore | None = None,
    ) -> None:
        named = (bucket, *((buckets,) if isinstance(buckets, str) else buckets))
        _check(named, prefix, above)
        for name, value, choices in (
            ("pointer", pointer, get_args(PointerName)),
            ("delete", delete, get_args(DeletePolicy)),
            ("addressing", addressing, get_args(Addressing)),
        ):
            if value not in choices:
                raise ConfigurationError(
                    f"S3Payloads({name}={value!r}): must be one of {', '.join(map(repr, choices))}"
                )
        if expected_owner is not None and re.fullmatch(r"\d{12}", expected_owner) is None:
            raise ConfigurationError(f"S3Payloads(expected_owner={expected_owner!r}): an AWS account has 12 digits")
        if kms_key is not None and not (kms_key.isascii() and kms_key.isprintable()):
            raise ConfigurationError(f"S3Payloads(kms_key={kms_key!r}): must be the id or the ARN of a key")
        if endpoint_url is not None:
            check_endpoint(endpoint_url, "endpoint_url")
        self.bucket = bucket
        self.prefix = prefix
        self.above = above
        self.pointer: PointerName = pointer
        self.delete: DeletePolicy = delete
        self.buckets = frozenset(named)
        self.expected_owner = expected_owner
        self.kms_key = kms_key
        self.addressing: Addressing = addressing
        self.client = client
        self._connection = (region, endpoint_url, profile, credentials)

    @classmethod
    def from_url(cls, url: str) -> S3Payloads:
        """Made of `s3://bucket` or `s3://bucket/folder`.

        Raises:
            ConfigurationError: it is no such URL.
        """
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not url.startswith("s3://"):
            raise ConfigurationError(f"{url!r}: give the place for payloads as s3://bucket or s3://bucket/folder")
        return cls(bucket, prefix=f"{prefix.rstrip('/')}/" if prefix else "")

    async def connect(
        self,
        *,
        region: str | None,
        profile: str | None,
        credentials: Credentials | CredentialsProvider | None,
    ) -> ObjectStore:
        """The store, for a consumer or sender with these settings.

        Raises:
            ConfigurationError: no region, or settings that contradict each other.
            CredentialsMissing: no credentials were found.
        """
        if self.client is not None:
            return self.client
        from leasekeeper.payloads.s3 import CallOptions, S3Client

        own_region, endpoint_url, own_profile, own_credentials = self._connection
        settings = ClientSettings(
            region=own_region or region,
            endpoint_url=endpoint_url,
            profile=own_profile or profile,
            credentials=own_credentials or credentials,
            service=S3,
        )
        return await S3Client.connect(settings, CallOptions(self.addressing, self.expected_owner, self.kms_key))

    async def check(self, store: ObjectStore, *, now: bool = False) -> None:
        """Ask S3 once whether the buckets exist.

        Args:
            store: to ask.
            now: whether S3 has to answer. Otherwise a warning says that it does not: it may be back in a moment.

        Raises:
            NotFound: a bucket does not exist.
            PayloadUnavailable: S3 does not answer, and has to.
        """
        exists: Any = getattr(store, "exists", None)
        for bucket in sorted(self.buckets) if exists is not None else ():
            try:
                async with asyncio.timeout(LOOK):
                    there = await exists(bucket)
            except (PayloadUnavailable, TimeoutError) as error:
                why = f"no answer in {LOOK:g} s" if isinstance(error, TimeoutError) else one_line(error)
                if now:
                    raise PayloadUnavailable(f"bucket {bucket} cannot be used: {why}") from error
                log.warning("bucket %s cannot be looked at, payloads may not be found: %s", bucket, why)
            else:
                if not there:
                    asked = f" at {redacted(store.endpoint_url)}" if hasattr(store, "endpoint_url") else ""
                    raise NotFound(
                        f"S3Payloads: bucket {bucket} does not exist{asked}: create it, or check its name and S3's "
                        "endpoint"
                    )

    def __repr__(self) -> str:
        return f"<S3Payloads in s3://{self.bucket}/{self.prefix}>"


def _check(buckets: Sequence[Any], prefix: Any, above: Any) -> None:
    for each in buckets:
        if not isinstance(each, str) or _BUCKET.fullmatch(each) is None:
            raise ConfigurationError(f"S3Payloads({each!r}): not the name of a bucket (3 to 63 of a-z, 0-9, - and .)")
    if not isinstance(prefix, str) or not prefix.isprintable() or len(prefix.encode()) > LONGEST_PREFIX:
        raise ConfigurationError(f"S3Payloads(prefix={prefix!r:.80}): at most {LONGEST_PREFIX} bytes of text")
    if above is not None and (not isinstance(above, int) or above < 0):
        raise ConfigurationError(f"S3Payloads(above={above!r}): must be a number of bytes, 0 or more")
