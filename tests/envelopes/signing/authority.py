"""A certificate authority for tests, and notifications signed as SNS signs them."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding

URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
NOW = datetime(2026, 5, 2, tzinfo=UTC)


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """One key for each name."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def curve_key() -> Any:
    return generate_private_key(SECP256R1())


def certificate(
    name: str = "sns.amazonaws.com",
    *,
    key: Any = None,
    issuer: str = "Test CA",
    issuer_key: Any = None,
    begins: timedelta = timedelta(days=-1),
    ends: timedelta = timedelta(days=30),
    now: datetime = NOW,
    other_names: tuple[str, ...] = (),
) -> x509.Certificate:
    """A certificate, by default one that the test authority gave to SNS."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key((key or rsa_key("sns")).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )
    if other_names:
        names = x509.SubjectAlternativeName([x509.DNSName(each) for each in other_names])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer_key or rsa_key("ca"), hashes.SHA256())


def root(**more: Any) -> x509.Certificate:
    """The certificate of the test authority."""
    return certificate("Test CA", key=rsa_key("ca"), **more)


def pem(*chain: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in chain)


@dataclass
class Signed:
    """A notification that is signed as SNS signs it."""

    message: str = '{"id": 7}'
    subject: str | None = None
    version: str = "2"
    url: str = URL
    key: Any = None

    def body(self, **changes: Any) -> str:
        """The body; `changes` are made after signing."""
        fields = {
            "Message": self.message,
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            **({} if self.subject is None else {"Subject": self.subject}),
            "Timestamp": "2026-05-02T00:54:06.655Z",
            "TopicArn": "arn:aws:sns:eu-west-1:111122223333:orders",
            "Type": "Notification",
        }
        text = "".join(f"{name}\n{value}\n" for name, value in fields.items())
        algorithm = hashes.SHA1() if self.version == "1" else hashes.SHA256()
        signature = (self.key or rsa_key("sns")).sign(text.encode(), PKCS1v15(), algorithm)
        more = {
            "SignatureVersion": self.version,
            "Signature": b64encode(signature).decode(),
            "SigningCertURL": self.url,
        }
        return json.dumps({**fields, **more, **changes})
