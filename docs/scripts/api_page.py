"""Write docs/reference/api.md from the docstrings of every public name: `python docs/scripts/api_page.py`.

It reads the source, not the objects, so every version of Python writes the same page. A test keeps it up to date.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import leasekeeper

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PAGE = Path(__file__).parents[1] / "reference" / "api.md"
HEAD = """# API

Every public name, with its docstring. The [options](options.md) have another page; the [glossary](glossary.md) explains
the terms. `docs/scripts/api_page.py` writes this page from the source.
"""
GROUPS = {
    "Consumers": ("leasekeeper.consumer", "leasekeeper.app", "leasekeeper.running", "leasekeeper.options"),
    "Messages": ("leasekeeper.message", "leasekeeper.batch"),
    "Outcomes": ("leasekeeper.outcomes",),
    "Logs": ("leasekeeper.message_context",),
    "Statistics": ("leasekeeper.observe.statistics",),
    "Errors": ("leasekeeper.errors",),
}
"""Headings, and the modules with the names below them; other modules follow under their own name."""
PARTS = {
    "leasekeeper.observe.counts": ("WorkStatistics", "ReceiveStatistics", "AckStatistics", "HeartbeatStatistics"),
    "leasekeeper.core.delivery": ("LedgerStatistics",),
    "leasekeeper.core.gate": ("GateStatistics",),
    "leasekeeper.lanes.api": ("LaneStatistics",),
    "leasekeeper.lanes.routed": ("RouteStatistics",),
    "leasekeeper.core.throttle_policy": ("ThrottlerStatistics",),
    "leasekeeper.core.scaling": ("LoadStatistics", "ScalingStatistics"),
    "leasekeeper.engine.stopping": ("StopStatistics",),
    "leasekeeper.engine.batcher": ("BatcherStatistics",),
}
"""The parts of `ConsumerStatistics`, which users read but do not import."""
MORE = {
    "leasekeeper.routing": "which messages a handler takes",
    "leasekeeper.events": "what you may subscribe to",
    "leasekeeper.api": "what you may replace",
    "leasekeeper.envelopes": "what other services put around a payload",
    "leasekeeper.sending.settings": "what a sender says of itself",
    "leasekeeper.sending.schedules": "messages that are sent later",
    "leasekeeper.outbox.outbox": "messages in your transaction",
    "leasekeeper.outbox.relay": "what sends them",
    "leasekeeper.outbox.statistics": "what an outbox and its relay look like",
    "leasekeeper.step_functions": "tasks of state machines",
    "leasekeeper.admin": "health, statistics and metrics over HTTP",
    "leasekeeper.observe.prometheus": "metrics for Prometheus",
    "leasekeeper.observe.emf": "metrics for CloudWatch",
    "leasekeeper.injection": "what gives parameters to handlers",
    "leasekeeper.contrib.dishka": "injection by dishka",
    "leasekeeper.contrib.svcs": "injection by svcs",
    "leasekeeper.contrib.fast_depends": "injection by FastDepends",
    "leasekeeper.observe.tracing": "traces for OpenTelemetry",
    "leasekeeper.observe.otel_metrics": "metrics for OpenTelemetry",
    "leasekeeper.contrib.lambda_": "the same handlers in AWS Lambda",
    "leasekeeper.contrib.asgi": "consumers inside of a web app",
    "leasekeeper.contrib.flask": "handlers with the context of a Flask app",
    "leasekeeper.contrib.django.connections": "handlers with Django's database connections",
    "leasekeeper.contrib.django.backend": "Django's tasks over SQS",
    "leasekeeper.asyncapi.document": "what an app consumes and sends",
    "leasekeeper.asyncapi.page": "a page of it",
    "leasekeeper.idempotency.settings": "work that is done once",
    "leasekeeper.idempotency.terms": "what became of messages with keys",
    "leasekeeper.idempotency.memory": "keys in this process",
    "leasekeeper.idempotency.redis": "keys in Redis",
    "leasekeeper.idempotency.postgres": "keys in Postgres",
    "leasekeeper.idempotency.inbox": "keys and rows in one transaction",
    "leasekeeper.idempotency.dynamodb": "keys in DynamoDB",
    "leasekeeper.idempotency.api": "what a store of keys is",
    "leasekeeper.testing.handling": "handlers without a queue",
    "leasekeeper.testing.envelopes": "bodies and events for tests",
    "leasekeeper.testing.trial": "an app in virtual time",
    "leasekeeper.testing.idempotency": "handlers that run twice",
}
"""Public modules beside the package itself."""
ALIASES = {"Envelope"}
"""Public names that stand for other types."""
NOT_MADE = {"Condition", "Part", "Batch", "Completion", "Message", "Settlement"}
"""Classes that users receive and do not construct."""
BASES = {"Declaration": "leasekeeper.declaration"}
"""Base classes whose members are described with each class that has them."""
INTERNAL = {
    "with_inbox",
    "check_psycopg",
    "checked_table",
    "Counts",
    "Terms",
    "Channel",
    "Injection",
    "body_text",
    "bound_with",
    "dead_letters_of",
    "Crash",
    "Outbox.channel",
    "Outbox.statement",
    "attributes_as_json",
    "Condition.identity",
    "Content",
    "condition_of",
    "Message.with_body",
    "Options.extend_after",
    "Options.listeners",
    "Options.most_batch_bytes",
    "Options.slots",
    "Options.thread_count",
    "Report.empty",
    "Settlement.resolve",
}
"""Members that only the engine uses."""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_package(), *(line for name in MORE for line in _module(name))]) + "\n"


def _package() -> Iterator[str]:
    modules: dict[str, list[str]] = {}
    for name in leasekeeper.__all__:
        modules.setdefault(getattr(leasekeeper, name).__module__, []).append(name)
    known = {module for group in GROUPS.values() for module in group}
    others = {module: (module,) for module in sorted(set(modules) - known)}
    for title, group in {**GROUPS, **others}.items():
        yield f"## {title}\n"
        for module in group:
            definitions = _definitions(module)
            for name in modules.get(module, []):
                yield from _described(definitions[name])
        if title == "Statistics":
            for module, names in PARTS.items():
                yield from (line for name in names for line in _described(_definitions(module)[name]))


def _module(name: str) -> Iterator[str]:
    yield f"## `{name}`: {MORE[name]}\n"
    if public := getattr(importlib.import_module(name), "__all__", ()):  # a package: its names are of its modules
        objects = importlib.import_module(name)
        for each in public:
            if hasattr(getattr(objects, each), "__module__") and each not in ALIASES:
                yield from _described(_definitions(getattr(objects, each).__module__)[each])
        return
    for definition in _definitions(name).values():
        if definition.name in INTERNAL:
            continue
        if not definition.name.startswith("_") and ast.get_docstring(definition):
            yield from _described(definition)


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _definitions(module: str) -> dict[str, Definition]:
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    found = {node.name: node for node in tree.body if isinstance(node, Definition)}
    for node in found.values():
        for base in node.bases if isinstance(node, ast.ClassDef) else ():
            if (name := ast.unparse(base)) in BASES:
                inherited = _definitions(BASES[name])[name].body
                node.body += [each for each in inherited if getattr(each, "name", "") != "__init__"]
    return found


def _described(definition: Definition) -> Iterator[str]:
    if not isinstance(definition, ast.ClassDef):
        yield f"### `{_signature(definition)}`\n\n{_docstring(definition)}\n"
        return
    methods = [node for node in definition.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    made = next((method for method in methods if method.name == "__init__"), None)
    shown = _signature(made, definition.name) if made and definition.name not in NOT_MADE else definition.name
    yield f"### `{shown}`\n\n{_docstring(definition)}\n"
    if "\nAttributes:\n" not in (ast.get_docstring(definition) or "") and definition.name != "Options":
        yield from _fields(definition.body)
    for method in methods:
        hidden = method.name.startswith("_") and method.name != "__call__"
        hidden |= any(ast.unparse(decorator) == "overload" for decorator in method.decorator_list)
        if not hidden and f"{definition.name}.{method.name}" not in INTERNAL:
            yield f"**`{_signature(method)}`**  \n{_docstring(method)}\n"


def _fields(body: list[ast.stmt]) -> Iterator[str]:
    """Fields and enum members, each with the text below it."""
    lines = []
    for index, node in enumerate(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, kind = node.target.id, f": {ast.unparse(node.annotation)}"
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, kind = node.targets[0].id, ""
        else:
            continue
        following = body[index + 1] if index + 1 < len(body) else None
        text = following.value.value if _is_text(following) else ""  # type: ignore[union-attr]
        if not name.startswith("_"):
            lines.append(f"- `{name}{kind}`{' - ' + ' '.join(str(text).split()) if text else ''}")
    if lines:
        yield "\n".join(lines) + "\n"


def _is_text(node: ast.stmt | None) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _signature(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str = "") -> str:
    if any(ast.unparse(decorator) == "property" for decorator in function.decorator_list):
        return f"{function.name}: {ast.unparse(function.returns) if function.returns else 'Any'}"
    arguments = re.sub(r"^(?:self|cls)(?:, /)?(?:, )?", "", ast.unparse(function.args))
    returns = f" -> {ast.unparse(function.returns)}" if function.returns and not name else ""
    word = "async " if isinstance(function, ast.AsyncFunctionDef) else ""
    return f"{word}{name or function.name}({arguments}){returns}"


def _docstring(definition: Definition) -> str:
    """Paragraphs joined, `Args:` and similar sections as lists."""
    paragraphs = re.split(r"\n\s*\n", ast.get_docstring(definition) or "")
    return "\n\n".join(_paragraph(paragraph.splitlines()) for paragraph in paragraphs)


def _paragraph(lines: list[str]) -> str:
    if not re.fullmatch(r"(Args|Attributes|Raises|Returns|Yields):", lines[0]):
        return "\n".join(lines) if lines[0].startswith(("    ", "- ", "|")) else " ".join(lines)
    if lines[0] == "Returns:":
        return "Returns: " + " ".join(line.strip() for line in lines[1:])
    return f"{lines[0]}\n\n" + "\n".join(_items(lines[1:]))


def _items(lines: Iterable[str]) -> Iterator[str]:
    """`name: text` with its continuation lines, as list items."""
    item = ""
    for line in lines:
        if re.match(r"    \S", line):
            if item:
                yield item
            name, _, text = line.strip().partition(": ")
            item = f"- `{name}`: {text}"
        else:
            item += " " + line.strip()
    if item:
        yield item


if __name__ == "__main__":
    PAGE.write_text(page())
