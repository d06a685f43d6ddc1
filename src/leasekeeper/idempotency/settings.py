"""The option `idempotency`: which key a message has, where keys are kept, and what follows when something is missing.

Made by users, given to consumers. It may be given to several; their handlers keep their keys apart.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

from leasekeeper.errors import ConfigurationError
from leasekeeper.idempotency.claiming import work_on
from leasekeeper.idempotency.guard import Guard
from leasekeeper.idempotency.keys import check_keep, check_key, key_function, why_missing
from leasekeeper.idempotency.terms import Counts, OnMissing, OnStoreError, Terms

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.core.idempotency_statistics import IdempotencyStatistics
    from leasekeeper.idempotency.api import Store
    from leasekeeper.idempotency.keys import Key
    from leasekeeper.message import Message


class Idempotency:
    """Runs the handler once for each key, also when a message comes twice. The option `idempotency` of a consumer.

    A key is claimed before the handler runs, for as long as the lease of the message lasts. When the handler has
    returned, the key is marked as done, and further messages with it are deleted without a run. When it fails, is
    cancelled or loses its lease, the key is free again.

    Args:
        store: where keys are kept: `RedisStore`, `PostgresStore`, `DynamoDbStore` or `MemoryStore`.
        key: the key of a message: a function of the `Message`, a path with dots into the body, such as `"payment.id"`,
            or `MESSAGE_ID`, which guards against redeliveries only.
        fingerprint: a function of the message, or a path, for what must be the same in all messages with one key. A
            message with another is rejected.
        keep: how long a key is remembered after the handler has returned. It should be longer than the retention
            periods of the queue and its dead-letter queue together: SQS keeps messages for four days in each by
            default, so the default is eight. One second to ten years.
        result: whether what the handler returns is kept, as JSON, and is the result of the message's duplicates too.
            Only middleware and envelopes see results.
        on_store_error: what follows when the store cannot be asked: 'retry' gives the message back, and runs nothing;
            'run' runs the handler without protection.
        missing: what follows when a message has no key, or the key None: 'error' raises `KeyMissing`; 'reject' rejects
            it; 'run' runs the handler without protection.
        scope: what keys belong to. Unset: the queue and the handler's name. Give one name to handlers whose keys mean
            the same work.
        prefix: of all keys in the store.
        timeout: seconds that a verb of the store may take, 0.01 to 60.

    Raises:
        ConfigurationError: an argument is of the wrong kind or out of bounds.
    """

    def __init__(
        self,
        store: Store,
        *,
        key: Key,
        fingerprint: Callable[[Message[Any]], Any] | str | None = None,
        keep: timedelta = timedelta(days=8),
        result: bool = False,
        on_store_error: OnStoreError = "retry",
        missing: OnMissing = "error",
        scope: str | None = None,
        prefix: str = "leasekeeper",
        timeout: float = 5.0,
    ) -> None:
        _check(store, key, keep, timeout)
        for name, value, choices in (
            ("on_store_error", on_store_error, get_args(OnStoreError)),
            ("missing", missing, get_args(OnMissing)),
        ):
            if value not in choices:
                allowed = ", ".join(map(repr, choices))
                raise ConfigurationError(f"Idempotency({name}={value!r}): must be one of {allowed}")
        self.store = store
        self.on_store_error = on_store_error
        self._arguments = {
            "key": key,
            "fingerprint": fingerprint,
            "keep": keep,
            "result": result,
            "on_store_error": on_store_error,
            "missing": missing,
            "scope": scope,
            "prefix": prefix,
            "timeout": timeout,
        }
        self._terms = Terms(
            work=work_on(store),
            key=key_function(key),
            why_missing=why_missing(key),
            fingerprint=None if fingerprint is None else key_function(fingerprint),
            keep=keep.total_seconds(),
            result=result,
            on_store_error=on_store_error,
            missing=missing,
            scope=scope,
            prefix=prefix,
            timeout=timeout,
        )

    def for_handler(self, name: str, *, is_coroutine: bool, timeout: float | None) -> Callable[[Any, Any], Any]:
        """What is called around one handler; as every `MiddlewareMaker`."""
        guard = Guard(self._terms, name, timeout=timeout)
        return guard.run if is_coroutine else guard.run_blocking

    async def check(self) -> None:
        """Ask the store once, and change nothing in it.

        Raises:
            ConfigurationError: its table does not exist.
            StoreUnavailable: it does not answer, or answers with an error.
        """
        await self._terms.work.check(self._terms.prefix, self._terms.timeout)

    async def probe(self) -> None:
        """Claim a key that no message has, and give it up, to see whether the store takes claims.

        Raises:
            StoreUnavailable: it does not.
        """
        await self._terms.work.probe(self._terms.prefix, self._terms.timeout)

    def statistics(self, queue: str | None = None) -> IdempotencyStatistics:
        """What became of the messages so far: those of a queue, by its name, or of all."""
        return self._terms.counts.statistics(queue)

    @property
    def keep(self) -> float:
        """Seconds for which a key is remembered after its handler has returned."""
        return self._terms.keep

    @property
    def counts(self) -> Counts:
        """The counters."""
        return self._terms.counts

    def __reduce__(self) -> tuple[Callable[..., Idempotency], tuple[Store, dict[str, Any]]]:
        """For worker processes, which make one again."""
        return _made_again, (self.store, self._arguments)

    def __repr__(self) -> str:
        return f"<Idempotency in {self.store!r}>"


def _made_again(store: Store, arguments: dict[str, Any]) -> Idempotency:
    return Idempotency(store, **arguments)


def _check(store: Any, key: Any, keep: Any, timeout: Any) -> None:
    verbs = ("claim", "extend", "complete", "release", "close")
    if isinstance(store, type) or not all(callable(getattr(store, verb, None)) for verb in verbs):
        raise ConfigurationError(f"Idempotency({store!r}): must be a store, e.g. RedisStore.from_url('redis://...')")
    check_key("Idempotency", key)
    check_keep("Idempotency", keep)
    if not isinstance(timeout, int | float) or not 0.01 <= timeout <= 60:
        raise ConfigurationError(f"Idempotency(timeout={timeout!r}): must be a number from 0.01 to 60 seconds")
