"""Handlers of minutes on Amazon ECS: a task is spared from scale-in and deployments while it has one.

Outside of ECS it warns, and works without protection.

cd examples
leasekeeper local --queue films &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
leasekeeper run long_handlers:app &
leasekeeper send films '{"title": "Nosferatu", "seconds": 94}'
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
