"""Words for people: what rich must not take for markup.

Used where help texts and messages quote what others wrote. It promises that they are shown as they are.
"""

from __future__ import annotations


def escaped(words: str) -> str:
    """The words, with no markup in them."""
    return words.replace("[", "\\[")
