"""AWS credentials: where they come from and how they are kept fresh.

The keeper is owned by one client and used on its loop; sources that block run in threads. It promises that a call never
waits for a refresh while the held credentials work, and that whatever a source raises, SystemExit too, is logged and
the refresh is tried again.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from leasekeeper.api import Credentials, CredentialsProvider
from leasekeeper.errors import CredentialsMissing, SqsError, Verdict
from leasekeeper.loggers import safe_logger
from leasekeeper.sqs.aws_errors import explained
from leasekeeper.sqs.blocking import in_thread
from leasekeeper.texts import safe_repr, safe_str

T = TypeVar("T")
log = safe_logger("leasekeeper.sqs")

EARLY = 900.0
"""Seconds before expiry at which a refresh begins, or a third of the lifetime if that is less (as in botocore)."""
RETRY = 10.0
"""Seconds between attempts after a refresh has failed, and between refreshes that refusals by SQS cause."""
RECHECK = 60.0
"""Seconds between fetches from a source that refreshes by itself and does not say when."""
PATIENCE = 15.0
"""Seconds that a call waits for a refresh when the held credentials do not work."""
LIMIT = 60.0
"""Seconds after which a refresh fails, so that a source that hangs is asked again."""


class Source(Protocol):
    """Where credentials come from."""

    self_refreshing: bool
    """Whether to fetch every `RECHECK` seconds from a source that does not say when its credentials expire."""

    def fetch(self, *, renew: bool) -> Coroutine[Any, Any, Credentials]:
        """The current credentials; `renew` when SQS refused the last ones. May raise anything."""
        ...


class CredentialKeeper:
    """Holds credentials and keeps them fresh.

    Args:
        source: where they come from.
        clock: epoch seconds.

    Attributes:
        failure: why the last refresh failed; None when it succeeded.
    """

    def __init__(self, source: Source, *, clock: Callable[[], float] = time.time) -> None:
        self._source = source
        self._clock = clock
        self._held: Credentials | None = None
        self._refused = False
        self._due = -math.inf
        self._asked = -math.inf  # when the last refresh that a refusal asked for ended
        self._refresh: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None

    async def start(self) -> None:
        """Fetch the first credentials; raises `CredentialsMissing`."""
        await self._renew(renew=False)
        if self._held is None:
            if isinstance(self.failure, CredentialsMissing):
                raise self.failure
            raise CredentialsMissing(
                f"no AWS credentials from {safe_str(self._source)}: {self._why()}"
            ) from self.failure

    def current(self) -> Credentials | None:
        """Credentials that are expected to work; None when a call must wait for `renewed`. Begins refreshes."""
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
                f"the AWS credentials have expired and could not be refreshed from {safe_str(self._source)}: "
                f"{self._why()}",
            )
        return held

    def reject(self, credentials: Credentials) -> None:
        """Note that SQS refused these: the next call waits for new ones, at most every `RETRY` seconds."""
        now = self._clock()
        if credentials == self._held and self._refresh is None and now >= self._asked + RETRY:
            self._refused = True
            self._due = now

    def close(self) -> None:
        """End a refresh under way."""
        if self._refresh is not None:
            self._refresh.cancel()

    def _why(self) -> str:
        """Why there are no credentials that work, and what to do."""
        if self.failure is not None:
            return explained(self.failure)
        return "those that it gives have expired" if self._refresh is None else f"no answer in {PATIENCE:g} s"

    def _begin(self) -> None:
        self._refresh = asyncio.create_task(self._renew(renew=self._refused), name="leasekeeper credentials")
        self._refresh.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._refresh = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("keeping credentials fresh failed unexpectedly", exc_info=error)

    async def _renew(self, *, renew: bool) -> None:
        try:
            fetched = await self._fetch(renew=renew)
            due = self._next_fetch(fetched)
        except BaseException as error:  # a user's provider may raise anything, and the held ones may still work
            if isinstance(error, GeneratorExit) or _ends_this_task(error):
                raise
            self.failure = error
            self._due = self._clock() + RETRY
            if self._held is not None:  # otherwise `start` raises it
                log.warning(
                    "AWS credentials could not be refreshed from %s: %s",
                    safe_str(self._source),
                    explained(error),
                )
            return
        finally:
            self._refused = False
            if renew:
                self._asked = self._clock()
        self.failure = None
        self._held, self._due = fetched, due

    async def _fetch(self, *, renew: bool) -> Credentials:
        """Fetch in a separate task: a source that swallows its cancellation holds up neither calls nor a stop."""
        fetch = asyncio.create_task(_answer_of(self._source.fetch(renew=renew)), name="leasekeeper credentials source")
        try:
            await asyncio.wait((fetch,), timeout=LIMIT)
        finally:
            fetch.cancel()  # changes nothing once it is done
        if not fetch.done():
            raise TimeoutError(f"no answer in {LIMIT:g} s")
        answer = fetch.result()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _next_fetch(self, fetched: Credentials) -> float:
        now = self._clock()
        if fetched.expiry is not None:
            left = fetched.expiry - now
            return max(fetched.expiry - min(EARLY, left / 3), now + 1.0)
        return now + RECHECK if self._source.self_refreshing else math.inf


async def _answer_of(fetching: Coroutine[Any, Any, Credentials]) -> Credentials | BaseException:
    """What the source returns or raises; a task that raises SystemExit would end the engine's loop."""
    try:
        return await fetching
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # a user's provider may raise anything
        return error


def _ends_this_task(error: BaseException) -> bool:
    """Whether it is the cancellation of the task that we run in, and not one that a provider raised."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


class Fixed:
    """Credentials that do not change."""

    self_refreshing = False

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def fetch(self, *, renew: bool) -> Credentials:  # noqa: ARG002 - there are no others
        """The credentials given."""
        return self._credentials

    def __str__(self) -> str:
        return f"the fixed credentials {self._credentials.access_key}"


class FromProvider:
    """Credentials from a user's function."""

    self_refreshing = False

    def __init__(self, provider: CredentialsProvider) -> None:
        self._provider = provider

    async def fetch(self, *, renew: bool) -> Credentials:  # noqa: ARG002 - it is called each time
        """What the function returns."""
        answer = self._provider() if inspect.iscoroutinefunction(self._provider) else await in_thread(self._provider)
        credentials = await answer if isinstance(answer, Awaitable) else answer
        if not isinstance(credentials, Credentials):
            raise CredentialsMissing(
                f"the credentials provider {safe_repr(self._provider)} returned {type(credentials).__name__}: "
                "it must return leasekeeper.api.Credentials"
            )
        return credentials

    def __str__(self) -> str:
        return f"the credentials provider {getattr(self._provider, '__qualname__', None) or safe_repr(self._provider)}"


class FromBotocore:
    """Credentials from botocore's chain: environment, profiles, web identity, SSO, processes, containers, instances.

    Args:
        session: makes a botocore session with the wanted profile; called again when SQS refused the credentials, so
            that rotated files and variables are read again.
        metadata: whether to ask the instance metadata service, which takes seconds where there is none.
        fallback: credentials to use when the chain finds none; servers on this machine accept any.
    """

    self_refreshing = True

    def __init__(
        self, session: Callable[[], Any], *, metadata: bool = True, fallback: Credentials | None = None
    ) -> None:
        self._session = session
        self._fallback = fallback
        self._metadata = metadata
        self._found: Any = None
        self._looking = threading.Lock()
        """Clients share a source, and it makes one session for all of them."""

    async def fetch(self, *, renew: bool) -> Credentials:
        """The credentials that the chain finds; botocore refreshes those that expire soon."""
        return await in_thread(lambda: self._look(renew=renew))

    def _look(self, *, renew: bool) -> Credentials:
        locked = self._looking.acquire(timeout=LIMIT / 2)  # one look-up that hangs does not stop all others for good
        try:
            if self._found is None or renew:
                session = self._session()
                if not self._metadata:
                    session.get_component("credential_provider").remove("iam-role")
                self._found = session.get_credentials()
            found = self._found
        finally:
            if locked:
                self._looking.release()
        if found is None and self._fallback is not None:
            return self._fallback
        if found is None:
            raise CredentialsMissing(_NOT_FOUND)
        frozen = found.get_frozen_credentials()
        return Credentials(access_key=frozen.access_key, secret_key=frozen.secret_key, token=frozen.token or None)

    def __str__(self) -> str:
        return "the AWS configuration"


_NOT_FOUND = (
    "no AWS credentials were found. We looked, in this order, at: the variables AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY; the profile (AWS_PROFILE or `profile`) in ~/.aws/credentials and ~/.aws/config, with "
    "assumed roles, SSO and credential_process; AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN; the container's "
    "credentials (ECS, EKS Pod Identity); the instance's role (EC2). Set one of them, or pass `credentials`. "
    "For a local SQS any will do, e.g. AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local"
)
