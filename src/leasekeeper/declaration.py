"""What a consumer is before its start: a queue, its handlers, and options.

The base of `Consumer`. It promises that a change which cannot work changes nothing.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from leasekeeper.errors import Closed
from leasekeeper.given_options import GivenOptions
from leasekeeper.idle_options import without_effect
from leasekeeper.injection import Injection
from leasekeeper.lanes.handlers import make_handler
from leasekeeper.lanes.middleware import check_middleware
from leasekeeper.lanes.parameters import NO_LIFESPAN, NOT_YET
from leasekeeper.loggers import safe_logger
from leasekeeper.option_rules import refuse_for_kind
from leasekeeper.options import Options
from leasekeeper.routing import condition_of
from leasekeeper.sending.senders import Senders
from leasekeeper.sqs.address import address_of, check_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from leasekeeper.injection import Injector
    from leasekeeper.option_values import OptionValues
    from leasekeeper.routing import When


class Declaration:
    """A queue with its handlers and options.

    Attributes:
        handler: what a lane calls.
        options: all options, with their defaults.
        address: the queue's name, region and account, as far as they are known.
        senders: those that its handlers send with; shared with the other consumers of an app.
        inherited: options that are those of all consumers of an app: some may have no effect here.
        named: the options that the code gives, also those with the value that they have anyway.
        places: where options from outside the code come from, by name: a flag, a variable, or the table of a file.
    """

    def __init__(
        self,
        queue: str,
        handler: Callable[..., Any],
        when: When | None,
        given: GivenOptions,
        *,
        lifespan: Callable[..., Any] | None,
        inject: Injector | Callable[[], Injector] | Injection | None = None,
    ) -> None:
        if not isinstance(inject, Injection):
            injection = Injection(Senders())
            if inject is not None:
                given.noted(injection.use, inject)
            inject = injection
        assert isinstance(inject.own, Senders)
        self.injection, self.senders = inject, inject.own
        self._queue = queue
        self._functions: list[tuple[Callable[..., Any], When | None]] = [(handler, when)]
        self.places: dict[str, str] = {}
        self.inherited: frozenset[str] = frozenset()
        self._opens = lifespan
        self._resources = NO_LIFESPAN if lifespan is None else NOT_YET
        self._declare(given)
        self.named = given.named

    def _declare(self, given: GivenOptions) -> None:
        """Take over the options, or refuse all that is wrong: with them, with the queue, with a handler."""
        options = given.options
        with given:
            for name in ("region", "endpoint_url"):
                given.noted(check_place, name, getattr(options, name))
            address = given.noted(address_of, self._queue, options.region)
            if address is not None:
                given.noted(refuse_for_kind, options, address.name, fifo=address.fifo)
            given.noted(check_middleware, options.middleware)  # again below, if the handler is right
            for _, when in self._functions:
                if when is not None:
                    given.noted(condition_of, when)
            handler = given.noted(
                make_handler,
                self._functions,
                options,
                queue=str(self._queue) if address is None else address.name,
                resources=self._resources,
                injection=self.injection,
                lifespan=self._opens,
            )
        assert address is not None
        assert handler is not None
        self.handler, self.options, self.address = handler, options, address

    def add_handler(
        self, handler: Callable[..., Any], *, when: When | None = None, **values: Unpack[OptionValues]
    ) -> None:
        """Give the queue another handler, before a start. Each message is run by the first handler that takes it.

        Args:
            handler: as that of `Consumer`; `async def` or `def`, as the others are.
            when: which messages it takes. Without it, those with the tags of its body's type (of a `msgspec.Struct`, or
                fields annotated with a `Literal` of one value); or, for a type without tags, all that no other takes.
            values: options to set above those of the consumer.

        Raises:
            ConfigurationError: the messages of two handlers cannot be told apart; or as `Consumer`.
            Closed: the consumer is running.
        """
        self.refuse_running("add handlers")
        before = self._functions
        self._functions = [*before, (handler, when)]
        try:
            self._declare(self._with(values))
        except BaseException:
            self._functions = before
            raise
        self.named |= values.keys()

    def configure(self, values: Mapping[str, Any], places: Mapping[str, str] | None = None) -> None:
        """Set options above those in the code, before a start: what flags, environment and files say.

        Args:
            values: the options by name.
            places: where they come from, for people: a flag, a variable, or the table of a file.

        Raises:
            ConfigurationError: an unknown option, or one that cannot work with the others.
            Closed: the consumer is running.
        """
        self.refuse_running("configure it")
        self._declare(self._with(values))
        self.places.update(places or {})

    @contextmanager
    def override(self, kind: Any, value: Any) -> Iterator[None]:
        """Let handlers get `value` where they ask for `kind`, in starts and calls of this block: for tests.

        Args:
            kind: the type of a parameter, which the lifespan or the injector gives; or what the injector knows it by,
                e.g. the function in FastDepends' `Depends`. What depends on it in the injector gets `value` too.
            value: what they get.

        Raises:
            Closed: the consumer is running.
        """
        self.refuse_running("override what its handlers get")
        with self.injection.override(kind, value):
            yield

    def _with(self, values: Mapping[str, Any]) -> GivenOptions:
        before = {option.name: getattr(self.options, option.name) for option in fields(Options)}
        return GivenOptions({**before, **values})

    @property
    def handler_places(self) -> list[str]:
        """The file and line of each function, such as `shop.py:12`; those without Python code are left out."""
        codes = [getattr(inspect.unwrap(function), "__code__", None) for function, _ in self._functions]
        return [f"{Path(code.co_filename).name}:{code.co_firstlineno}" for code in codes if code is not None]

    def warn(self) -> None:
        """Log which options have no effect."""
        options, fifo = self.options, self.address.fifo
        for sentence in without_effect(options, fifo=fifo, is_coroutine=self.handler.is_coroutine):
            if sentence.partition("=")[0] not in self.inherited:
                safe_logger(options.logger).warning("queue %s: %s", self.address.name, sentence)

    def refuse_running(self, what: str) -> None:
        """Raise `Closed` if it has started and not ended."""
        if self._running:
            raise Closed(f"consumer of {self.address.name} is running: {what} before its start")

    @property
    def _running(self) -> bool:
        """Whether it has started and not ended."""
        raise NotImplementedError
