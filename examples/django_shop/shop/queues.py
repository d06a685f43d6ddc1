"""Consumers with the database: `python manage.py leasekeeper`."""

from django.db import connection

from leasekeeper import Leasekeeper

app = Leasekeeper()


def note(text: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS note (text varchar(100))")
        cursor.execute("INSERT INTO note VALUES (%s)", [text])


@app.consumer("orders")
def store(body: str) -> None:
    note(body)
    print(f"stored {body}", flush=True)
