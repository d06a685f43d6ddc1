"""S3 on the port of the local server, in memory: what large payloads need, and boto3 and the AWS CLI call for them.

Owned by the server, used on its loop. It promises the answers of S3 about buckets and whole objects; the answer to
anything else is an error of S3 that says what works here. It knows no permissions, no versions and no uploads in parts.
"""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import md5
from html import unescape
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, quote, unquote
from xml.sax.saxutils import escape

from leasekeeper.local.http import MOST_BODY

if TYPE_CHECKING:
    from leasekeeper.local.http import HttpRequest

MOST_BYTES = 512 * 1_048_576
"""Bytes of all objects together."""
MOST_LISTED = 1_000
"""Keys in one answer, and in one request to delete some."""
LONGEST_KEY = 1_024
SCOPE = b"/s3/aws4_request"
"""What the credential of a signed request to S3 ends with."""
_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
_KEY = re.compile(r"<Key>([^<]*)</Key>")
_META = re.compile(rb"\r\n(x-amz-meta-[^:\r]{1,200}):([^\r]*)", re.IGNORECASE)
_HERE = (
    "the local S3 has CreateBucket, HeadBucket, DeleteBucket, ListBuckets, ListObjectsV2, PutObject, GetObject, "
    "HeadObject, DeleteObject and DeleteObjects"
)


class S3Answer(NamedTuple):
    """An answer over HTTP."""

    status: int
    body: bytes = b""
    kind: str = "application/xml"
    headers: str = ""
    """Lines, each with its end."""


class S3Error(Exception):
    """A refusal: an error of S3."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message


class S3Object(NamedTuple):
    """An object."""

    data: bytes
    etag: str
    kind: str
    modified: datetime
    metadata: tuple[tuple[str, str], ...] = ()


class S3:
    """Buckets in memory.

    Attributes:
        buckets: the objects of each bucket, by key.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, S3Object]] = {}
        self._bytes = 0

    @staticmethod
    def means(request: HttpRequest) -> bool:
        """Whether a request is for S3: its signature, or that in its URL, says so."""
        return SCOPE in request.header(b"authorization") or _signed_url(request.path)

    def answer(self, request: HttpRequest) -> S3Answer:
        """Answer a request; never raises."""
        bucket, key, query = _place(request)
        try:
            if not bucket:
                return self._answer_service(request)
            if not key:
                return self._answer_bucket(request, bucket, query)
            return self._answer_object(request, bucket, key, query)
        except S3Error as error:
            body = f"<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
            return S3Answer(error.status, _xml(body))

    # Buckets

    def _answer_service(self, request: HttpRequest) -> S3Answer:
        if request.method != b"GET":
            raise _unknown(request)
        found = "".join(
            f"<Bucket><Name>{name}</Name><CreationDate>2020-01-01T00:00:00.000Z</CreationDate></Bucket>"
            for name in sorted(self.buckets)
        )
        return S3Answer(
            200, _xml(f"<ListAllMyBucketsResult {_NAMESPACE}><Buckets>{found}</Buckets></ListAllMyBucketsResult>")
        )

    def _answer_bucket(self, request: HttpRequest, bucket: str, query: dict[str, str]) -> S3Answer:
        method = request.method
        if method == b"PUT" and not query:
            self.create(bucket)
            return S3Answer(200, headers=f"Location: /{bucket}\r\n")
        objects = self._objects(bucket)
        if method == b"HEAD" and not query:
            return S3Answer(200)
        if method == b"DELETE" and not query:
            if objects:
                raise S3Error(409, "BucketNotEmpty", f"bucket {bucket} has {len(objects)} objects")
            del self.buckets[bucket]
            return S3Answer(204)
        if method == b"POST" and "delete" in query:
            return self._delete_several(objects, request.body)
        if method == b"GET" and "location" in query:
            return S3Answer(200, _xml(f"<LocationConstraint {_NAMESPACE}/>"))
        if method == b"GET" and "lifecycle" in query:
            raise S3Error(404, "NoSuchLifecycleConfiguration", f"bucket {bucket} has no lifecycle rules")
        if method == b"GET" and not query.keys() - _LISTING:
            return S3Answer(200, _listing(bucket, objects, query))
        raise _unknown(request)

    def create(self, bucket: str) -> None:
        """Create a bucket, if it is not there.

        Raises:
            S3Error: the name is none of a bucket.
        """
        if _NAME.fullmatch(bucket) is None:
            raise S3Error(
                400, "InvalidBucketName", f"{bucket!r} is not the name of a bucket (3 to 63 of a-z, 0-9, - and .)"
            )
        self.buckets.setdefault(bucket, {})

    def _objects(self, bucket: str) -> dict[str, S3Object]:
        found = self.buckets.get(bucket)
        if found is None:
            raise S3Error(404, "NoSuchBucket", f"bucket {bucket} does not exist")
        return found

    def _delete_several(self, objects: dict[str, S3Object], body: bytes) -> S3Answer:
        text = body.decode(errors="replace")
        keys = [unescape(key) for key in _KEY.findall(text)]
        if not 0 < len(keys) <= MOST_LISTED:
            raise S3Error(400, "MalformedXML", f"the request names {len(keys)} keys: give 1 to {MOST_LISTED:,}")
        for key in keys:
            self._remove(objects, key)
        deleted = (
            ""
            if "<Quiet>true</Quiet>" in text
            else "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        )
        return S3Answer(200, _xml(f"<DeleteResult {_NAMESPACE}>{deleted}</DeleteResult>"))

    def _remove(self, objects: dict[str, S3Object], key: str) -> None:
        found = objects.pop(key, None)
        self._bytes -= 0 if found is None else len(found.data)

    # Objects

    def _answer_object(self, request: HttpRequest, bucket: str, key: str, query: dict[str, str]) -> S3Answer:
        objects = self._objects(bucket)
        if query.keys() - {"x-id"} and not _signed_url(request.path):
            raise _unknown(request)
        if request.method == b"PUT" and not request.header(b"x-amz-copy-source"):
            return self._put(objects, key, request)
        if request.method == b"DELETE":
            self._remove(objects, key)
            return S3Answer(204)
        if request.method not in {b"GET", b"HEAD"}:
            raise _unknown(request)
        found = objects.get(key)
        if found is None:
            raise S3Error(404, "NoSuchKey", f"there is no object {key[:200]!r} in bucket {bucket}")
        return _object(request, found)

    def _put(self, objects: dict[str, S3Object], key: str, request: HttpRequest) -> S3Answer:
        data = _unchunked(request)
        if len(key.encode()) > LONGEST_KEY:
            raise S3Error(400, "KeyTooLongError", f"the key has more than {LONGEST_KEY:,} bytes")
        stated = request.header(b"content-md5")
        digest = md5(data, usedforsecurity=False)
        if stated and stated != b64encode(digest.digest()):
            raise S3Error(400, "BadDigest", "the body is not that of the header Content-MD5")
        older = len(objects[key].data) if key in objects else 0
        if self._bytes - older + len(data) > MOST_BYTES:
            raise S3Error(
                503, "SlowDown", f"the local S3 keeps at most {MOST_BYTES // 1_048_576} MiB in all: delete some objects"
            )
        self._bytes += len(data) - older
        kind = request.header(b"content-type").decode("latin-1") or "binary/octet-stream"
        objects[key] = made = S3Object(data, f'"{digest.hexdigest()}"', kind, datetime.now(UTC), _metadata(request))
        return S3Answer(200, headers=f"ETag: {made.etag}\r\n")

    def __repr__(self) -> str:
        return f"<S3 {len(self.buckets)} buckets, {self._bytes:,} bytes>"


_LISTING = frozenset(
    {
        "list-type",
        "prefix",
        "delimiter",
        "max-keys",
        "start-after",
        "continuation-token",
        "encoding-type",
        "marker",
        "fetch-owner",
    }
)


def _signed_url(path: bytes) -> bool:
    return b"%2Fs3%2Faws4_request" in path or (b"AWSAccessKeyId=" in path and b"Action=" not in path)


def _place(request: HttpRequest) -> tuple[str, str, dict[str, str]]:
    """The bucket and the key that a request names, in its path or in its host, and its query."""
    path, _, query = request.path.decode("latin-1").partition("?")
    host = request.host.decode("latin-1").lower().partition(":")[0]
    names = unquote(path.removeprefix("/"), errors="replace")
    if host.endswith(".localhost") and (bucket := host.removesuffix(".localhost")) != "s3":
        key = names
    else:
        bucket, _, key = names.partition("/")
    return bucket, key, dict(parse_qsl(query, keep_blank_values=True))


def _object(request: HttpRequest, found: S3Object) -> S3Answer:
    wanted = request.header(b"if-match").decode("latin-1")
    if wanted not in {"", "*", found.etag, found.etag.strip('"')}:
        raise S3Error(412, "PreconditionFailed", "the object is another one by now")
    size, status = len(found.data), 200
    modified = format_datetime(found.modified, usegmt=True)
    # Shown in a browser, an object is no page of this server.
    headers = "Content-Security-Policy: sandbox\r\n"
    headers += f"ETag: {found.etag}\r\nAccept-Ranges: bytes\r\nLast-Modified: {modified}\r\n"
    headers += "".join(f"{name}: {value}\r\n" for name, value in found.metadata)
    data = found.data
    if stated := request.header(b"range").decode("latin-1"):
        start, end = _bounds(stated, size)
        data, status = data[start:end], 206
        headers += f"Content-Range: bytes {start}-{end - 1}/{size}\r\n"
    return S3Answer(status, data, found.kind, headers)


def _bounds(stated: str, size: int) -> tuple[int, int]:
    """The first byte of a range, and the one behind its last."""
    match = _RANGE.fullmatch(stated)
    if match is None or not (match[1] or match[2]):
        raise S3Error(
            501, "NotImplemented", f"Range: {stated[:100]!r}: the local S3 knows one range, as bytes=FIRST-LAST"
        )
    if not match[1]:  # the last bytes
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
    if start >= size or start >= end:
        raise S3Error(416, "InvalidRange", f"the object has {size} bytes")
    return start, end


def _listing(bucket: str, objects: dict[str, S3Object], query: dict[str, str]) -> bytes:
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = max(query.get(name, "") for name in ("start-after", "continuation-token", "marker"))
    asked = query.get("max-keys", "")
    most = min(int(asked), MOST_LISTED) if asked.isdecimal() and len(asked) < 10 else MOST_LISTED
    encodes = query.get("encoding-type") == "url"  # XML cannot have each character that a key may have
    shown = quote if encodes else escape
    entries: dict[str, str] = {}
    last, truncated = "", False
    for key in sorted(key for key in objects if key.startswith(prefix) and key > after):
        rest = key.removeprefix(prefix)
        group = prefix + rest.partition(delimiter)[0] + delimiter if delimiter and delimiter in rest else ""
        name = group or key
        if name not in entries and len(entries) >= most:
            truncated = True
            break
        entries[name] = _common(shown(group)) if group else _content(shown(key), objects[key])
        last = key
    encoding = "<EncodingType>url</EncodingType>" if encodes else ""
    more = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if truncated else ""
    return _xml(
        f"<ListBucketResult {_NAMESPACE}><Name>{bucket}</Name><Prefix>{shown(prefix)}</Prefix>{encoding}"
        f"<KeyCount>{len(entries)}</KeyCount><MaxKeys>{most}</MaxKeys><IsTruncated>{str(truncated).lower()}</IsTruncated>{more}"
        f"{''.join(entries.values())}</ListBucketResult>"
    )


def _common(group: str) -> str:
    return f"<CommonPrefixes><Prefix>{group}</Prefix></CommonPrefixes>"


def _content(key: str, found: S3Object) -> str:
    modified = found.modified.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return (
        f"<Contents><Key>{key}</Key><LastModified>{modified}</LastModified><ETag>{escape(found.etag)}</ETag>"
        f"<Size>{len(found.data)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


def _metadata(request: HttpRequest) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name.decode("latin-1").lower(), value.strip().decode("latin-1"))
        for name, value in _META.findall(request.head.raw)
    )


def _unchunked(request: HttpRequest) -> bytes:
    """The object in a body; newer clients send it in signed chunks with a checksum behind it."""
    body = request.body
    if b"aws-chunked" not in request.header(b"content-encoding").lower():
        return body
    parts: list[bytes] = []
    at = 0
    while True:
        end = body.find(b"\r\n", at)
        digits = body[at:end].partition(b";")[0].strip() if end >= 0 else b""
        if not digits or len(digits) > 8 or digits.strip(b"0123456789abcdefABCDEF"):
            raise S3Error(400, "IncompleteBody", "the chunks of the body cannot be read")
        size = int(digits, 16)
        if not size:
            return b"".join(parts)
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2


def _unknown(request: HttpRequest) -> S3Error:
    what = f"{request.method.decode('latin-1')} {request.path[:100].decode('latin-1')}"
    return S3Error(501, "NotImplemented", f"{what}: {_HERE}; objects have at most {MOST_BODY // 1_048_576} MiB")


def _xml(text: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
