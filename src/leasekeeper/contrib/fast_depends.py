"""Injection by FastDepends: `app.inject(FastDependsInjector())`.

A handler gets what has `Depends(...)` as its default or in `Annotated`. A dependency that has a parameter `message`
gets the message. A dependency that yields is finished when the handler has ended.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from fast_depends import Provider
from fast_depends.core import build_call_model
from fast_depends.dependencies import Dependant

from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    import inspect
    from collections.abc import AsyncIterator, Iterator

    from fast_depends.core import CallModel

    from leasekeeper.batch import Batch
    from leasekeeper.injection import Get, GetLater
    from leasekeeper.message import Message


class FastDependsInjector:
    """Gives what functions in `Depends(...)` return or yield.

    Args:
        provider: of FastDepends, if you have one; it knows overrides.
    """

    def __init__(self, provider: Provider | None = None) -> None:
        self._provider = provider or Provider()

    def gives(self, parameter: inspect.Parameter) -> bool:
        """Whether it has `Depends(...)`."""
        found = _dependant(parameter)
        if found is None:
            return False
        self._model(found)  # one that cannot work is refused here
        return True

    @contextmanager
    def scope(self, message: Message[Any] | Batch[Any]) -> Iterator[Get]:
        """The scope of a `def` handler."""
        cache: dict[Any, Any] = {}
        with ExitStack() as stack:

            def get(parameter: inspect.Parameter) -> Any:
                model = self._wanted(parameter)
                if model.is_async:
                    raise ConfigurationError(
                        f"parameter {parameter.name}: {model.call_name} is `async def`, and the handler is a `def`: "
                        "make both of one kind"
                    )
                given: dict[str, Any] = {"message": message}
                return model.solve(stack=stack, cache_dependencies=cache, nested=True, **given)

            yield get

    @asynccontextmanager
    async def scope_async(self, message: Message[Any] | Batch[Any]) -> AsyncIterator[GetLater]:
        """The scope of an `async def` handler."""
        cache: dict[Any, Any] = {}
        async with AsyncExitStack() as stack:
            given: dict[str, Any] = {"message": message}
            yield lambda parameter: self._wanted(parameter).asolve(
                stack=stack, cache_dependencies=cache, nested=True, **given
            )

    @contextmanager
    def override(self, kind: Any, value: Any) -> Iterator[None]:
        """Give `value` in place of what a function returns, also to other dependencies. A type is of no use here."""
        if isinstance(kind, type) or not callable(kind):
            yield
            return
        provider = self._provider
        before = provider.overrides.get(kind)
        provider.override(kind, lambda: value)
        try:
            yield
        finally:
            del provider.overrides[kind]
            if before is not None:
                provider.overrides[kind] = before

    def _wanted(self, parameter: inspect.Parameter) -> CallModel:
        found = _dependant(parameter)
        assert found is not None  # it is given
        return self._model(found)

    def _model(self, dependant: Dependant) -> CallModel:
        provider = self._provider
        if dependant.dependency not in provider.dependencies:
            made = build_call_model(
                dependant.dependency,
                dependency_provider=provider,
                use_cache=dependant.use_cache,
                serialize_result=False,
            )
            provider.add_dependant(made)
        return provider.get_dependant(dependant.dependency)


def _dependant(parameter: inspect.Parameter) -> Dependant | None:
    if isinstance(parameter.default, Dependant):
        return parameter.default
    metadata = get_args(parameter.annotation)[1:] if get_origin(parameter.annotation) is Annotated else ()
    return next((each for each in metadata if isinstance(each, Dependant)), None)
