"""AWS credentials: where they come from and how they are kept fresh.

The keeper is owned by one client and used on its loop; sources that block run on threads of their own. It promises that
a call never waits for a refresh while what is held still works, and that a failed refresh says so and is tried again.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from leasekeeper.api import Credentials, CredentialsProvider
from leasekeeper.errors import CredentialsMissing, SqsError, Verdict
from leasekeeper.sqs.blocking import in_thread

T = TypeVar("T")
log = logging.getLogger("leasekeeper.sqs")

EARLY = 900.0
"""Seconds before expiry at which a refresh begins, or a third of the lifetime if that is less (botocore's advisory)."""
RETRY = 10.0
"""Seconds between attempts after a refresh has failed, and between refreshes that the server's refusals ask for."""
RECHECK = 60.0
"""Seconds between looks at a source that refreshes by itself and does not say when."""
PATIENCE = 15.0
"""Seconds a call waits for a refresh once nothing that works is held."""
LIMIT = 60.0
"""Seconds after which a refresh is given up, so that a source that hangs is asked again."""


class Source(Protocol):
    """Where credentials come from."""

    self_refreshing: bool
    """Whether the source, not saying when its credentials expire, is to be asked every `RECHECK` seconds."""

    async def fetch(self, *, anew: bool) -> Credentials:
        """The credentials of this moment; `anew` when the last ones were refused. Raises whatever went wrong."""
        ...


class CredentialKeeper:
    """Holds credentials and keeps them fresh.

    Args:
        source: where they come from.
        clock: epoch seconds.

    Attributes:
        failure: why the last refresh failed; None when it went well.
    """

    def __init__(self, source: Source, *, clock: Callable[[], float] = time.time) -> None:
        self._source = source
        self._clock = clock
        self._held: Credentials | None = None
        self._refused = False
        self._due = -math.inf
        self._asked = -math.inf  # when the last refresh that a refusal asked for ended
        self._refresh: asyncio.Task[None] | None = None
        self.failure: Exception | None = None

    async def start(self) -> None:
        """Fetch the first credentials; raises `CredentialsMissing`."""
        await self._renew(anew=False)
        if self._held is None:
            if isinstance(self.failure, CredentialsMissing):
                raise self.failure
            raise CredentialsMissing(f"no AWS credentials: {self._source!r} failed: {self.failure!r}") from self.failure

    def current(self) -> Credentials | None:
        """Credentials that work as far as we know; None when a call must wait for `renewed`. Begins refreshes."""
        now = self._clock()
        if now >= self._due and self._refresh is None:
            self._begin()
        held = self._held
        if self._refused or held is None or (held.expiry is not None and now >= held.expiry):
            return None
        return held

    async def renewed(self) -> Credentials:
        """Credentials after the refresh under way, or a new one, has ended.

        Raises:
            SqsError: CREDENTIALS, when it failed or took longer than `PATIENCE` seconds.
        """
        if self._refresh is None and self._clock() >= self._due:
            self._begin()
        if self._refresh is not None:
            await asyncio.wait({self._refresh}, timeout=PATIENCE)
        held = self._held
        if held is None or (held.expiry is not None and self._clock() >= held.expiry):
            raise SqsError(
                Verdict.CREDENTIALS,
                "CredentialsExpired",
                f"the AWS credentials have expired and could not be refreshed from {self._source!r}: {self.failure!r}",
            )
        return held

    def reject(self, credentials: Credentials) -> None:
        """Take note that the server refused these: the next call waits for new ones, at most every `RETRY` seconds."""
        now = self._clock()
        if credentials == self._held and self._refresh is None and now >= self._asked + RETRY:
            self._refused = True
            self._due = now

    def close(self) -> None:
        """End a refresh under way."""
        if self._refresh is not None:
            self._refresh.cancel()

    def _begin(self) -> None:
        self._refresh = asyncio.create_task(self._renew(anew=self._refused), name="leasekeeper credentials")
        self._refresh.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._refresh = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("keeping credentials fresh failed unexpectedly", exc_info=error)

    async def _renew(self, *, anew: bool) -> None:
        try:
            async with asyncio.timeout(LIMIT):
                fetched = await self._source.fetch(anew=anew)
        except Exception as error:  # a user's provider may raise anything; what we hold may still work
            self.failure = error
            self._due = self._clock() + RETRY
            if self._held is not None:  # otherwise `start` raises it
                log.warning("AWS credentials could not be refreshed from %r: %s", self._source, error)
            return
        finally:
            self._refused = False
            if anew:
                self._asked = self._clock()
        self.failure = None
        self._held = fetched
        self._due = self._next_look(fetched)

    def _next_look(self, fetched: Credentials) -> float:
        now = self._clock()
        if fetched.expiry is not None:
            left = fetched.expiry - now
            return max(fetched.expiry - min(EARLY, left / 3), now + 1.0)
        return now + RECHECK if self._source.self_refreshing else math.inf


class Fixed:
    """Credentials that were given as such."""

    self_refreshing = False

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def fetch(self, *, anew: bool) -> Credentials:  # noqa: ARG002 - there are no others
        """The credentials given."""
        return self._credentials

    def __repr__(self) -> str:
        return f"<fixed credentials {self._credentials.access_key}>"


class FromProvider:
    """Credentials from a user's function."""

    self_refreshing = False

    def __init__(self, provider: CredentialsProvider) -> None:
        self._provider = provider

    async def fetch(self, *, anew: bool) -> Credentials:  # noqa: ARG002 - asking is all one can do
        """What the function answers."""
        answer = self._provider() if inspect.iscoroutinefunction(self._provider) else await in_thread(self._provider)
        credentials = await answer if isinstance(answer, Awaitable) else answer
        if not isinstance(credentials, Credentials):
            raise CredentialsMissing(
                f"the credentials provider {self._provider!r} answered with {type(credentials).__name__}: "
                "it must return leasekeeper.api.Credentials"
            )
        return credentials

    def __repr__(self) -> str:
        return f"<credentials provider {getattr(self._provider, '__qualname__', self._provider)!r}>"


class FromBotocore:
    """Credentials from botocore's chain: environment, profiles, web identity, SSO, processes, containers, instances.

    Args:
        session: makes a botocore session with the wanted profile; called again when credentials were refused, so that
            rotated files and variables are read anew.
        metadata: whether the instance metadata service may be asked, which takes seconds where there is none.
        fallback: what to use when the chain finds nothing; servers on this machine take anything.
    """

    self_refreshing = True

    def __init__(
        self, session: Callable[[], Any], *, metadata: bool = True, fallback: Credentials | None = None
    ) -> None:
        self._session = session
        self._fallback = fallback
        self._metadata = metadata
        self._found: Any = None

    async def fetch(self, *, anew: bool) -> Credentials:
        """What the chain finds; botocore refreshes what is about to expire."""
        return await in_thread(lambda: self._look(anew=anew))

    def _look(self, *, anew: bool) -> Credentials:
        if self._found is None or anew:
            session = self._session()
            if not self._metadata:
                session.get_component("credential_provider").remove("iam-role")
            self._found = session.get_credentials()
        if self._found is None and self._fallback is not None:
            return self._fallback
        if self._found is None:
            raise CredentialsMissing(_NOT_FOUND)
        frozen = self._found.get_frozen_credentials()
        return Credentials(access_key=frozen.access_key, secret_key=frozen.secret_key, token=frozen.token or None)

    def __repr__(self) -> str:
        return "<botocore's credential chain>"


_NOT_FOUND = (
    "no AWS credentials were found. We looked, in this order, at: the variables AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY; the profile (AWS_PROFILE or `profile`) in ~/.aws/credentials and ~/.aws/config, with "
    "assumed roles, SSO and credential_process; AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN; the container's "
    "credentials (ECS, EKS Pod Identity); the instance's role (EC2). Set one of them, or pass `credentials`. "
    "For a local SQS any will do, e.g. AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local"
)
