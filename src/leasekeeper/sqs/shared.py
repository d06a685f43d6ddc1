"""What the clients of one process share: endpoints, botocore's credentials and TLS contexts, one for equal settings.

Each takes 15 to 70 ms of CPU to make, so 200 consumers that start together would wait for many seconds. It promises
that nothing outlives the clients that use it, and that a change of the environment or of the AWS files is seen by the
next client: both are part of what has to be equal.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakSet, WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from leasekeeper.sqs.settings import ClientSettings

T = TypeVar("T")

_FILES = (("AWS_CONFIG_FILE", "~/.aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"))
_pools: WeakSet[Shared[Any]] = WeakSet()


class Shared(Generic[T]):
    """Values that are made once for equal keys, as long as something uses them. From any thread."""

    def __init__(self) -> None:
        self._values: WeakValueDictionary[Hashable, T]
        self.forget()
        _pools.add(self)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value that is in use for this key, or a new one. The others wait while one is made; errors are raised."""
        with self._lock:
            value = self._values.get(key)
            if value is None:
                value = self._values[key] = make()
            return value

    def forget(self) -> None:
        """Share nothing made so far: in a forked child another thread may hold the lock, and never give it back."""
        self._lock = threading.Lock()
        self._values = WeakValueDictionary()


def configuration(settings: ClientSettings) -> Hashable:
    """Everything that endpoint and credentials follow from: settings, environment, and the state of the AWS files."""
    queue = settings.queue
    return (
        settings.service,
        settings.region,
        settings.endpoint_url,
        settings.profile,
        None if queue is None else (queue.region, queue.endpoint),
        None if settings.proxies is None else frozenset(settings.proxies.items()),
        settings.ca_bundle,
        settings.use_fips,
        settings.use_dualstack,
        frozenset(os.environ.items()),
        tuple(state_of(os.environ.get(variable, usual)) for variable, usual in _FILES),
    )


def state_of(file: str) -> Hashable:
    """What changes when the file does; None if it cannot be read."""
    try:
        found = Path(file).expanduser().stat()
    except (OSError, RuntimeError):  # RuntimeError: there is no home directory
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _forget_all() -> None:
    for pool in list(_pools):
        pool.forget()


os.register_at_fork(after_in_child=_forget_all)
