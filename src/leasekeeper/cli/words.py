"""Text that others wrote, made safe to print: no control characters, no rich markup, no passwords.

Used wherever a command prints a body, an id, an error or a URL. It promises that such text can neither move the cursor,
nor change colours, nor reverse the reading direction, nor pass for a line of ours.
"""

from __future__ import annotations

import re

_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 with ESC and BEL, DEL, and C1, which some terminals obey as they obey ESC
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that change the reading direction
    "\u2028\u2029\ufeff"  # line separators, and the byte order mark
    "\ud800-\udfff]"  # lone surrogates, which cannot be encoded
)
_USER_INFO = re.compile(r"(?<=://)[^\s/?#'\"]*@")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _visible(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def printable(text: str) -> str:
    r"""The text on one line: each control character is shown as an escape, e.g. `\x1b`, and a line break as `\n`."""
    return _CONTROL.sub(_visible, text)


def printable_lines(text: str) -> str:
    r"""The text with its lines and tabs as they are, and each other control character shown as an escape."""
    return _CONTROL.sub(lambda found: found[0] if found[0] in "\n\t" else _visible(found), text.replace("\r\n", "\n"))


def without_secrets(text: str) -> str:
    """The text with `***` in place of user name and password in each URL."""
    return _USER_INFO.sub("***@", text)


def escaped(text: str) -> str:
    """The text for a place where rich reads markup, such as a help text: shown as it is."""
    return text.replace("[", "\\[")
