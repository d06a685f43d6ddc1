"""Our signatures for S3 are botocore's, byte for byte."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from leasekeeper.api import Credentials
from leasekeeper.sqs.rest_signer import Request, RestSigner, path_of

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOST = "b.s3.eu-west-1.amazonaws.com"


def by_botocore(credentials: Credentials, request: Request) -> str:
    url = f"https://{HOST}{request.path}{f'?{request.query}' if request.query else ''}"
    made = AWSRequest(request.method, url, dict(request.headers), request.body)
    made.context["timestamp"] = AT.strftime("%Y%m%dT%H%M%SZ")
    made.context["payload_signing_enabled"] = True
    auth = S3SigV4Auth(
        BotocoreCredentials(credentials.access_key, credentials.secret_key, credentials.token), "s3", "eu-west-1"
    )
    auth._modify_request_before_signing(made)
    to_sign = auth.string_to_sign(made, auth.canonical_request(made))
    auth._inject_signature_to_request(made, auth.signature(to_sign, made))
    return str(made.headers["Authorization"])


@given(key=st.text(min_size=1, max_size=50), body=st.binary(max_size=50), token=st.none() | st.just("t/+="))
def test_they_are_those_of_botocore_for_any_key_and_body(key: str, body: bytes, token: str | None) -> None:
    credentials = Credentials(access_key="AKIA", secret_key="secret/+", token=token)
    request = Request("PUT", path_of(key), "", {"x-amz-meta-sha256": "ab", "content-type": "text/plain"}, body)
    signer = RestSigner("eu-west-1", clock=AT.timestamp)
    assert signer.sign(credentials, HOST, request)["Authorization"] == by_botocore(credentials, request)


@pytest.mark.parametrize("query", ["", "delete=", "lifecycle="])
def test_they_are_those_of_botocore_for_queries(query: str) -> None:
    credentials = Credentials(access_key="AKIA", secret_key="secret")
    request = Request("POST", "/", query, {"content-md5": "abc=="}, b"x")
    signer = RestSigner("eu-west-1", clock=AT.timestamp)
    assert signer.sign(credentials, HOST, request)["Authorization"] == by_botocore(credentials, request)


def test_it_signs_by_the_clock_of_the_server_once_ours_is_far_off() -> None:
    signer = RestSigner("eu-west-1", clock=AT.timestamp)
    assert not signer.adjust_clock("Fri, 02 Jan 2026 03:04:35 GMT")
    assert signer.adjust_clock("Fri, 02 Jan 2026 04:04:05 GMT")
    signed = signer.sign(Credentials(access_key="a", secret_key="b"), HOST, Request("GET", "/"))
    assert signed["x-amz-date"] == "20260102T040405Z"
