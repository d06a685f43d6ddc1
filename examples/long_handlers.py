"""Handlers of minutes on Amazon ECS: a task is spared from scale-in and deployments while it has one.

leasekeeper run long_handlers:app     # with a queue "films"; outside ECS it warns, and works without protection
leasekeeper manifest ecs long_handlers:app --handler-seconds 300     # task definition, service and scaling
"""

import asyncio

import msgspec

from leasekeeper import Leasekeeper

# At a stop, films that take longer than 100 s more are given back.
app = Leasekeeper(ecs_protection=True, drain_timeout=100, visibility_timeout=30)


class Film(msgspec.Struct):
    title: str
    seconds: float


@app.consumer("films", concurrency=2)
async def render(film: Film) -> None:
    """However long it takes, up to twelve hours: the lease is extended meanwhile."""
    await asyncio.sleep(film.seconds)
    print(f"rendered {film.title}", flush=True)
