"""What a desk does through a surface: looking at dead letters, one body at a time, moving them back, and the doctor.

Made for the surface's application, with the desk of the command line. It promises that a body leaves the process only
for a person with the token who asks for that one message, and that each look is one line in the log.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.routing import Route

from leasekeeper.admin.access import Refused, body_of, check_permission
from leasekeeper.admin.actions import answered, audit, forwarded, not_found
from leasekeeper.errors import LeasekeeperError
from leasekeeper.texts import safe_str

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from leasekeeper.admin.desk import Desk
    from leasekeeper.admin.settings import SurfaceSettings
    from leasekeeper.admin.watch import Watch
    from leasekeeper.consumer import Consumer

PEEK, REDRIVE, DOCTOR = "/api/dead-letters/peek", "/api/dead-letters/redrive", "/api/doctor"
MOST = 10
"""Messages that one look shows; their bodies are kept until the next look."""


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked about one consumer.

    Attributes:
        process: the key of the process.
        consumer: the name of the queue.
        count: how many to look at.
        id: the message of the last look whose body is wanted.
    """

    process: str
    consumer: str
    count: int = MOST
    id: str | None = None


class DeskRoutes:
    """The answers to `POST /api/dead-letters/...` and `POST /api/doctor`.

    Args:
        watch: knows the consumers.
        settings: has the token.
        desk: does the work; None: it cannot be done here.
    """

    def __init__(self, watch: Watch, settings: SurfaceSettings, desk: Desk | None) -> None:
        self._watch = watch
        self._settings = settings
        self._desk = desk
        self._bodies: dict[tuple[str, str], str] = {}
        """Bodies of the last look, by queue and message id."""

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route(PEEK, self.peek, methods=["POST"]),
            Route(REDRIVE, self.redrive, methods=["POST"]),
            Route(DOCTOR, self.examine, methods=["POST"]),
        ]

    async def peek(self, request: Request) -> Response:
        """The next dead letters, without bodies; or the body of one of the last look."""
        asked, consumer = await self._asked(request)
        if consumer is None:
            return await forwarded(self._watch, request, PEEK, asked, "a look at dead letters")
        if asked.id is not None:
            body = self._bodies.get((asked.consumer, asked.id))
            if body is None:
                raise Refused(404, f"message {asked.id} is not of the last look: look again")
            audit(request, f"the body of message {asked.id} of {asked.consumer} was shown")
            return answered({"done": True, "body": body})
        letters, said = await self._tried(self._the_desk.peek(consumer, max(1, min(asked.count, MOST))))
        self._bodies = {(asked.consumer, letter.id): letter.body for letter in letters}
        audit(request, f"a look at the dead letters of {asked.consumer}: {said}")
        shown = [{name: getattr(each, name) for name in ("id", "sent", "receives", "cause")} for each in letters]
        return answered({"done": True, "said": said, "messages": shown})

    async def redrive(self, request: Request) -> Response:
        """Move all dead letters back."""
        asked, consumer = await self._asked(request)
        if consumer is None:
            return await forwarded(self._watch, request, REDRIVE, asked, "a redrive")
        said = await self._tried(self._the_desk.redrive(consumer))
        audit(request, f"a redrive of the dead letters of {asked.consumer}: {said}")
        return answered({"done": True, "said": said})

    async def examine(self, request: Request) -> Response:
        """What the doctor finds: it reads, and tries permissions with receipts that do not exist."""
        asked, consumer = await self._asked(request)
        if consumer is None:
            return await forwarded(self._watch, request, DOCTOR, asked, "an examination")
        found = await self._tried(self._the_desk.examine(consumer))
        counts = Counter(each.level for each in found)
        said = f"{counts['fail']} to fix, {counts['warn']} to consider, {counts['ok']} ok"
        audit(request, f"queue {asked.consumer} was examined: {said}")
        return answered({"done": True, "said": said, "findings": found})

    async def _asked(self, request: Request) -> tuple[Question, Consumer | None]:
        """What is asked, and the consumer; None: that of another process."""
        try:
            check_permission(request, self._settings.token)
            asked: Question = await body_of(request, Question)
        except Refused as error:
            audit(request, f"a question about {request.url.path.rpartition('/')[2]} was refused: {error.sentence}")
            raise
        if not self._watch.is_here(asked.process):
            return asked, None
        consumers = self._watch.chosen(asked.consumer)
        if not consumers:
            raise not_found(self._watch, asked.process, asked.consumer)
        return asked, consumers[0]

    @property
    def _the_desk(self) -> Desk:
        if self._desk is None:
            raise Refused(501, "this is done under `leasekeeper run`, or by `leasekeeper peek` and `doctor`")
        return self._desk

    @staticmethod
    async def _tried(work: Any) -> Any:
        try:
            return await work
        except LeasekeeperError as error:
            raise Refused(409, safe_str(error)) from error
