"""Injection by dishka: `app.inject(DishkaInjector(container))`.

A handler gets what is annotated with `FromDishka[T]`, or with a type that the container has a factory for. The scope
`REQUEST` is one run of a handler. It knows the message where a provider declares `from_context(Message, scope=...)`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from dishka import AsyncContainer, Container
from dishka.entities.key import DependencyKey
from dishka.integrations.base import default_parse_dependency

from leasekeeper.batch import Batch
from leasekeeper.errors import ConfigurationError
from leasekeeper.message import Message

if TYPE_CHECKING:
    import inspect
    from collections.abc import AsyncIterator, Iterator

    from leasekeeper.injection import Get, GetLater


class DishkaInjector:
    """Gives what a container of dishka has.

    Args:
        container: of `make_async_container` for `async def` handlers; of `make_container` for both kinds. Where `def`
            handlers share it, make it with `lock_factory=threading.Lock`, because they run in threads.
    """

    def __init__(self, container: AsyncContainer | Container) -> None:
        self._container = container
        self._fakes: dict[Any, Any] = {}

    def gives(self, parameter: inspect.Parameter) -> bool:
        """Whether it is marked with `FromDishka`, or the container has a factory for its type."""
        if default_parse_dependency(parameter, parameter.annotation) is not None:
            return True
        registry: Any = self._container.registry
        while registry is not None:
            if registry.get_factory(_key(parameter)) is not None:
                return True
            registry = registry.child_registry
        return False

    @contextmanager
    def scope(self, message: Message[Any] | Batch[Any]) -> Iterator[Get]:
        """The scope of a `def` handler."""
        if isinstance(self._container, AsyncContainer):
            raise ConfigurationError(
                "a `def` handler with an AsyncContainer of dishka: make the handler `async def`, or give a Container "
                "(make_container)"
            )
        with self._container(_context(message)) as request:
            request._cache.update(self._fakes)  # noqa: SLF001 - filled by tests alone
            yield lambda parameter: request.get(*_wanted(parameter))

    @asynccontextmanager
    async def scope_async(self, message: Message[Any] | Batch[Any]) -> AsyncIterator[GetLater]:
        """The scope of an `async def` handler."""
        if isinstance(self._container, Container):
            with self.scope(message) as get:
                yield _later(get)
            return
        async with self._container(_context(message)) as request:
            request._cache.update(self._fakes)  # noqa: SLF001
            yield lambda parameter: request.get(*_wanted(parameter))

    @contextmanager
    def override(self, kind: Any, value: Any) -> Iterator[None]:
        """Give `value` in place of a type, also to other factories. What lives in `APP` and exists already keeps it."""
        cache: dict[Any, Any] = self._container._cache  # noqa: SLF001 - dishka has no other way for a made container
        before, fakes = dict(cache), self._fakes
        self._fakes = {**fakes, kind: value}
        cache[kind] = value
        try:
            yield
        finally:
            self._fakes = fakes
            cache.pop(kind)
            cache.update(before)


def _key(parameter: inspect.Parameter) -> DependencyKey:
    found = default_parse_dependency(parameter, parameter.annotation)
    return found or DependencyKey(parameter.annotation, "")


def _wanted(parameter: inspect.Parameter) -> tuple[Any, Any]:
    key = _key(parameter)
    return key.type_hint, key.component


def _context(message: Message[Any] | Batch[Any]) -> dict[Any, Any]:
    return {Batch if isinstance(message, Batch) else Message: message}


def _later(get: Get) -> GetLater:
    async def later(parameter: inspect.Parameter) -> Any:
        return get(parameter)

    return later
