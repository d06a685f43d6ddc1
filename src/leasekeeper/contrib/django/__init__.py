"""Django: `manage.py leasekeeper`, connections that are looked after, and a backend for Django's `TASKS`.

Put `leasekeeper.contrib.django` into `INSTALLED_APPS` for the command. Nothing of it is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leasekeeper.contrib.django.backend import SqsBackend
    from leasekeeper.contrib.django.connections import DjangoConnections, prepare

__all__ = ["DjangoConnections", "SqsBackend", "prepare"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(name)
    if name == "SqsBackend":
        from leasekeeper.contrib.django import backend as module
    else:
        from leasekeeper.contrib.django import connections as module  # type: ignore[no-redef]
    return getattr(module, name)
