"""The targets of `leasekeeper run`: `module:app`, imported, and given the settings from outside the code.

Owned by `leasekeeper run`. It promises one sentence for anything that is wrong with the reference and, when the user's
module fails, its traceback without our frames.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leasekeeper.app import Leasekeeper
from leasekeeper.cli import logs, settings
from leasekeeper.cli.errors import Stopped, printed, sentences_of
from leasekeeper.cli.preparing import prepared
from leasekeeper.cli.shadows import hidden, hiding
from leasekeeper.cli.words import printable_lines
from leasekeeper.consumer import Consumer
from leasekeeper.errors import ConfigurationError, Mistakes, Unusable
from leasekeeper.exit_codes import Exit
from leasekeeper.texts import safe_str
from leasekeeper.tracebacks import from_user_code

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

Target = Leasekeeper | Consumer


def load(reference: str, refuse: Callable[[str], bool] | None = None) -> Target:
    """The app or consumer that `module:name` means; modules of the working directory come first.

    Args:
        reference: to it.
        refuse: takes what is to be printed when the module fails, and says whether it does; None: it is printed here.

    Raises:
        ConfigurationError: the reference is malformed, or does not name an app or a consumer.
        Stopped: the module failed while it was imported; its traceback has been shown.
    """
    module_name, colon, path = reference.partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        guess = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise ConfigurationError(f"{reference!r} names a file: give the module, e.g. {guess}:{path or 'app'}")
    if not colon or not all(part.isidentifier() for part in (*module_name.split("."), *path.split("."))):
        raise ConfigurationError(f"{reference!r} is not MODULE:NAME, e.g. shop:app or shop.orders:consumer")
    directory = str(Path.cwd())
    if directory not in sys.path:
        sys.path.insert(0, directory)
    prepare = prepared()
    prepare(None)
    found = _imported(reference, module_name, refuse)
    other = hidden(found, Path(directory))
    try:
        target = _target(reference, found, path)
    except ConfigurationError:
        if other and not _targets_in(found):
            raise ConfigurationError(f"{reference!r}: {other}") from None
        raise
    prepare(target)
    return target


def load_all(references: Sequence[str], refuse: Callable[[str], bool] | None = None) -> list[Target]:
    """The apps and consumers of references, each once.

    Raises:
        ConfigurationError: all that is wrong with references, as `load` has it; or an app has no consumers.
        Stopped: as `load`.
    """
    with Mistakes() as mistakes:
        found = {each: mistakes.noted(load, each, refuse) for each in references}
    with Mistakes() as mistakes:  # only now: a module may declare consumers of an app in another one
        for reference, target in found.items():
            mistakes.noted(_check_consumers, reference, target)
    return list({id(target): target for target in found.values() if target is not None}.values())


def _check_consumers(reference: str, target: Target | None) -> None:
    if isinstance(target, Leasekeeper):
        try:
            consumers_of(target)
        except ConfigurationError as error:
            raise ConfigurationError(f"{reference!r}: {error}") from None


def _target(reference: str, module: ModuleType, path: str) -> Target:
    found: Any = module
    for name in path.split("."):
        found = _attribute(reference, found, name)
    if not isinstance(found, (Leasekeeper, Consumer)):
        raise ConfigurationError(f"{reference!r} is {_named(found)}, not a Leasekeeper app or a Consumer{_hint(found)}")
    return found


def _imported(reference: str, name: str, refuse: Callable[[str], bool] | None) -> ModuleType:
    try:
        with logs.kept_enabled():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"{reference!r}: there is no module {error.name!r} in {Path.cwd()} or on the Python path"
            ) from None
        raise _failed(reference, name, error, refuse) from error
    except (ConfigurationError, Unusable) as error:
        # Our own sentence about a line of the user's: a traceback would add nothing.
        kind = Unusable if isinstance(error, Unusable) else ConfigurationError
        raise kind(*(f"{_where(error)}: {each}" for each in sentences_of(error))) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a user's module may raise anything
        raise _failed(reference, name, error, refuse) from error


def _failed(reference: str, name: str, error: BaseException, refuse: Callable[[str], bool] | None) -> Stopped:
    """Show the traceback and a sentence: all processes of a supervisor meet the same error, and it shows that once."""
    hides = hiding(error, Path.cwd())
    why = f"{type(error).__name__}: {safe_str(error)}{f'; {hides}' if hides else ''}"
    lines = traceback.format_exception(error.with_traceback(from_user_code(error.__traceback__)))
    sentence = printed(f"{reference!r} cannot be run: importing {name} failed with {why}")
    text = printable_lines("".join(lines)) + sentence
    if refuse is None or not refuse(text):
        print(text, file=sys.stderr, flush=True)
    return Stopped(Exit.USAGE)


def _where(error: BaseException) -> str:
    """File and line of the user's statement that led to the error."""
    ours = str(Path(__file__).parents[1])
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((ours, "<")) and "importlib" not in frame.filename
    ]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "your module"


def _attribute(reference: str, owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        near = _targets_in(owner) or difflib.get_close_matches(name, vars(owner), n=1)
        owner_name = getattr(owner, "__name__", repr(owner))
        hint = f"; it has {', '.join(f'{owner_name}:{known}' for known in near)}" if near else ""
        raise ConfigurationError(f"{reference!r}: {owner_name} has no {name!r}{hint}") from None


def _targets_in(owner: Any) -> list[str]:
    """The names of the apps and consumers in a module or class."""
    return [name for name, value in vars(owner).items() if isinstance(value, (Leasekeeper, Consumer))]


def _named(found: Any) -> str:
    name = getattr(found, "__name__", None)
    return f"the {type(found).__name__} {name!r}" if name else f"of type {type(found).__name__}"


def _hint(found: Any) -> str:
    if found in (Leasekeeper, Consumer):
        return ": create one and give its name"
    if inspect.isfunction(found) and not inspect.iscoroutinefunction(found) and not inspect.signature(found).parameters:
        return f": if it makes one, write `app = {found.__name__}()` in the module and give its name"
    if callable(found):
        return ": decorate it with @app.consumer('queue') and give the name of the app"
    return ""


def configure_all(targets: Sequence[Target], given: settings.RunSettings) -> None:
    """Configure several targets; all that is wrong is said at once."""
    with Mistakes() as mistakes:
        for target in targets:
            mistakes.noted(configure, target, given)


def configure(target: Target, given: settings.RunSettings) -> None:
    """Let the settings from outside the code replace those in the code, for each consumer of the target.

    Raises:
        ConfigurationError: an invalid value, or options that cannot work together.
    """
    with Mistakes() as mistakes:
        for consumer in consumers_of(target):
            layer = given.of(consumer.address.name)
            try:
                consumer.configure(settings.values(layer), settings.places(layer))
            except ConfigurationError as error:
                mistakes.add(settings.blamed(error, layer).args)


def configured(reference: str, config: Path | None, environment: Mapping[str, str]) -> tuple[Consumer, ...]:
    """The consumers of a module with the options that `leasekeeper run` would give them without flags.

    Raises:
        ConfigurationError: as `load` and `configure`.
    """
    given = settings.RunSettings.read(config, environment)
    [target] = load_all([reference])
    configure(target, given)
    return consumers_of(target)


def consumers_of(target: Target) -> tuple[Consumer, ...]:
    """The consumers of a target; raises `ConfigurationError` when an app has none."""
    return (target,) if isinstance(target, Consumer) else target.consumers
