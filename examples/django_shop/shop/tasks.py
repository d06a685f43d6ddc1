"""Tasks that run over SQS: `add.enqueue(1, 2)`."""

from typing import Any

from django_tasks import task

from leasekeeper import Reject

done: list[Any] = []


@task()
def add(one: int, other: int, *, note: str = "") -> None:
    done.append((one + other, note))
    print(f"added {one + other} {note}", flush=True)


@task(queue_name="urgent", takes_context=True)
async def tell(context: Any, name: str) -> None:
    done.append((name, context.attempt, context.task_result.id))


@task()
def refuse(reason: str) -> None:
    raise Reject(reason)


def no_task() -> None:
    raise AssertionError
