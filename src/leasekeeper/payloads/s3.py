"""The client of S3: the calls of `leasekeeper.payloads.api.ObjectStore` over HTTP, with our signer and transport.

Owned by one consumer or sender, used on its loop. Temporary errors are tried again, up to three tries in all; then the
message is retried. It shows no credentials, and takes no URL from a server.
"""

from __future__ import annotations

import asyncio
import random
import re
from base64 import b64encode
from hashlib import md5
from html import unescape
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from leasekeeper.errors import CredentialsMissing, SqsError
from leasekeeper.payload import PayloadGone, PayloadsDown, PayloadUnavailable
from leasekeeper.payloads.api import Part
from leasekeeper.sqs.connecting import find, transport_settings
from leasekeeper.sqs.http_native import NativeTransport
from leasekeeper.sqs.rest_signer import Request, RestSigner, path_of
from leasekeeper.sqs.urls import host_of
from leasekeeper.texts import bounded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leasekeeper.api import Credentials, Response
    from leasekeeper.sqs.credentials import CredentialKeeper
    from leasekeeper.sqs.endpoint import Endpoint
    from leasekeeper.sqs.settings import ClientSettings

TRIES = 3
"""How often a request is made before it fails."""
EXPIRED = frozenset({"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "TokenRefreshRequired"})
"""Codes after which other credentials may help."""
DOWN = EXPIRED | {"RequestTimeout", "RequestTimeTooSkewed", "SlowDown", "Throttling", "ThrottlingException"}
"""Codes that say nothing about an object."""
SKEWED = frozenset({"RequestTimeTooSkewed", "SignatureDoesNotMatch", "AccessDenied"})
"""Codes that a wrong clock may cause."""
SHA256 = "x-amz-meta-sha256"
"""Where objects of ours have their digest."""
_CODE = re.compile(rb"<Code>([^<]{1,100})</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]{1,1000})</Message>")
_FAILED = re.compile(r"<Error>(.*?)</Error>", re.DOTALL)
_KEY = re.compile(r"<Key>([^<]*)</Key>")
_REASON = re.compile(r"<Code>([^<]*)</Code>")
_RANGE = re.compile(r"bytes (\d{1,15})-\d+/(\d{1,15})")
_HOST_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")


class CallOptions(NamedTuple):
    """What all calls have in common; `leasekeeper.payloads.S3Payloads` describes each."""

    addressing: str = "auto"
    expected_owner: str | None = None
    kms_key: str | None = None


class S3Client:
    """Reads, writes and deletes objects.

    Args:
        endpoint: of S3.
        credentials: holds the credentials to sign with.
        settings: how to reach it.
        options: of all calls.
    """

    def __init__(
        self, endpoint: Endpoint, credentials: CredentialKeeper, settings: ClientSettings, options: CallOptions
    ) -> None:
        self._endpoint = endpoint
        self._credentials = credentials
        self._settings = settings
        self._options = options
        self._signer = RestSigner(endpoint.region, session_token=endpoint.session_token)
        self._transports: dict[str, NativeTransport] = {}

    @classmethod
    async def connect(cls, settings: ClientSettings, options: CallOptions) -> S3Client:
        """Find endpoint and credentials; no call is made yet.

        Raises:
            ConfigurationError: no region, or settings that contradict each other.
            CredentialsMissing: no credentials were found.
        """
        return cls(*await find(settings), settings, options)

    # Calls

    async def get(self, bucket: str, key: str, *, start: int, length: int, etag: str = "") -> Part:
        """As `ObjectStore.get`."""
        headers = {"range": f"bytes={start}-{start + length - 1}"}
        if etag:
            headers["if-match"] = etag
        answer = await self._call("GET", bucket, key, headers=headers, expected=(200, 206, 404, 416))
        if answer.status == 404:
            if _code(answer) == "NoSuchKey":
                raise PayloadGone(f"its payload is gone: there is no object {_shown(bucket, key)} (NoSuchKey)")
            raise self._refusal("GET", bucket, key, answer)  # no such bucket, or not S3: that may pass
        if answer.status == 416:
            return Part(b"", start)
        data, size = answer.body, len(answer.body)
        if answer.status == 200:  # the server knows no parts
            data = data[start : start + length]
        else:
            stated = _RANGE.fullmatch(answer.header("content-range") or "")
            if stated is None or int(stated[1]) != start or len(data) > length:
                raise PayloadUnavailable(f"GET {_shown(bucket, key)}: the answer is not the part that was asked for")
            size = int(stated[2])
        return Part(data, size, answer.header("etag") or "", (answer.header(SHA256) or "").lower())

    async def put(self, bucket: str, key: str, data: bytes, *, sha256: str) -> None:
        """As `ObjectStore.put`."""
        headers = {SHA256: sha256, "content-type": "text/plain; charset=utf-8"}
        if self._options.kms_key is not None:
            headers["x-amz-server-side-encryption"] = "aws:kms"
            if self._options.kms_key:
                headers["x-amz-server-side-encryption-aws-kms-key-id"] = self._options.kms_key
        answer = await self._call("PUT", bucket, key, headers=headers, body=data, expected=(200,))
        if not answer.header("etag"):  # what a proxy says in the place of S3 must not count as stored
            raise self._refusal("PUT", bucket, key, answer)

    async def delete(self, bucket: str, keys: Sequence[str]) -> Mapping[str, str]:
        """As `ObjectStore.delete`."""
        failed: dict[str, str] = {}
        listed = [key for key in keys if key.isprintable()]
        for key in set(keys).difference(listed):  # XML cannot name it
            await self._call("DELETE", bucket, key, expected=(200, 204))
        if listed:
            objects = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in listed)
            body = f'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>{objects}</Delete>'.encode()
            digest = b64encode(md5(body, usedforsecurity=False).digest()).decode()
            headers = {"content-md5": digest, "content-type": "application/xml"}
            answer = await self._call("POST", bucket, "", query="delete=", headers=headers, body=body, expected=(200,))
            if b"<DeleteResult" not in answer.body:
                raise self._refusal("POST", bucket, "", answer)
            for error in _FAILED.findall(bytes(answer.body).decode(errors="replace")):
                named, reason = _KEY.search(error), _REASON.search(error)
                if named is not None:
                    failed[unescape(named[1])] = reason[1] if reason is not None else "unknown"
        return failed

    async def lifecycle(self, bucket: str) -> str:
        """The rules by which S3 deletes old objects of a bucket, in XML; empty if there are none.

        Raises:
            PayloadUnavailable: they may not be read.
        """
        answer = await self._call("GET", bucket, "", query="lifecycle=", expected=(200, 404))
        if answer.status == 200:
            return bytes(answer.body).decode(errors="replace")
        if _code(answer) == "NoSuchLifecycleConfiguration":
            return ""
        raise self._refusal("GET", bucket, "", answer)

    async def exists(self, bucket: str) -> bool:
        """Whether a bucket exists, also one that we may not use.

        Raises:
            PayloadsDown: S3 does not answer.
            PayloadUnavailable: the bucket is in another region.
        """
        answer = await self._call("GET", bucket, "", query="location=", expected=(200, 403, 404))
        if answer.status == 404 and _code(answer) != "NoSuchBucket":  # something else than S3 says so
            raise self._refusal("GET", bucket, "", answer)
        return answer.status != 404

    @property
    def endpoint_url(self) -> str:
        """The URL of S3, without a bucket."""
        return self._endpoint.url

    async def create(self, bucket: str) -> None:
        """Create a bucket, if we have none of that name: for local servers.

        Raises:
            PayloadUnavailable: it may not be created.
        """
        await self._call("PUT", bucket, "", expected=(200, 409))

    async def close(self) -> None:
        """As `ObjectStore.close`."""
        self._credentials.close()
        transports, self._transports = self._transports, {}
        await asyncio.gather(*(each.close() for each in transports.values()))

    # One call

    async def _call(
        self,
        method: str,
        bucket: str,
        key: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        expected: tuple[int, ...],
    ) -> Response:
        """Make a request, up to three times while its errors are temporary.

        Raises:
            PayloadUnavailable: there is no answer with an expected status.
        """
        owner = self._options.expected_owner
        given = {**(headers or {}), **({"x-amz-expected-bucket-owner": owner} if owner is not None else {})}
        url, path = self._place(bucket, key)
        request = Request(method, path, query, given, body)
        for left in reversed(range(TRIES)):
            try:
                answer = await self._once(url, request)
            except SqsError as error:
                if not left:
                    raise PayloadsDown(f"{method} {_shown(bucket, key)}: {error.code}: {error.message}") from error
            except CredentialsMissing as error:
                raise PayloadsDown(f"{method} {_shown(bucket, key)}: {error}") from error
            else:
                if answer.status in expected:
                    return answer
                if not left or not (answer.status >= 500 or answer.status == 429 or _code(answer) == "RequestTimeout"):
                    raise self._refusal(method, bucket, key, answer)
            await asyncio.sleep(random.uniform(0, 0.2 * 2 ** (TRIES - left)))  # noqa: S311 - jitter, not a secret
        raise AssertionError(request)

    async def _once(self, url: str, request: Request) -> Response:
        credentials = self._credentials.current() or await self._credentials.renewed()
        answer = await self._send(credentials, url, request)
        if answer.status not in {400, 403}:
            return answer
        code = _code(answer)
        if code in SKEWED and self._signer.adjust_clock(answer.header("date")):
            return await self._send(credentials, url, request)
        if code in EXPIRED:
            self._credentials.reject(credentials)
            renewed = self._credentials.current() or await self._credentials.renewed()
            if renewed != credentials:
                return await self._send(renewed, url, request)
        return answer

    async def _send(self, credentials: Credentials, url: str, request: Request) -> Response:
        transport = self._transports.get(url)
        if transport is None:
            reach = transport_settings(self._settings, self._endpoint, headers={}, url=url)
            transport = self._transports[url] = NativeTransport(reach)
        signed = self._signer.sign(credentials, host_of(url), request)
        target = f"{request.path}?{request.query.removesuffix('=')}" if request.query else request.path
        start = transport.start(request.method, target)
        return await transport.post(request.body, signed, self._settings.call_timeout, start)

    def _place(self, bucket: str, key: str) -> tuple[str, str]:
        """The URL of the host, and the path there: the bucket is in the host's name, or begins the path."""
        parts = urlsplit(self._endpoint.url)
        style = self._options.addressing
        if style == "virtual" or (
            style == "auto" and (parts.hostname or "").endswith(_AMAZON) and _HOST_LABEL.fullmatch(bucket)
        ):
            return f"{parts.scheme}://{bucket}.{parts.netloc}/", path_of(key)
        return f"{parts.scheme}://{parts.netloc}/", path_of(f"{bucket}/{key}" if key else bucket)

    def _refusal(self, method: str, bucket: str, key: str, answer: Response) -> PayloadUnavailable:
        code, found = _code(answer), _MESSAGE.search(bytes(answer.body[:4_096]))
        sentence = f": {bounded(unescape(found[1].decode(errors='replace')), 300)}" if found is not None else ""
        remedy = _REMEDIES.get(code, "")
        if (region := answer.header("x-amz-bucket-region")) and region != self._endpoint.region:
            remedy = f"; the bucket is in {region}, and calls go to {self._endpoint.region}: set region={region!r}"
        down = answer.status >= 500 or answer.status == 429 or code in DOWN
        return (PayloadsDown if down else PayloadUnavailable)(
            f"{method} {_shown(bucket, key)}: {code or 'no code'} (HTTP {answer.status}){sentence}{remedy}"
        )

    def __repr__(self) -> str:
        return f"<S3Client of {self._endpoint.region}>"


_REMEDIES = {
    "AccessDenied": "; allow s3:GetObject, s3:PutObject and s3:DeleteObject on its objects, as far as they are needed, "
    "and s3:ListBucket on the bucket, without which S3 says that of missing objects too",
    "NoSuchBucket": "; create the bucket, or check its name",
}


def _code(answer: Response) -> str:
    found = _CODE.search(bytes(answer.body[:4_096]))
    return found[1].decode(errors="replace") if found is not None else ""


def _shown(bucket: str, key: str) -> str:
    name = f"s3://{bucket}/{key}"
    return bounded(name if name.isprintable() else ascii(name), 300)
