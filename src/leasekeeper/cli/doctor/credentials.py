"""The doctor's look at the credentials: where they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leasekeeper.cli.doctor.facts import Finding, Level
from leasekeeper.sqs.blocking import in_thread

if TYPE_CHECKING:
    from leasekeeper.cli.connection import Connection

METHODS = {
    "env": "the environment",
    "shared-credentials-file": "~/.aws/credentials",
    "config-file": "~/.aws/config",
    "assume-role": "an assumed role",
    "assume-role-with-web-identity": "a web identity",
    "sso": "SSO",
    "login": "aws login",
    "custom-process": "credential_process",
    "container-role": "the container's role",
    "iam-role": "the instance's role",
}


async def credentials(connection: Connection, *, loopback: bool) -> Finding:
    """Where the credentials come from. The client has found some, or the server is on this machine and needs none."""

    def look() -> Any:
        from leasekeeper.sqs.endpoint import new_session  # it imports botocore, which other commands start without

        session = new_session(connection.settings())
        if loopback:
            session.get_component("credential_provider").remove("iam-role")
        return session.get_credentials()

    found = await in_thread(look)
    if found is None:
        return Finding(Level.OK, "credentials", "none found, none needed: the server is on this machine")
    key = found.get_frozen_credentials().access_key
    method = METHODS.get(found.method, found.method)
    return Finding(Level.OK, "credentials", f"from {method}, access key {key[:4]}...{key[-4:] if len(key) > 8 else ''}")
