"""Consumers with the context of a Flask app: `current_app`, `g` and extensions work in handlers.

cd examples
leasekeeper local --queue orders &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
pip install flask
leasekeeper run flask_shop:app &
leasekeeper send orders '{"total": 5}'
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
