"""A world with a model of S3 beside SQS, for tests in virtual time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from leasekeeper.local.objects import Objects
from leasekeeper.payloads import S3Payloads
from leasekeeper.payloads.pointers import MARKERS, PointerName, write_pointer

if TYPE_CHECKING:
    from leasekeeper.testing.world import World

BUCKET = "payloads"


class Scene:
    """Puts payloads into the model, and messages that point to them into the queue of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.objects = Objects()

    def payloads(self, **options: Any) -> S3Payloads:
        """The option."""
        return S3Payloads(BUCKET, client=self.objects, **options)

    async def send(
        self,
        payload: str,
        key: str,
        *,
        pointer: PointerName = "extended",
        stored: bool = True,
        bucket: str = BUCKET,
        size: int | None = None,
        **request: Any,
    ) -> str:
        """Send a message with that payload under that key; its id."""
        data = payload.encode()
        if stored:
            self.objects.add(bucket, key, data)
        marker = {"DataType": "Number", "StringValue": str(len(data) if size is None else size)}
        attributes = {MARKERS[pointer]: marker, **request.pop("MessageAttributes", {})}
        body = write_pointer(pointer, bucket, key)
        [found] = await self.world.send(body, MessageAttributes=attributes, **request)
        return found

    @property
    def keys(self) -> list[str]:
        """The keys of all objects."""
        return sorted(key for _, key in self.objects.stored)

    def pointed_to(self, queue: str | None = None) -> list[str]:
        """The keys that the messages of a queue point to."""
        return sorted(json.loads(body)[1]["s3Key"] for body in self.world.bodies(queue))
