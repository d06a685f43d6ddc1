"""The answers of the admin surface, as a Starlette application.

Made by `admin_app`. The answers here read statistics and ask the engine for a sign of life: they change nothing, wait
for no handler, and show no body. What changes or shows more needs the token: `actions.py` and `letters.py`.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from leasekeeper.admin.access import HostCheck, Refused
from leasekeeper.admin.actions import Actions, refused
from leasekeeper.admin.browser import page_routes
from leasekeeper.admin.fleet import Fleet
from leasekeeper.admin.letters import DeskRoutes
from leasekeeper.admin.process import why_unhealthy
from leasekeeper.admin.scaling import ScaledStatistics
from leasekeeper.admin.streaming import stream
from leasekeeper.admin.watch import Watch
from leasekeeper.consumer import Consumer
from leasekeeper.core.phases import Phase
from leasekeeper.core.scaling import LATENCY
from leasekeeper.errors import ConfigurationError
from leasekeeper.extras import needs
from leasekeeper.texts import safe_str

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.requests import Request

    from leasekeeper.admin.settings import Members, SurfaceSettings
    from leasekeeper.app import Leasekeeper

    Targets = Sequence[Leasekeeper | Consumer]

STREAMS = 32
"""Streams at once."""
FREE = ("/livez", "/readyz", "/healthz", "/metrics")
"""Paths of probes and scrapers, which may use any name for this machine."""
TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
"""The type of metrics in the text format of Prometheus."""
OURS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
"""Headers of answers that change each second, and that no page of another origin may embed."""
LIVE_WITHIN = 5.0
"""Seconds in which the engine has to show a sign of life: busy threads may keep it from the GIL for a second or two."""


def surface_of(targets: Targets, settings: SurfaceSettings) -> Starlette:
    """The application for these targets."""
    surface = _Surface(targets, settings)
    answers = {
        "/livez": surface.live,
        "/healthz": surface.live,
        "/readyz": surface.ready,
        "/statusz": surface.status,
        "/metrics": surface.metrics,
        "/api/state": surface.state,
        "/api/stream": surface.stream,
    }
    if settings.members is not None:
        answers |= answers_for(settings.members)
    actions = Actions(surface.watch, settings)
    desk = DeskRoutes(surface.watch, settings, settings.desk)
    routes = [*page_routes(), *(Route(path, answer) for path, answer in answers.items())]
    app = Starlette(
        routes=[*routes, *actions.routes(), *desk.routes()],
        middleware=[Middleware(HostCheck, settings=settings, free=FREE)],
        exception_handlers={Refused: refused},
    )
    app.state.watch = surface.watch
    return app


class _Surface:
    def __init__(self, targets: Targets, settings: SurfaceSettings) -> None:
        self._targets = targets
        self._settings = settings
        self._registry: Any = None
        self._streams = 0
        fleet = None
        if settings.peers or settings.members:
            fleet = Fleet(settings.peers, settings.members, over_http=settings.actions_over_http)
        self.watch = Watch(
            self._consumers,
            ask_every=settings.queue_interval,
            fleet=fleet,
            read_only=settings.token is None,
            name=settings.name,
        )
        self._scaled = ScaledStatistics(self._consumers, self.watch, settings.processes)

    def _consumers(self) -> list[Consumer]:
        """Asked at each request: an app may declare consumers later."""
        found: list[Consumer] = []
        for target in self._targets:
            with suppress(ConfigurationError):  # an app that has no consumers yet
                found += [target] if isinstance(target, Consumer) else target.consumers
        return found

    async def live(self, _: Request) -> Response:
        """Whether every engine's loop turns. What handlers, their loop or SQS do plays no part."""
        if not (consumers := self._consumers()):
            return _json({"live": True, "reasons": []}, ok=True)
        turns = {asyncio.wrap_future(each.engine_turn()): each for each in consumers}
        _done, late = await asyncio.wait(turns, timeout=LIVE_WITHIN)
        reasons = [f"{turns[turn].address.name}: its engine has not answered for {LIVE_WITHIN:g} s" for turn in late]
        return _json({"live": not reasons, "reasons": sorted(reasons)}, ok=not reasons)

    async def ready(self, _: Request) -> Response:
        """Whether every consumer receives messages now; false from the moment that a stop is asked for."""
        reasons = [f"{each.address.name}: {_why(each)}" for each in self._consumers() if not each.ready]
        return _json({"ready": not reasons, "reasons": reasons}, ok=not reasons)

    async def status(self, request: Request) -> Response:
        """All statistics; `?latency=SECONDS` says in what time the wanted replicas should work off a backlog."""
        self.watch.begin()
        consumers, latency = self._consumers(), _latency(request.query_params.get("latency"))
        found = {
            "version": version("leasekeeper"),
            "process": os.getpid(),
            "healthy": all(each.healthy for each in consumers),
            "ready": all(each.ready for each in consumers),
            "consumers": [
                {
                    **_status(each),
                    "backlog_age": self.watch.recorder(each).backlog.age(time.time()),
                    "statistics": self._scaled.of(each, latency),
                }
                for each in consumers
            ],
        }
        return _json(found, ok=True)

    async def metrics(self, request: Request) -> Response:
        """The metrics for Prometheus, in the form that the scraper asks for."""
        try:
            from prometheus_client.exposition import choose_encoder

            from leasekeeper.observe.prometheus import registry_of
        except ModuleNotFoundError:
            return PlainTextResponse(needs("/metrics", "prometheus-client", "metrics") + "\n", 501)
        self.watch.begin()
        if self._registry is None:
            self._registry = registry_of(self._scaled)
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._registry), headers={"content-type": content_type, "cache-control": "no-store"})

    async def state(self, request: Request) -> Response:
        """The state of `leasekeeper.admin.state`, now; `?process=KEY&consumer=QUEUE` adds the detail of a consumer."""
        self.watch.begin()
        asked = _asked(request)
        await self.watch.prepare(*asked)
        return _json(self.watch.state(*asked, peers=request.query_params.get("peers") != "0"), ok=True)

    async def stream(self, request: Request) -> Response:
        """The same as server-sent events: whole, then what changed each second."""
        self.watch.begin()
        asked = _asked(request)
        await self.watch.prepare(*asked)
        if self._streams >= STREAMS:
            return _json({"reasons": [f"{STREAMS} streams are open: close some"]}, ok=False)
        return StreamingResponse(self._events(asked), media_type="text/event-stream", headers=OURS)

    async def _events(self, asked: tuple[str | None, str | None]) -> AsyncIterator[bytes]:
        self._streams += 1
        try:
            async for event in stream(self.watch, partial(self.watch.latest, *asked), lasts=self._settings.lasts):
                yield event
        finally:
            self._streams -= 1


def answers_for(members: Members) -> dict[str, Any]:
    """The answers of a surface that speaks for the processes that are a part of it."""

    async def live(_: Request) -> Response:
        reasons = await members.live()
        return _json({"live": not reasons, "reasons": reasons}, ok=not reasons)

    async def ready(_: Request) -> Response:
        reasons = await members.ready()
        return _json({"ready": not reasons, "reasons": reasons}, ok=not reasons)

    async def status(request: Request) -> Response:
        return _json(await members.status(str(request.query_params)), ok=True)

    async def metrics(_: Request) -> Response:
        headers = {"content-type": TEXT_FORMAT, "cache-control": "no-store"}
        return Response(await members.metrics(), headers=headers)

    return {"/livez": live, "/healthz": live, "/readyz": ready, "/statusz": status, "/metrics": metrics}


def _asked(request: Request) -> tuple[str | None, str | None]:
    """Which consumer of which process is looked at."""
    return request.query_params.get("process"), request.query_params.get("consumer")


def _latency(text: str | None) -> float:
    """Seconds from a request; the default where that is no number above 0."""
    try:
        seconds = float(text or LATENCY)
    except ValueError:
        return LATENCY
    return seconds if 0 < seconds < math.inf else LATENCY


def _status(consumer: Consumer) -> dict[str, Any]:
    return {
        "queue": consumer.address.name,
        "handler": consumer.handler.name,
        "phase": consumer.phase.value,
        "drain_timeout": consumer.options.drain_timeout,
        "healthy": consumer.healthy,
        "ready": consumer.ready,
        "problem": _problem(consumer) or None,
    }


def _why(consumer: Consumer) -> str:
    """Why a consumer is not ready, in words."""
    if problem := _problem(consumer):
        return problem
    return "a stop was asked for" if consumer.phase is Phase.RUNNING else str(consumer.phase.value)


def _problem(consumer: Consumer) -> str:
    """What keeps a consumer from its work, or ended it, as a sentence; empty when nothing does."""
    unhealthy, problem = why_unhealthy(consumer), consumer.problem
    return unhealthy or ("" if problem is None else safe_str(problem))


def _json(content: Any, *, ok: bool) -> Response:
    return Response(
        msgspec.json.encode(content) + b"\n",
        status_code=200 if ok else 503,
        headers={"content-type": "application/json", **OURS},
    )
