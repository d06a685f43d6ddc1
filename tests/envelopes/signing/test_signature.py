"""Signatures of SNS, with a certificate authority of the tests: what is accepted, and what is refused and why."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from authority import NOW, URL, Signed, certificate, curve_key, pem, root, rsa_key

from leasekeeper import ConfigurationError, Message, Reject
from leasekeeper.envelopes import Sns
from leasekeeper.envelopes.opening import Blocked
from leasekeeper.envelopes.signature import AGAIN_AFTER, KEPT, Certificates, checked, fetch_certificate
from leasekeeper.outcomes import Done, Unclaimed
from leasekeeper.testing.handling import run_handler

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.outcomes import Outcome

FAR: Any = {"begins": timedelta(days=-9_000), "ends": timedelta(days=9_000)}
"""Validity that includes the day on which the tests run."""


class Files:
    """The PEM files at SNS's addresses; counts how often each is fetched."""

    def __init__(self, *chain: Any, failure: Exception | None = None) -> None:
        self.file = pem(*(chain or (certificate(**FAR), root(**FAR))))
        self.failure = failure
        self.fetched: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.fetched.append(url)
        if self.failure is not None:
            raise self.failure
        return self.file


def outcome(body: str, files: Files, *, blocking: bool = False, **options: Any) -> Outcome:
    """How a body ends where notifications are verified."""

    async def handle(message: Message[dict[str, int]]) -> None:
        assert message.body == {"id": 7}

    def handle_blocking(message: Message[dict[str, int]]) -> None:
        assert message.body == {"id": 7}

    sns = Sns(verify=True, fetch=files, **options)
    return run_handler(handle_blocking if blocking else handle, body, envelope=sns).outcome


def refusal(body: str, files: Files | None = None, **options: Any) -> str:
    found = outcome(body, files or Files(), **options)
    assert isinstance(found, Reject), found
    return found.reason


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [None, "an order", "é\nü"])
@pytest.mark.parametrize("blocking", [False, True])
def test_a_notification_that_sns_signed_is_handled(version: str, subject: str | None, blocking: bool) -> None:
    files = Files()
    assert outcome(Signed(version=version, subject=subject).body(), files, blocking=blocking) == Done()
    assert files.fetched == [URL]


def test_a_null_subject_is_not_signed() -> None:
    assert outcome(Signed().body(Subject=None), Files()) == Done()


@pytest.mark.parametrize(
    "change",
    [
        {"Message": '{"id": 8}'},
        {"MessageId": "another"},
        {"Subject": "added"},
        {"Timestamp": "2026-05-02T00:54:06.656Z"},
        {"TopicArn": "arn:aws:sns:eu-west-1:111122223333:others"},
        {"SignatureVersion": "1"},
        {"Signature": "AAAA"},
        {"Signature": "not base64!"},
    ],
    ids=str,
)
def test_a_notification_that_was_changed_is_rejected(change: dict[str, str]) -> None:
    said = refusal(Signed().body(**change))
    assert said == "the signature of the notification is wrong: SNS did not send it, or it was changed"


def test_a_signature_of_another_key_is_rejected() -> None:
    assert "the signature of the notification is wrong" in refusal(Signed(key=rsa_key("another")).body())


@pytest.mark.parametrize("missing", ["Signature", "SigningCertURL", "SignatureVersion"])
def test_a_notification_without_a_signature_is_rejected(missing: str) -> None:
    assert refusal(Signed().body(**{missing: None})) == (
        "the notification has no signature; FIFO topics send none: leave verify out for them"
    )


def test_an_unknown_version_is_rejected() -> None:
    assert "a signature of version 3, and 1 and 2 are known" in refusal(Signed().body(SignatureVersion="3"))


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/a.pem",
        "https://evil.example/sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/a.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/a.pem",
        "https://sns.eu-west-1.amazonaws.com/a.pem?x=.pem",
        "https://sns.eu-west-1.amazonaws.com/a.pem#.pem",
        "https://sns.eu-west-1.amazonaws.com/../bucket/a.pem",
        "https://sns.eu-west-1.amazonaws.com/a.crt",
        "https://s3.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu.west.amazonaws.com/a.pem",
        "https://sns.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com/a.pem\n",
        "HTTPS://sns.eu-west-1.amazonaws.com/a.pem",
        "file:///etc/passwd.pem",
        "https://sns.\u0435u-west-1.amazonaws.com/a.pem",
    ],
)
def test_a_certificate_from_elsewhere_is_never_fetched(url: str) -> None:
    files = Files()
    assert "which is not an address of SNS" in refusal(Signed(url=url).body(), files)
    assert files.fetched == []


@pytest.mark.parametrize("url", [URL, "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-a.pem"])
def test_certificates_of_every_partition_are_fetched(url: str) -> None:
    assert outcome(Signed(url=url).body(), Files()) == Done()


def test_a_certificate_is_fetched_once() -> None:
    files = Files()
    sns = Sns(verify=True, fetch=files)

    def handle(body: dict[str, int]) -> None:
        pass

    for _ in range(3):
        assert run_handler(handle, Signed().body(), envelope=sns).acked
    assert files.fetched == [URL]


def test_threads_that_need_the_same_certificate_fetch_it_once() -> None:
    files = Files()
    certificates = Certificates(files)
    threads = [threading.Thread(target=certificates.load, args=(URL,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files.fetched == [URL]
    assert certificates.key_at(URL).key_size == 2048


# Which certificates are accepted


@pytest.mark.parametrize(
    "name",
    [
        "sns.amazonaws.com",
        "sns.eu-west-1.amazonaws.com",
        "sns-cn-north-1.amazonaws.com.cn",
        "sns-us-gov-west-1.amazonaws.com",
    ],
)
def test_the_certificate_is_made_out_to_sns(name: str) -> None:
    assert checked(pem(certificate(name)), NOW.timestamp())[1].key_size == 2048
    assert checked(pem(certificate("x", other_names=("y", name))), NOW.timestamp())[1].key_size == 2048


@pytest.mark.parametrize(
    ("chain", "sentence"),
    [
        (lambda: (certificate("evil.amazonaws.com"),), "is not made out to SNS"),
        (lambda: (certificate("sns.amazonaws.com.evil.example"),), "is not made out to SNS"),
        (lambda: (certificate("x", other_names=("*.amazonaws.com",)),), "is not made out to SNS"),
        (lambda: (certificate(ends=timedelta(seconds=-1)),), "is valid from 2026-05-01 to 2026-05-01 only"),
        (lambda: (certificate(begins=timedelta(days=1)),), "is valid from 2026-05-03 to 2026-06-01 only"),
        (lambda: (certificate(), root(ends=timedelta(seconds=-1))), "is valid from 2026-05-01 to 2026-05-01 only"),
        (lambda: (certificate(issuer_key=rsa_key("evil")), root()), "are no chain: one is not issued by the next"),
        (lambda: (certificate(issuer="Another CA"), root()), "are no chain: one is not issued by the next"),
        (lambda: (certificate(key=curve_key()),), "has no RSA key, and SNS signs with RSA"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_refused(chain: Callable[[], tuple[Any, ...]], sentence: str) -> None:
    with pytest.raises(Reject) as caught:
        checked(pem(*chain()), NOW.timestamp())
    assert sentence in caught.value.reason


@pytest.mark.parametrize("content", [lambda: b"", lambda: b"no certificate", lambda: pem(certificate())[:200]])
def test_a_file_that_is_no_certificate_rejects_the_message(content: Callable[[], bytes]) -> None:
    files = Files()
    files.file = content()
    assert refusal(Signed().body(), files).startswith("the certificate of the notification cannot be used: ")


def test_an_expired_certificate_is_fetched_again() -> None:
    now = [NOW.timestamp()]
    files = Files(certificate())
    certificates = Certificates(files, clock=lambda: now[0])
    certificates.load(URL)
    assert certificates.key_at(URL).key_size == 2048
    now[0] += 31 * 86_400
    with pytest.raises(Blocked) as caught:
        certificates.key_at(URL)
    caught.value.unblock()
    assert len(files.fetched) == 2
    with pytest.raises(Reject, match="is valid from"):
        certificates.key_at(URL)


def test_what_cannot_be_fetched_retries_the_message_and_is_asked_for_again_later() -> None:
    now = [NOW.timestamp()]
    files = Files(certificate(), failure=TimeoutError("timed out"))
    certificates = Certificates(files, clock=lambda: now[0])
    for _ in range(3):
        certificates.load(URL)
        with pytest.raises(TimeoutError, match="timed out"):
            certificates.key_at(URL)
    assert len(files.fetched) == 1
    now[0] += AGAIN_AFTER
    files.failure = None
    with pytest.raises(Blocked) as caught:
        certificates.key_at(URL)
    caught.value.unblock()
    assert certificates.key_at(URL).key_size == 2048


@pytest.mark.parametrize("blocking", [False, True])
def test_a_certificate_that_cannot_be_fetched_is_no_attempt(blocking: bool) -> None:
    found = outcome(Signed().body(), Files(failure=ConnectionError("no route")), blocking=blocking)
    assert isinstance(found, Unclaimed)
    assert repr(found.error) == "ConnectionError('no route')"


def test_only_so_many_certificates_are_remembered() -> None:
    certificates = Certificates(Files(certificate()), clock=NOW.timestamp)
    urls = [URL.replace("0123", f"{number:04}") for number in range(KEPT + 5)]
    for url in urls:
        certificates.load(url)
    assert certificates.key_at(urls[-1])
    with pytest.raises(Blocked):
        certificates.key_at(urls[0])


# Fetching


class Answer(io.BytesIO):
    """An answer of an HTTP server, as urllib hands it out."""


def opened(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], Any]) -> list[Any]:
    """Have `answer` called in place of the network; returns the handlers that the opener was made of."""
    made: list[Any] = []

    class Opener:
        def open(self, url: str, timeout: float) -> Any:
            assert timeout == 5.0
            return answer(url)

    def build(*handlers: Any) -> Opener:
        made.extend(handlers)
        return Opener()

    monkeypatch.setattr(urllib.request, "build_opener", build)
    return made


def test_a_certificate_is_fetched_over_https_without_redirects(monkeypatch: pytest.MonkeyPatch) -> None:
    made = opened(monkeypatch, lambda _: Answer(b"pem"))
    assert fetch_certificate(URL) == b"pem"
    https, redirects = made
    assert https._context.verify_mode.name == "CERT_REQUIRED"
    assert redirects().redirect_request(None, None, 302, "Found", {}, "https://evil.example/") is None


@pytest.mark.parametrize(
    ("status", "kind"), [(404, Reject), (403, Reject), (302, OSError), (429, OSError), (503, OSError)]
)
def test_a_refusal_rejects_or_retries(status: int, kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(url: str) -> Any:
        raise urllib.error.HTTPError(url, status, "no", {}, io.BytesIO())  # type: ignore[arg-type] # headers

    opened(monkeypatch, answer)
    with pytest.raises(kind):
        fetch_certificate(URL)


def test_a_file_that_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, lambda _: Answer(b"x" * 100_000))
    with pytest.raises(Reject, match="has more than 65536 bytes"):
        fetch_certificate(URL)


# Topics


def test_only_expected_topics_are_handled() -> None:
    files = Files()
    topics = {"arn:aws:sns:eu-west-1:111122223333:orders"}
    assert outcome(Signed().body(), files, topics=topics) == Done()
    said = refusal(Signed().body(), files, topics={"arn:aws:sns:eu-west-1:111122223333:others"})
    assert said == ("it is a notification of arn:aws:sns:eu-west-1:111122223333:orders, which is not an expected topic")


def test_topics_are_checked_without_signatures_too() -> None:
    def handle(body: dict[str, int]) -> None:
        pass

    sns = Sns(topics=["arn:aws:sns:eu-west-1:111122223333:others"])
    assert run_handler(handle, Signed().body(), envelope=sns).rejected
    assert run_handler(handle, Signed().body(), envelope=(Sns(),)).acked


@pytest.mark.parametrize("topics", ["arn:aws:sns:eu-west-1:1:t", ["orders"], [7]])
def test_topics_that_are_none_are_refused(topics: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"give a collection of ARNs of topics, e\.g\."):
        Sns(topics=topics)


def test_a_body_that_is_no_notification_gets_the_usual_sentence() -> None:
    assert refusal('{"id": 7}').startswith("its body is not an SNS notification, which envelope='sns' opens: ")


@pytest.mark.slow
def test_checking_signatures_without_the_extra_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from leasekeeper.envelopes import Sns\n"
        "Sns(topics=set())\n"
        "try: Sns(verify=True)\n"
        "except Exception as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ("Sns(verify=True) needs cryptography: pip install cryptography (the extra `sns`)\n")
