"""Consumers with the context of a Flask app: `current_app`, `g` and extensions work in handlers.

leasekeeper run flask_shop:app        # in this folder; needs `pip install flask`
"""

from flask import Flask, current_app

from leasekeeper import Leasekeeper
from leasekeeper.contrib.flask import FlaskContext

web = Flask("shop")
web.config["CURRENCY"] = "EUR"
app = Leasekeeper(middleware=[FlaskContext(web)])


@app.consumer("orders")
def bill(order: dict[str, int]) -> None:
    print(f"billed {order['total']} {current_app.config['CURRENCY']}", flush=True)
