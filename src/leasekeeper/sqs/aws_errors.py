"""What is wrong with the AWS configuration, in a sentence that says what to do, from the errors of botocore.

Used where endpoints and credentials are looked up. It knows the errors by the names of their classes, because it is
imported without botocore. It shows values, and never a secret.
"""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any

from leasekeeper.texts import bounded, safe_str

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT = 300
"""Characters of a text of botocore's, which may quote what a program has printed."""
SHOWN = 5
"""Profiles that are named."""
_ADVICE = {
    "UnauthorizedSSOTokenError": "run `aws sso login` with this profile",
    "SSOError": "run `aws sso login` with this profile",
    "TokenRetrievalError": "run `aws sso login` with this profile",
    "LoginError": "run `aws login` with this profile",
    "CredentialRetrievalError": "run `aws sts get-caller-identity` to see what the AWS CLI finds",
    "MetadataRetrievalError": "check that the container or the instance has a role",
    "ClientError": "check which role the profile assumes, and that its source profile may assume it",
    "InvalidConfigError": "correct the profile in {files}",
    "InfiniteLoopConfigError": "correct source_profile in {files}",
    "MissingDependencyException": "install what it names",
    "HTTPClientError": "check the network, and the proxy if there is one",
}
"""What to do about an error of this class, or of one of its bases."""


def explained(error: BaseException, *, profile: str | None = None, profiles: Sequence[str] = ()) -> str:
    """What is wrong and what to do.

    Args:
        error: what botocore raised, or the code of a user.
        profile: the profile that was asked for; None if it was AWS_PROFILE's, or none.
        profiles: those that there are.
    """
    kinds = [kind.__name__ for kind in type(error).__mro__]
    facts: dict[str, Any] = getattr(error, "kwargs", None) or {}
    if "ProfileNotFound" in kinds:
        return _no_profile(str(facts.get("profile")), profile, profiles)
    if "PartialCredentialsError" in kinds:
        return _half(str(facts.get("provider")), str(facts.get("cred_var")))
    if "ConfigParseError" in kinds:
        why = f" ({safe_str(facts['error'], LIMIT)})" if facts.get("error") else ""
        return f"{facts.get('path')} cannot be read as an AWS configuration file{why}: correct it"
    text = safe_str(error, LIMIT).rstrip(".")
    if not {"BotoCoreError", "ClientError", "LeasekeeperError"} & set(kinds):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    advice = next((_ADVICE[kind] for kind in kinds if kind in _ADVICE), "")
    return f"{text}; {advice.format(files=' or '.join(_files()))}" if advice else text


def _files() -> tuple[str, str]:
    """The files of the AWS configuration: config, credentials."""
    found = os.environ.get("AWS_CONFIG_FILE"), os.environ.get("AWS_SHARED_CREDENTIALS_FILE")
    return found[0] or "~/.aws/config", found[1] or "~/.aws/credentials"


def _no_profile(name: str, asked: str | None, profiles: Sequence[str]) -> str:
    variable = next((each for each in ("AWS_DEFAULT_PROFILE", "AWS_PROFILE") if os.environ.get(each) == name), "")
    source = f" ({variable})" if asked is None and variable else ""
    where = " or ".join(_files())
    near = difflib.get_close_matches(name, profiles, n=1, cutoff=0.75)
    if near:
        do = f"did you mean {near[0]!r}?"
    elif profiles:
        more = f" and {len(profiles) - SHOWN} more" if len(profiles) > SHOWN else ""
        do = f"they have {bounded(', '.join(profiles[:SHOWN]), LIMIT)}{more}"
    else:
        do = "they have none: leave the profile out, or make one with `aws configure`"
    return f"there is no AWS profile {name!r}{source} in {where}; {do}"


def _half(provider: str, missing: str) -> str:
    if provider == "env":
        return f"AWS_ACCESS_KEY_ID is set, but {missing} is not: set both, or unset AWS_ACCESS_KEY_ID"
    file = {"config-file": _files()[0], "shared-credentials-file": _files()[1]}.get(provider, provider)
    return f"{file} has a part of the credentials, but no {missing}: give all of them, or none"
