"""Consumers inside of a FastAPI app: they start with it, run on its event loop, and drain when it stops.

uvicorn fastapi_shop:web        # in this folder; needs `pip install fastapi uvicorn`
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
