"""Dependencies from a container: a session for each message, committed before the message is deleted.

cd examples
leasekeeper local --queue orders &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
pip install dishka
leasekeeper run injection:app &
leasekeeper send orders '{"id": 1}'
"""

from collections.abc import AsyncGenerator

from dishka import FromDishka, Provider, Scope, make_async_container, provide

from leasekeeper import Leasekeeper
from leasekeeper.contrib.dishka import DishkaInjector


class Pool:
    """What all handlers share; a real one has connections."""


class Session:
    """What one handler has alone."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.orders: list[int] = []

    def add(self, order: int) -> None:
        self.orders.append(order)


class Database(Provider):
    @provide(scope=Scope.APP)
    def pool(self) -> Pool:
        return Pool()

    @provide(scope=Scope.REQUEST)
    async def session(self, pool: Pool) -> AsyncGenerator[Session, Exception | None]:
        session = Session(pool)
        error = yield session  # dishka sends what the handler raised
        print(f"rolled back {session.orders}" if error else f"committed {session.orders}", flush=True)


app = Leasekeeper()
app.inject(DishkaInjector(make_async_container(Database())))


@app.consumer("orders")
async def store(order: dict[str, int], session: FromDishka[Session]) -> None:
    session.add(order["id"])
