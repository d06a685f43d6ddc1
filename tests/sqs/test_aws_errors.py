"""What is said of AWS files and variables that cannot be used: the value, the file, and what to do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    InfiniteLoopConfigError,
    MetadataRetrievalError,
    SSOTokenLoadError,
    UnauthorizedSSOTokenError,
)

from leasekeeper.errors import ConfigurationError, CredentialsMissing
from leasekeeper.sqs.aws_errors import explained
from leasekeeper.sqs.connecting import find
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from pathlib import Path

LOCAL = "http://127.0.0.1:9"
"""Credentials and endpoint are looked up; nothing is called."""


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with the AWS files, and no AWS variables but those that name them."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


def refusal(settings: ClientSettings) -> Exception:
    with pytest.raises((ConfigurationError, CredentialsMissing)) as refused:
        asyncio.run(find(settings))
    return refused.value


@pytest.mark.parametrize(
    ("config", "advice"),
    [
        ("", "they have none: leave the profile out, or make one with `aws configure`"),
        ("[profile dev]\n[profile prod]\n", "they have dev, prod"),
        ("[profile dev]\n[profile shops]\n", "did you mean 'shops'?"),
        (
            "".join(f"[profile team-{letter}]\n" for letter in "abcdefg"),
            "they have team-a, team-b, team-c, team-d, team-e and 2 more",
        ),
    ],
)
@pytest.mark.parametrize("source", ["", " (AWS_PROFILE)"])
def test_a_profile_that_is_not_there(
    config: str, advice: str, source: str, aws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (aws / "config").write_text(config)
    if source:
        monkeypatch.setenv("AWS_PROFILE", "shop")
    settings = ClientSettings(endpoint_url=LOCAL, profile=None if source else "shop")
    assert str(refusal(settings)) == (
        f"there is no AWS profile 'shop'{source} in {aws / 'config'} or {aws / 'credentials'}; {advice}"
    )


def test_half_of_the_credentials_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    assert str(refusal(ClientSettings(endpoint_url=LOCAL))) == (
        "no AWS credentials from the AWS configuration: AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not: "
        "set both, or unset AWS_ACCESS_KEY_ID"
    )


@pytest.mark.parametrize(("file", "section"), [("config", "profile shop"), ("credentials", "shop")])
def test_half_of_the_credentials_in_a_file(file: str, section: str, aws: Path) -> None:
    (aws / file).write_text(f"[{section}]\naws_access_key_id = AKIAEXAMPLE\n")
    assert str(refusal(ClientSettings(endpoint_url=LOCAL, profile="shop"))) == (
        f"no AWS credentials from the AWS configuration: {aws / file} has a part of the credentials, but no "
        "aws_secret_access_key: give all of them, or none"
    )


def test_a_file_that_cannot_be_read(aws: Path) -> None:
    (aws / "config").write_text("region = eu-west-1\n")
    text = str(refusal(ClientSettings(endpoint_url=LOCAL)))
    assert text.startswith(f"{aws / 'config'} cannot be read as an AWS configuration file (")
    assert text.endswith("): correct it")


def test_a_function_that_fails() -> None:
    def no_vault() -> None:
        raise OSError("the vault is sealed")

    settings = ClientSettings(endpoint_url=LOCAL, credentials=no_vault)  # type: ignore[arg-type]
    text = str(refusal(settings))
    assert text.startswith("no AWS credentials from the credentials provider test_a_function_that_fails.")
    assert text.endswith("no_vault: OSError: the vault is sealed")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (UnauthorizedSSOTokenError(), "run `aws sso login` with this profile"),
        (SSOTokenLoadError(error_msg="no token"), "run `aws sso login` with this profile"),
        (
            CredentialRetrievalError(provider="custom-process", error_msg="exit code 1"),
            "run `aws sts get-caller-identity` to see what the AWS CLI finds",
        ),
        (MetadataRetrievalError(error_msg="404"), "check that the container or the instance has a role"),
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "AssumeRole"),
            "check which role the profile assumes, and that its source profile may assume it",
        ),
    ],
)
def test_an_error_of_botocore_is_its_text_and_what_to_do(error: Exception, advice: str) -> None:
    assert explained(error) == f"{str(error).rstrip('.')}; {advice}"


def test_a_loop_of_profiles_names_the_files(aws: Path) -> None:
    error = InfiniteLoopConfigError(source_profile="a", visited_profiles=["a"])
    assert explained(error).endswith(f"; correct source_profile in {aws / 'config'} or {aws / 'credentials'}")
