"""A fleet: the states of several processes as one, asked from their admin surfaces once a second.

Owned by a surface, used on the loop that serves it. Each surface is asked for itself and its members, never for its
peers, so processes that name each other ask in no circle. It promises bounded time, whatever a peer does, and to show
a process that does not answer as UNREACHABLE, with the reason and since when.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from leasekeeper.admin.asking import Exposed, Place, Unreachable, ask
from leasekeeper.admin.silent import unknown, unreachable
from leasekeeper.admin.skew import move_times
from leasekeeper.errors import ConfigurationError
from leasekeeper.texts import bounded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leasekeeper.admin.asking import Answer
    from leasekeeper.admin.settings import Members
    from leasekeeper.admin.state import Process

EVERY = 1.0
"""Seconds between two questions to one surface."""
RESOLVE = 10.0
"""Seconds between two look-ups of a name."""
WANTED = 5.0
"""Seconds for which a detail is asked for after it was looked at."""
MOST = 200
"""Surfaces that are asked at most."""
DNS = "dns:"
NOT_YET = "it was not asked yet"
STRANGER = "what answers there is no admin surface of Leasekeeper"


class Fleet:
    """The processes of other surfaces.

    Args:
        peers: other surfaces: URLs, `unix:/path`, or `dns:NAME:PORT` for all addresses that a name has.
        members: the processes that are a part of this surface, as the children of a supervisor are. They are also
            given to those that ask for no peers.
        deep: whether surfaces are asked for their own peers too: for readers that no surface asks.
        over_http: whether requests with a token go to other machines over plain http too.

    Raises:
        ConfigurationError: an address cannot be read.
    """

    def __init__(
        self,
        peers: Sequence[str] = (),
        members: Members | None = None,
        *,
        deep: bool = False,
        over_http: bool = False,
    ) -> None:
        for each in peers:
            _checked(each)
        self._given = list(dict.fromkeys(peers))
        self._members = members
        self._deep = deep
        self._over_http = over_http
        self._resolved: dict[str, list[str]] = {}
        self._sources: dict[str, _Source] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Ask from now on; called on the serving loop."""
        names = [each for each in self._given if each.startswith(DNS)]
        self._tasks = {asyncio.ensure_future(self._resolve(name)) for name in names}
        self.look()

    def close(self) -> None:
        """Ask no more."""
        for task in (*self._tasks, *(source.task for source in self._sources.values())):
            task.cancel()

    def look(self) -> None:
        """Begin to ask surfaces that are new, and ask those no more that have gone."""
        members = self._numbers()
        peers = [url for each in self._given for url in self._resolved.get(each, [each])]
        wanted = dict.fromkeys([*members, *peers][:MOST])
        for text in wanted:
            if text not in self._sources:
                place = Place(text, host=text) if text.startswith(DNS) else Place.parse(text)
                self._sources[text] = _Source(place, member=text in members, deep=self._deep)
        for text in [text for text in self._sources if text not in wanted]:
            self._sources.pop(text).task.cancel()

    async def _resolve(self, text: str) -> None:
        """Keep the addresses that a name has now."""
        name, _, port = text.removeprefix(DNS).rpartition(":")
        loop = asyncio.get_running_loop()
        while True:
            try:
                found = await loop.getaddrinfo(name, int(port), type=1)
            except OSError:
                found = []  # those that were found before are kept: whether they answer shows whether they are there
            if found:
                hosts = sorted({str(address[4][0]) for address in found})
                self._resolved[text] = [f"http://[{h}]:{port}" if ":" in h else f"http://{h}:{port}" for h in hosts]
            await asyncio.sleep(RESOLVE)

    def processes(self, *, peers: bool, process: str | None = None, consumer: str | None = None) -> dict[str, Process]:
        """The processes by their keys, with the detail of one consumer; without `peers` only those of members."""
        found: dict[str, Process] = {}
        numbers = self._numbers()
        for text, source in self._sources.items():
            if source.member or peers:
                shown = self._shown(source, numbers.get(text), process, consumer)
                for name, each in shown.items():
                    if name not in found or found[name]["state"] == "UNREACHABLE":
                        found[name] = each
        return found

    def _numbers(self) -> Mapping[str, int]:
        return {} if self._members is None else self._members.places()

    def _shown(
        self, source: _Source, number: int | None, process: str | None, consumer: str | None
    ) -> dict[str, Process]:
        """The processes; those that are a part of this surface with their number, and what there is to say of them."""
        members = self._members
        if members is None or number is None:
            return source.processes(process, consumer)
        found = members.stand_in(number, source.last(process, consumer), silent=source.silent)
        if found is None:
            found = source.processes(process, consumer)
        noted: dict[str, Process] = {}
        for name, each in found.items():
            reason, since = each["reason"], each["since"]
            if not reason and (said := members.note(each["pid"]))[0]:
                reason, since = said
            noted[name] = {**each, "number": number, "reason": reason, "since": since}
        return noted

    async def prepare(self, process: str | None, consumer: str | None) -> None:
        """Get the detail that is about to be shown, if its surface answers."""
        source = self._source_of(process)
        # Only for a consumer that is there: each that is wanted is asked for once a second.
        if source is not None and process and consumer in source.known[process]["consumers"]:
            await source.want(process, consumer)

    async def forward(self, process: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer | None:
        """Pass a request on to the surface of that process; None: it is not of this fleet.

        Raises:
            Unreachable: there was no answer in time.
            Exposed: the token would go to another machine over plain http, which was not allowed.
        """
        source = self._source_of(process)
        if source is None:
            return None
        if not (self._over_http or source.place.private):
            raise Exposed(
                f"the token would go to {source.place.text} over plain http, where others may read it: give the peer's "
                "https address, ask its own page, or allow this with --actions-over-http"
            )
        return await ask(source.place, path, method="POST", body=body, headers=headers, within=60.0)

    def _source_of(self, process: str | None) -> _Source | None:
        return next((each for each in self._sources.values() if process in each.known), None)

    def __repr__(self) -> str:
        return f"<Fleet {len(self._sources)} surfaces>"


class _Source:
    """One surface, asked once a second by a task of its own."""

    def __init__(self, place: Place, *, member: bool, deep: bool) -> None:
        self._asked = {} if deep else {"peers": "0"}
        self.place = place
        self.member = member
        self.known: dict[str, Process] = {}
        self._details: dict[tuple[str, str], Any] = {}
        self._wanted: dict[tuple[str, str], float] = {}
        self._reason, self._since = NOT_YET, time.time()
        self.task = asyncio.ensure_future(self._ask_on())

    async def _ask_on(self) -> None:
        while True:
            await self._ask_all()
            await asyncio.sleep(EVERY)

    async def _ask_all(self) -> None:
        now = time.monotonic()
        for key in [key for key, at in self._wanted.items() if now - at > WANTED]:
            del self._wanted[key]
            self._details.pop(key, None)
        if self.place.text.startswith(DNS):
            self._failed("the name has no address, or its server does not answer")
            return
        try:
            wanted = list(self._wanted)
            if not wanted:
                await self._ask(None)
            for key in wanted:
                await self._ask(key)
        except Unreachable as error:
            self._failed(str(error))
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            self._failed(STRANGER)

    async def _ask(self, key: tuple[str, str] | None) -> None:
        query = self._asked | ({"process": key[0], "consumer": key[1]} if key else {})
        answer = await ask(self.place, f"/api/state?{urlencode(query)}")
        if answer.status != 200:
            if answer.body.lstrip().startswith(b"<"):  # the page of another program
                raise Unreachable(f"it answers {answer.status}: {STRANGER}")
            text = bounded(answer.body.decode(errors="replace").strip(), 200)
            raise Unreachable(f"it answers {answer.status} instead of its state" + (f": {text}" if text else ""))
        state = msgspec.json.decode(answer.body)
        for each in state["processes"].values():
            move_times(each, time.time() - state["now"])
        self.known = dict(state["processes"].items())
        self._reason = ""
        if key:
            process: Any = self.known.get(key[0], {"consumers": {}})
            self._details[key] = process["consumers"].get(key[1], {}).pop("detail", None)

    def _failed(self, reason: str) -> None:
        if not self._reason or reason != self._reason:
            self._since = time.time() if not self._reason else self._since
            self._reason = reason

    async def want(self, process: str, consumer: str) -> None:
        """Ask for this detail from now on, and wait for it the first time."""
        key = (process, consumer)
        new = key not in self._wanted
        self._wanted[key] = time.monotonic()
        if new:
            await self._ask_all()

    def processes(self, process: str | None, consumer: str | None) -> dict[str, Process]:
        """What it said last, or that it does not answer."""
        if self._reason:
            known = self.last(process, consumer) or {self.place.text: self._unknown()}
            why = f"{self.place.text}: {self._reason}"
            return {name: unreachable(each, why, self._since) for name, each in known.items()}
        return self.last(process, consumer)

    @property
    def silent(self) -> bool:
        """Whether it does not answer, or was not asked yet."""
        return bool(self._reason)

    def last(self, process: str | None, consumer: str | None) -> dict[str, Process]:
        """What it said last, with the detail of that consumer."""
        key = (process or "", consumer or "")
        of_one: Any = self.known.get(key[0], {"consumers": {}})
        if key[1] not in of_one["consumers"]:
            return self.known
        self._wanted[key] = time.monotonic()  # also while it does not answer: a stream gets the detail again
        detail = self._details.get(key)
        if detail is None:
            return self.known
        detailed = {**of_one["consumers"][key[1]], "detail": detail}
        of_one = {**of_one, "consumers": {**of_one["consumers"], key[1]: detailed}}
        return {**self.known, key[0]: of_one}

    def _unknown(self) -> Process:
        return unknown(self.place.text, self.place.path or self.place.host)


def _checked(peer: str) -> None:
    """Refuse what cannot be read, before anything is asked."""
    if not peer.startswith(DNS):
        Place.parse(peer)
        return
    name, _, port = peer.removeprefix(DNS).rpartition(":")
    if not name or not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise ConfigurationError(f"{peer!r}: give dns:NAME:PORT, e.g. dns:consumers.svc:9900")
