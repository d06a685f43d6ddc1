"""The settings. On Django 6 `django_tasks` is not needed: it has `TASKS` itself."""

import os

SECRET_KEY = "test"
USE_TZ = True
INSTALLED_APPS = ["leasekeeper.contrib.django", "django_tasks", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("SHOP_DB", ":memory:")}}
LEASEKEEPER_TARGETS = ["shop.queues:app", "leasekeeper.contrib.django.tasks:app"]
TASKS = {
    "default": {
        "BACKEND": "leasekeeper.contrib.django.SqsBackend",
        "QUEUES": ["urgent", "default"],
        "OPTIONS": {"queues": {"default": "shop-default", "urgent": "shop-urgent"}, "share": 4, "region": "eu-west-1"},
    }
}
