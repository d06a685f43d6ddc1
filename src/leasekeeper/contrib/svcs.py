"""Injection by svcs: `app.inject(SvcsInjector(registry))`.

A handler gets what is annotated with a type that the registry has, and `svcs.Container`: that of its run. The container
knows the message as `Message`, so factories that take a container can ask for it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import svcs

from leasekeeper.batch import Batch
from leasekeeper.message import Message

if TYPE_CHECKING:
    import inspect
    from collections.abc import AsyncIterator, Iterator

    from leasekeeper.injection import Get, GetLater


class SvcsInjector:
    """Gives what a registry of svcs has."""

    def __init__(self, registry: svcs.Registry) -> None:
        self._registry = registry
        self._fakes: dict[Any, Any] = {}

    def gives(self, parameter: inspect.Parameter) -> bool:
        """Whether its type is in the registry, or it is a container."""
        return parameter.annotation is svcs.Container or parameter.annotation in self._registry

    @contextmanager
    def scope(self, message: Message[Any] | Batch[Any]) -> Iterator[Get]:
        """The scope of a `def` handler: a container."""
        with self._opened(message) as services:

            def get(parameter: inspect.Parameter) -> Any:
                return services if parameter.annotation is svcs.Container else services.get(parameter.annotation)

            yield get

    @asynccontextmanager
    async def scope_async(self, message: Message[Any] | Batch[Any]) -> AsyncIterator[GetLater]:
        """The scope of an `async def` handler: a container."""
        async with self._opened(message) as services:

            async def get(parameter: inspect.Parameter) -> Any:
                return services if parameter.annotation is svcs.Container else await services.aget(parameter.annotation)

            yield get

    def _opened(self, message: Message[Any] | Batch[Any]) -> svcs.Container:
        services = svcs.Container(self._registry)
        services.register_local_value(Batch if isinstance(message, Batch) else Message, message)
        for kind, value in self._fakes.items():
            services.register_local_value(kind, value)
        return services

    @contextmanager
    def override(self, kind: Any, value: Any) -> Iterator[None]:
        """Give `value` in place of a type, also to factories that ask a container for it."""
        before = self._fakes
        self._fakes = {**before, kind: value}
        try:
            yield
        finally:
            self._fakes = before
