"""What a worker process needs to make the handler again: functions by their names, and the options that it reads.

Made when a consumer is constructed, so that what cannot be taken to another process is refused there, with a sentence
that says what to change.
"""

from __future__ import annotations

import ast
import pickle
import sys
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leasekeeper.errors import ConfigurationError
from leasekeeper.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerPlan:
    """What a worker makes its handler of.

    Attributes:
        functions: module and name of the user's functions, with the conditions for the messages that each takes.
        options: of the consumer, without what only the engine uses.
        queue: the queue's name.
        lifespan: opened in each worker; None without one.
        injector: makes the injector of each worker; None without one.
    """

    functions: Sequence[tuple[str, str, Any]]
    options: Options
    queue: str
    lifespan: Callable[[Any], Any] | None
    injector: Callable[[], Any] | None = None

    def resolved(self) -> list[tuple[Callable[..., Any], Any]]:
        """The functions, with their conditions."""
        return [(_named(module, name), when) for module, name, when in self.functions]


class Blueprint:
    """A plan as bytes.

    Attributes:
        data: the bytes.

    Raises:
        ConfigurationError: something in it cannot be taken to another process.
    """

    def __init__(
        self,
        functions: Sequence[tuple[Callable[..., Any], Any]],
        options: Options,
        *,
        queue: str,
        lifespan: Callable[[Any], Any] | None,
        injector: Callable[[], Any] | None = None,
    ) -> None:
        self._queue = queue
        self._functions = functions
        for function, when in functions:
            _check_function(function, queue)
            _try(when, f"queue {queue}: when={when!r}")
        unused: dict[str, Any] = dict.fromkeys(
            ("client", "credentials", "share", "batch_key", "payloads", *OF_PROCESSES)
        )
        taken = replace(options, lane=None, logger=Options().logger, http="native", **unused)
        for each in ("middleware", "retry", "envelope", "idempotency"):
            _try(getattr(taken, each), f"queue {queue}: {each}={getattr(taken, each)!r}")
        _try(lifespan, f"queue {queue}: its lifespan")
        _try(injector, f"queue {queue}: the function that makes its injector")
        named = tuple((function.__module__, function.__qualname__, when) for function, when in functions)
        self.data = pickle.dumps(
            HandlerPlan(functions=named, options=taken, queue=queue, lifespan=lifespan, injector=injector)
        )

    def verify(self) -> None:
        """Refuse functions that a worker would not find; called at a start, when the module is complete.

        Raises:
            ConfigurationError: the name of a function is that of something else.
        """
        for function, _ in self._functions:
            found: Any = sys.modules.get(function.__module__)
            for part in function.__qualname__.split("."):
                found = getattr(found, part, None)
            if found is not function:
                raise ConfigurationError(
                    f"queue {self._queue}: handler {function.__qualname__} with lane='processes': "
                    f"{function.__module__}.{function.__qualname__} is {found!r}, so a worker process would call that: "
                    "give the function a name of its own at the top of its module"
                )


OF_PROCESSES = ("workers", "max_tasks", "max_age", "max_rss", "kill_rss", "start_method")
"""Options that only mean something in the engine's process."""


def _named(module: str, name: str) -> Any:
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _try(part: object, what: str) -> None:
    try:
        pickle.dumps(part)
    except Exception as error:
        raise ConfigurationError(
            f"{what} cannot be taken to a worker process ({error}): with lane='processes', define functions and "
            "classes at the top of a module, and make objects there"
        ) from error


def _check_function(function: Callable[..., Any], queue: str) -> None:
    """Refuse a function that a worker could not import."""
    name = getattr(function, "__qualname__", repr(function))
    module = getattr(function, "__module__", None)
    where = f"queue {queue}: handler {name}"
    if "<lambda>" in name or "<locals>" in name or module is None:
        raise ConfigurationError(
            f"{where} with lane='processes': a worker process imports the handler by its name, and this one has none "
            "there: define it with `def` at the top of a module"
        )
    if module == "__main__":
        _check_main(where)


def _check_main(where: str) -> None:
    path = getattr(sys.modules["__main__"], "__file__", None)
    if path is None or not Path(path).is_file():
        raise ConfigurationError(
            f"{where} with lane='processes': it is defined in an interactive session or in `python -c`, which a worker "
            "process cannot import: put it into a module"
        )
    if not _is_guarded(Path(path)):
        raise ConfigurationError(
            f"{where} with lane='processes': worker processes import {path} again, and would run it again: put what "
            "runs the consumer below `if __name__ == '__main__':`, or use `leasekeeper run module:app`"
        )


def _is_guarded(path: Path) -> bool:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError):
        return True  # it runs, so it is Python: a file that cannot be read here is not judged
    return any(isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) for node in tree.body)
