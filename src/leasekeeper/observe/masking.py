"""Masking: an error's text without what it quotes of the message's body.

Used by what shows errors to people. It promises that no value of the body appears, and no word of one. Keys of a JSON
body may stay: "no such customer" stays readable.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

MASK = "***"
SHORTEST = 3
"""Characters of a word that is looked for in the body: shorter ones would be found in any."""
_WORD = re.compile(rf"\w{{{SHORTEST},}}")
_MASKS = re.compile(r"\*\*\*(?:\W{1,2}\*\*\*)+")


def masked(text: str, body: str) -> str:
    """`text` with `***` for each word that also stands in a value of the body; for a body that is not JSON, in it."""
    content = _content(body)
    if not content:
        return text
    return _MASKS.sub(MASK, _WORD.sub(lambda word: MASK if word[0] in content else word[0], text))


def _content(body: str) -> str:
    """The values of the body, one a line."""
    try:
        return "\n".join(_values(msgspec.json.decode(body)))
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return body


def _values(found: Any) -> Iterator[str]:
    if isinstance(found, dict):
        for value in found.values():
            yield from _values(value)
    elif isinstance(found, list):
        for value in found:
            yield from _values(value)
    elif isinstance(found, str):
        yield found
    elif not isinstance(found, bool) and found is not None:
        yield repr(found)
