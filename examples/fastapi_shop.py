"""Consumers inside of a FastAPI app: they start with it, run on its event loop, and drain when it stops.

cd examples
leasekeeper local --queue orders &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
pip install fastapi uvicorn
uvicorn fastapi_shop:web &
leasekeeper send orders '{"item": "tea"}'
curl http://127.0.0.1:8000/stock/tea
"""

from fastapi import FastAPI
from pydantic import BaseModel

from leasekeeper import Leasekeeper
from leasekeeper.contrib.asgi import consuming

app = Leasekeeper()
stock = {"tea": 10}


class Order(BaseModel):
    item: str
    count: int = 1


@app.consumer("orders")
async def take(order: Order) -> None:
    stock[order.item] -= order.count


web = FastAPI(lifespan=consuming(app))


@web.get("/stock/{item}")
async def left(item: str) -> int:
    return stock[item]
