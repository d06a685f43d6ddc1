"""Actions: what people may do to consumers through a surface, with its token.

Made for the surface's application. It promises that each action is one line in the log, with who asked for it, whether
it was done or refused; and that what is for another process of a fleet is passed on to that process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from leasekeeper.admin.access import Refused, body_of, check_permission
from leasekeeper.admin.asking import Exposed, Unreachable
from leasekeeper.errors import Closed, ConfigurationError
from leasekeeper.loggers import safe_logger
from leasekeeper.texts import bounded, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from leasekeeper.admin.settings import SurfaceSettings
    from leasekeeper.admin.watch import Watch
    from leasekeeper.consumer import Consumer

log = safe_logger("leasekeeper.admin")

PATH = "/api/actions"
ASKED_BY = "x-asked-by"
"""The header in which a surface that passes a request on says who asked for it."""


LISTED = 10
"""Names that a sentence lists at most."""


class Wish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked for.

    Attributes:
        process: the key of the process, as the state has it.
        consumer: the name of its queue; None: all consumers of the process.
        action: what to do.
        value: the number of handlers, of `concurrency`.
    """

    process: str
    consumer: str | None = None
    action: Literal["pause", "resume", "quiet", "stop", "concurrency"]
    value: int | None = None


class Asked(Protocol):
    """What is asked of one process, and can be written as JSON."""

    @property
    def process(self) -> str:
        """Its key."""
        ...


class Actions:
    """The answers to `POST /api/actions`.

    Args:
        watch: knows the consumers of this process, and those of the fleet.
        settings: has the token.
    """

    def __init__(self, watch: Watch, settings: SurfaceSettings) -> None:
        self._watch = watch
        self._settings = settings

    def routes(self) -> list[Route]:
        """The routes."""
        return [Route(PATH, self.act, methods=["POST"])]

    async def act(self, request: Request) -> Response:
        """Carry out one action; what was done is in the answer as a sentence."""
        try:
            check_permission(request, self._settings.token)
            wish: Wish = await body_of(request, Wish)
        except Refused as error:
            audit(request, f"an action was refused: {error.sentence}")
            raise
        what = f"{wish.action}{'' if wish.value is None else f'={wish.value}'} of {wish.consumer or 'all consumers'}"
        if not self._watch.is_here(wish.process):
            return await forwarded(self._watch, request, PATH, wish, what)
        consumers = self._watch.chosen(wish.consumer)
        if not consumers:
            raise not_found(self._watch, wish.process, wish.consumer)
        said = [f"{each.address.name}: {await _carried_out(each, wish)}" for each in consumers]
        audit(request, f"{what} in {wish.process}: {'; '.join(said)}")
        return answered({"done": True, "said": "; ".join(said)})


async def forwarded(watch: Watch, request: Request, path: str, wish: Asked, what: str) -> Response:
    """Let the process itself do it: it checks the token again, and writes a line in its own log.

    Raises:
        Refused: 404 for a process that is not known, 502 for one that does not answer, 403 for one to which the token
            would go over plain http.
    """
    headers = {
        "Authorization": request.headers["authorization"],
        "Content-Type": "application/json",
        ASKED_BY: _asker(request),
    }
    try:
        answer = await watch.forward(wish.process, path, msgspec.json.encode(wish), headers)
    except Unreachable as error:
        raise Refused(502, f"{wish.process!r} does not answer: {error}") from error
    except Exposed as error:
        raise Refused(403, str(error)) from error
    if answer is None:
        raise not_found(watch, wish.process, None)
    audit(request, f"{what} was passed on to {wish.process}, which answered {answer.status}")
    return Response(answer.body, answer.status, {"cache-control": "no-store"}, "application/json")


def not_found(watch: Watch, process: str, consumer: str | None) -> Refused:
    """What to say when there is no such process, or no such consumer in it: it names those that there are."""
    processes = watch.state()["processes"]
    of = f" of {consumer!r}" if consumer is not None else ""
    if watch.is_here(process):
        if own := watch.queues():
            return Refused(404, f"there is no consumer{of} in {process!r}: it consumes {_listed(own)}")
        what = f"there is no consumer{of} in {process!r}: the process that answers here has none"
    else:
        what = f"there is no process {process!r} here"
    keys = [key for key, each in processes.items() if consumer is None or consumer in each["consumers"]]
    if found := keys or list(processes):
        what += f"; give one of {_listed(found)} as the process"
    return Refused(404, f"{what}; /api/state has the keys of all processes and their consumers")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(repr, names[:LISTED])) + more


async def _carried_out(consumer: Consumer, wish: Wish) -> str:
    """Do it; what was done, in words."""
    if wish.action == "concurrency":
        if wish.value is None:
            raise Refused(400, "concurrency needs a value: the number of handlers")
        try:
            return await consumer.set_concurrency(wish.value)
        except (ConfigurationError, Closed) as error:
            raise Refused(409, str(error)) from error
    if wish.action == "stop":
        consumer.request_stop()
        return "it stops: running handlers finish, and what has not started is given back"
    if wish.action == "pause":
        consumer.pause()
        return "it receives nothing more until it is resumed; what is here runs"
    if wish.action == "quiet":
        consumer.quiet()
        return "it receives nothing more, and cannot be resumed; what is here runs"
    consumer.resume()
    return "it receives again"


def audit(request: Request, what: str) -> None:
    """One line in the log about what somebody asked for."""
    log.info("admin: %s (asked by %s)", printable(what), _asker(request))


def _asker(request: Request) -> str:
    """Who asks: an address, with the page that it has open; or what another surface says that has passed it on."""
    if ASKED_BY in request.headers:
        return bounded(request.headers[ASKED_BY], 200) + ", through another surface"
    client = request.client.host if request.client is not None else "a Unix socket"
    origin = request.headers.get("origin")
    return f"{client}, a page of {bounded(origin, 200)}" if origin else client


async def refused(_: Request, error: Exception) -> Response:
    """The answer to a request that is refused."""
    assert isinstance(error, Refused)
    return answered({"done": False, "said": error.sentence}, error.status, error.headers)


def answered(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer as JSON."""
    headers = {"cache-control": "no-store", **(headers or {})}
    return Response(msgspec.json.encode(content) + b"\n", status, headers, "application/json")
