"""Signatures of SNS: whether a notification comes from the topic that it names. Needs the extra `sns`.

What is signed is the message, its id, subject, time, topic and type; not its attributes. With raw delivery, and from
FIFO topics, there is no signature. The queue's policy (`aws:SourceArn`) guards against all senders; this is a second
look for queues with a policy that others can change.
"""

from __future__ import annotations

import binascii
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from leasekeeper.envelopes.opening import Blocked, Opened
from leasekeeper.envelopes.sns import SnsNotification, read_sns
from leasekeeper.errors import ConfigurationError
from leasekeeper.extras import needs
from leasekeeper.outcomes import Reject
from leasekeeper.texts import bounded, safe_str

if TYPE_CHECKING:
    from leasekeeper.message import Received

URL = re.compile(r"https://sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/[A-Za-z0-9._-]+\.pem")
"""Where certificates may come from: SNS in a region, without port, user, query or a further path."""
NAME = re.compile(r"sns([.-][a-z0-9-]+)?\.amazonaws\.com(\.cn)?")
"""Names in certificates of SNS; most have `sns.amazonaws.com` in every region."""
TIMEOUT = 5.0
"""Seconds of silence after which fetching a certificate fails."""
LARGEST = 65_536
"""Bytes of a certificate file that are read; one certificate has about 2,000."""
KEPT = 32
"""Certificates that are remembered."""
AGAIN_AFTER = 5.0
"""Seconds until a certificate that could not be had is asked for again; messages are retried meanwhile."""

Fetch = Callable[[str], bytes]


class Sns:
    """Opens notifications of SNS and checks where they come from: give it as `envelope`, or in it, in place of 'sns'.

    A notification that fails a check is rejected. While its certificate cannot be fetched, the message waits.

    Args:
        verify: whether to check signatures. Those of FIFO topics have none and are rejected.
        topics: the ARNs of the topics that are expected; None: all.
        fetch: returns the PEM file at a URL of SNS, and raises OSError if it cannot; it may block. None: HTTPS with
            the certificates and the proxy of the system.

    Raises:
        ConfigurationError: `verify` without the extra `sns`, or `topics` that are not a collection of ARNs.
    """

    def __init__(
        self, *, verify: bool = False, topics: Collection[str] | None = None, fetch: Fetch | None = None
    ) -> None:
        if topics is not None and (isinstance(topics, str) or not all(map(_is_topic, topics))):
            raise ConfigurationError(
                f"Sns(topics={topics!r}): give a collection of ARNs of topics, e.g. "
                "{'arn:aws:sns:eu-west-1:123456789012:orders'}"
            )
        if verify:
            try:
                import cryptography  # noqa: F401 - whether it is there
            except ImportError as error:
                raise ConfigurationError(needs("Sns(verify=True)", "cryptography", "sns")) from error
        self._fetch = fetch
        self._topics = None if topics is None else frozenset(topics)
        self._certificates = Certificates(fetch or fetch_certificate) if verify else None

    def __reduce__(self) -> tuple[Callable[[], Sns], tuple[()]]:
        """It is pickled for worker processes, each of which fetches certificates for itself."""
        verify = self._certificates is not None
        return partial(Sns, verify=verify, topics=self._topics, fetch=self._fetch), ()

    def __call__(self, received: Received) -> Opened:
        """Open a notification, as every `EnvelopeDecoder`."""
        notification = read_sns(received.body)
        if self._topics is not None and notification.topic_arn not in self._topics:
            raise Reject(
                f"it is a notification of {bounded(notification.topic_arn, 200)}, which is not an expected topic"
            )
        if self._certificates is not None:
            _check(notification, received.body, self._certificates)
        return Opened(notification.message, notification, notification.attributes)

    def __repr__(self) -> str:
        return f"Sns(verify={self._certificates is not None}, topics={self._topics and set(self._topics)})"


def _is_topic(arn: object) -> bool:
    return isinstance(arn, str) and arn.startswith("arn:")


class _Signed(msgspec.Struct, rename="pascal"):
    """What is signed, as text."""

    message: str
    message_id: str
    timestamp: str
    topic_arn: str
    type: str
    subject: str | None = None

    def canonical(self) -> bytes:
        """The signed text (AWS SNS developer guide, "Verifying the signatures of Amazon SNS messages")."""
        names = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
        values = (self.message, self.message_id, self.subject, self.timestamp, self.topic_arn, self.type)
        return "".join(
            f"{name}\n{value}\n" for name, value in zip(names, values, strict=True) if value is not None
        ).encode()


_signed = msgspec.json.Decoder(_Signed)


def _check(notification: SnsNotification[str], body: str, certificates: Certificates) -> None:
    """Check the signature.

    Raises:
        Reject: it is missing or wrong.
        Blocked: the certificate has to be fetched first.
        OSError: the certificate could not be fetched a moment ago.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    version, signature, url = notification.signature_version, notification.signature, notification.signing_cert_url
    if not (version and signature and url):
        raise Reject("the notification has no signature; FIFO topics send none: leave verify out for them")
    algorithms = {"1": hashes.SHA1, "2": hashes.SHA256}
    if version not in algorithms:
        raise Reject(f"the notification has a signature of version {bounded(version, 20)}, and 1 and 2 are known")
    key = certificates.key_at(url)
    try:
        key.verify(
            b64decode(signature, validate=True), _signed.decode(body).canonical(), PKCS1v15(), algorithms[version]()
        )
    except (InvalidSignature, binascii.Error):
        raise Reject("the signature of the notification is wrong: SNS did not send it, or it was changed") from None


class Certificates:
    """The public keys of SNS by the URLs of their certificates, fetched once each. From any thread.

    Args:
        fetch: returns the PEM file at a URL.
        clock: epoch seconds.
    """

    def __init__(self, fetch: Fetch, *, clock: Callable[[], float] = time.time) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, tuple[float, Any]] = {}
        """The key at a URL, and when its certificate expires."""
        self._failures: dict[str, tuple[float, Exception]] = {}
        """Why there is no key at a URL, and until when it is not asked for again."""
        self._fetching = threading.Lock()

    def key_at(self, url: str) -> Any:
        """The public key of the certificate at a URL.

        Raises:
            Reject: certificates of SNS are not at such a URL, or the file is not one.
            Blocked: it has to be fetched first.
            OSError: it could not be fetched a moment ago.
        """
        if URL.fullmatch(url) is None:
            raise Reject(
                f"the certificate of the notification is at {bounded(url, 200)}, which is not an address of SNS"
            )
        now = self._clock()
        expiry, key = self._keys.get(url, (0.0, None))
        if now < expiry:
            return key
        until, failure = self._failures.get(url, (0.0, None))
        if failure is not None and now < until:
            raise type(failure)(*failure.args)
        raise _CertificateNeeded(self, url)

    def load(self, url: str) -> None:
        """Fetch and check the certificate at a URL; `key_at` then has the key, or the reason why there is none."""
        with self._fetching:  # those that wait for the same one find it here
            now = self._clock()
            if now < self._keys.get(url, (0.0, None))[0] or now < self._failures.get(url, (0.0, None))[0]:
                return
            try:
                _keep(self._keys, url, checked(self._fetch(url), now))
            except (OSError, Reject) as error:
                _keep(self._failures, url, (now + AGAIN_AFTER, error))
            except Exception as error:  # a user's function, or a file that cryptography cannot read
                refused = Reject(f"the certificate of the notification cannot be used: {safe_str(error, 200)}")
                _keep(self._failures, url, (now + AGAIN_AFTER, refused))


class _CertificateNeeded(Blocked):
    """A certificate has to be fetched."""

    def __init__(self, certificates: Certificates, url: str) -> None:
        super().__init__(f"the certificate at {url} has to be fetched")
        self._certificates = certificates
        self._url = url

    def unblock(self) -> None:
        """Fetch it."""
        self._certificates.load(self._url)


def _keep(held: dict[str, Any], url: str, value: Any) -> None:
    held.pop(url, None)
    held[url] = value
    while len(held) > KEPT:
        del held[next(iter(held))]


def checked(pem: bytes, now: float) -> tuple[float, Any]:
    """When the certificates of a PEM file expire, and the public key of the first.

    Each must be valid now and be issued by the one after it; the last one's issuer is not in the file. Its authenticity
    comes from HTTPS, which is the only way it is fetched.

    Raises:
        Reject: they are not certificates of SNS that can be used now.
        ValueError: they cannot be read.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    chain = x509.load_pem_x509_certificates(pem)
    for certificate, issuer in zip(chain, [*chain[1:], None], strict=True):
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not begins <= datetime.fromtimestamp(now, UTC) <= ends:
            raise Reject(
                f"a certificate of the notification is valid from {begins:%Y-%m-%d} to {ends:%Y-%m-%d} only; check the "
                "clock of this machine"
            )
        if issuer is not None:
            try:
                certificate.verify_directly_issued_by(issuer)
            except (InvalidSignature, ValueError, TypeError):
                raise Reject(
                    "the certificates of the notification are no chain: one is not issued by the next"
                ) from None
    if not any(map(NAME.fullmatch, _names(chain[0]))):
        raise Reject("the certificate of the notification is not made out to SNS")
    key = chain[0].public_key()
    if not isinstance(key, RSAPublicKey):
        raise Reject("the certificate of the notification has no RSA key, and SNS signs with RSA")
    return min(each.not_valid_after_utc for each in chain).timestamp(), key


def _names(certificate: Any) -> list[str]:
    """The names that a certificate is made out to."""
    from cryptography import x509

    names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    try:
        others = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return names
    return [*names, *others.get_values_for_type(x509.DNSName)]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would lead to a host that was not checked."""

    def redirect_request(self, *_: Any) -> None:
        return None


def fetch_certificate(url: str) -> bytes:
    """The file at a URL of SNS, over HTTPS.

    Raises:
        OSError: it could not be had, now.
        Reject: there is no such file.
    """
    https = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    try:
        with urllib.request.build_opener(https, _NoRedirects).open(url, timeout=TIMEOUT) as answer:
            found: bytes = answer.read(LARGEST + 1)
    except urllib.error.HTTPError as error:
        with error:
            if 400 <= error.code < 500 and error.code not in {408, 429}:
                raise Reject(
                    f"there is no certificate at the address in the notification (HTTP {error.code})"
                ) from None
            raise OSError(f"the certificate of SNS could not be fetched: HTTP {error.code}") from None
    if len(found) > LARGEST:
        raise Reject(f"the certificate file of the notification has more than {LARGEST} bytes")
    return found
