"""Injection: parameters of handlers that a container of dependencies gives, and what tests put in their place.

An app or a consumer has one `Injection`; its handlers read it when they are made and when they are bound at a start.
Adapters for dishka, svcs and FastDepends are in `leasekeeper.contrib`; a class with these methods is one too. A handler
that an injector gives nothing costs nothing for it.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from copy import copy
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Annotated, Any, Protocol, cast, get_args, get_origin

from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    import inspect
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from leasekeeper.batch import Batch
    from leasekeeper.message import Message

    Get = Callable[[inspect.Parameter], Any]
    GetLater = Callable[[inspect.Parameter], Awaitable[Any]]


class Injector(Protocol):
    """What gives parameters to handlers. A scope is for one run of a handler, and closes before the settlement."""

    def gives(self, parameter: inspect.Parameter) -> bool:
        """Whether it gives this parameter of a handler; asked once, when the handler is declared.

        The annotation of the parameter is resolved. Parameters with a default are asked for too.
        """
        ...

    def scope(self, message: Message[Any] | Batch[Any], /) -> AbstractContextManager[Get]:
        """The scope of one run of a `def` handler: a function that returns the value of a parameter."""
        ...

    def scope_async(self, message: Message[Any] | Batch[Any], /) -> AbstractAsyncContextManager[GetLater]:
        """The scope of one run of an `async def` handler: a function to await for the value of a parameter."""
        ...

    def override(self, kind: Any, value: Any) -> AbstractContextManager[object]:
        """Give `value` in place of `kind`, also to what else depends on it: for tests."""
        ...


class Injection:
    """The injector of an app or a consumer, if it has one, and what tests have put in place of its values.

    Attributes:
        own: what gives parameters of ours: senders.
        injector: the user's injector.
        factory: the function that made it, if one did; worker processes call it too.
        overrides: values by the type, or the function, that they stand for.
    """

    def __init__(self, own: Injector) -> None:
        self.own = own
        self.injector: Injector | None = None
        self.factory: Callable[[], Injector] | None = None
        self.overrides: dict[Any, Any] = {}
        self.inbox: tuple[Injector, ...] = ()

    def use(self, injector: Injector | Callable[[], Injector]) -> None:
        """Use that injector, or what the function makes.

        Raises:
            ConfigurationError: there is one already, or this has not the methods of an injector.
        """
        if self.injector is not None:
            raise ConfigurationError(
                f"there is an injector already, {self.injector!r}: an app has one; let one container know all"
            )
        if isinstance(injector, FunctionType):
            self.factory, injector = injector, injector()
        if not isinstance(injector, type) and all(hasattr(injector, name) for name in _METHODS):
            self.injector = cast("Injector", injector)
            return
        raise ConfigurationError(
            f"inject({injector!r}): give an injector, e.g. DishkaInjector(container) of leasekeeper.contrib.dishka, or "
            "a function that makes one"
        )

    def gives(self, parameter: inspect.Parameter) -> bool:
        """Whether an injector gives this parameter."""
        return any(each.gives(parameter) for each in self._injectors)

    @property
    def _injectors(self) -> tuple[Injector, ...]:
        return (self.own, *self.inbox) if self.injector is None else (self.own, *self.inbox, self.injector)

    @contextmanager
    def override(self, kind: Any, value: Any) -> Iterator[None]:
        """Give `value` in place of `kind`, as `Leasekeeper.override` has it."""
        missing = object()
        before = self.overrides.get(kind, missing)
        self.overrides[kind] = value
        try:
            with ExitStack() as stack:
                if self.injector is not None:
                    stack.enter_context(self.injector.override(kind, value))
                yield
        finally:
            if before is missing:
                del self.overrides[kind]
            else:
                self.overrides[kind] = before

    def overridden(self, annotation: Any) -> tuple[Any, ...]:
        """The value that stands for a type, alone in a tuple; empty if none does."""
        bare = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
        try:
            return (self.overrides[bare],) if bare in self.overrides else ()
        except TypeError:  # an annotation that cannot be hashed
            return ()

    def around(
        self, call: Callable[..., Any], parameters: Sequence[inspect.Parameter], *, is_coroutine: bool
    ) -> Callable[[Any], Any]:
        """A function of a message (or a batch) that calls `call` with it, and with the parameters by their names."""
        given = {each.name: value for each in parameters for value in self.overridden(each.annotation)}
        if given:
            call = partial(call, **given)
        left = [each for each in parameters if each.name not in given]
        for injector in self._injectors:
            if wanted := [each for each in left if injector.gives(each)]:
                left = [each for each in left if each not in wanted]
                call = partial(_run_async if is_coroutine else _run, injector, wanted, call)
        return call


def with_inbox(injection: Injection | None, inbox: Any) -> Injection:
    """The injection of a consumer with an inbox, which gives its handlers the connection of their transaction."""
    if injection is None:
        return Injection(inbox)
    beside = copy(injection)
    beside.inbox = (inbox,)
    return beside


_METHODS = ("gives", "scope", "scope_async", "override")


def _run(
    injector: Injector,
    parameters: Sequence[inspect.Parameter],
    call: Callable[..., Any],
    message: Message[Any],
    **given: Any,
) -> Any:
    with injector.scope(message) as get:
        return call(message, **given, **{each.name: get(each) for each in parameters})


async def _run_async(
    injector: Injector,
    parameters: Sequence[inspect.Parameter],
    call: Callable[..., Any],
    message: Message[Any],
    **given: Any,
) -> Any:
    async with injector.scope_async(message) as get:
        return await call(message, **given, **{each.name: await get(each) for each in parameters})
