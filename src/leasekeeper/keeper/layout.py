"""The layout of a table: where everything stands in the memory that engine and keeper share, and in which form.

Read by both. The version in `MAGIC` belongs to it. Only the standard library is imported here.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC = 0x4C4B_0004
"""Marks a table of this layout: engine and keeper are of the same version."""

FREE, WAITING, RUNNING, FINISHED, RELEASING = range(5)
"""The states of a message. RUNNING also means that it may fail again: it is not made visible at once."""
MESSAGES = 10
"""Slots of a block: a receive brings at most ten messages, and they are written in one go."""

TABLE, END = b"table", b"end"
"""What the consumer's process sends to its keeper: a table with its descriptor, and that no more will follow."""
PAGE = 4096
SETTINGS = 2 * PAGE
"""Where the settings begin; before them is the header, and a page for what the keeper writes."""
SETTINGS_LENGTH = 2 * PAGE
CREDENTIALS = SETTINGS + SETTINGS_LENGTH
CREDENTIALS_LENGTH = 4 * PAGE
RECEIVES = CREDENTIALS + CREDENTIALS_LENGTH
RECEIVES_LENGTH = 2 * PAGE
STATES = RECEIVES + RECEIVES_LENGTH
"""Where the states begin, one byte for each message. The number of a slot is the position of its state.

The blocks follow on a new page: each has a head, a note for each message, and texts.
"""
NOWHERE = STATES - 1
"""The slot of a message that has none: a byte that the keeper never reads."""
HEAD = struct.Struct("<ddfIII320x")
"""What the messages of a block have in common: deadline, asked for, seconds, generation, how many, bytes of the texts.

Written with all notes empty. The generation is another one when the block is used again.
"""
NOTE = struct.Struct("<dddI4x")
"""About one message: a deadline of its own, visible at (engine); until, and for which generation (keeper)."""
NOTE_VISIBLE_AT, NOTE_UNTIL = 1, 2
"""Positions in a note, of eight bytes each; its deadline is at 0."""
HEAD_GENERATION, NOTE_GENERATION = 5, 6
"""Positions in a head and in a note, of four bytes each."""
NOTES = HEAD.size - MESSAGES * NOTE.size
BLOCK = 5120
"""Bytes of a block: ten receipts of AWS have about 400 characters each."""
TEXTS = BLOCK - HEAD.size
"""Bytes of the texts of a block: the receipts, then the receive counts if one of them is not 1.

More than twice a receipt's 1,024 at most.
"""
SEPARATOR = "\0"
OVER = -1.0
"""The deadline of a message that leaves at the moment when it starts."""
RECEIVE = struct.Struct("<ddII48s")
"""An open receive: when it was first sent, visibility timeout, messages asked for, in use, attempt id."""
RECEIVE_SIZE = 80
MOST_RECEIVES = RECEIVES_LENGTH // RECEIVE_SIZE

# The header, by positions of eight bytes: integers, then times. The keeper's own are on a page of their own.
AT_MAGIC, AT_BLOCKS, AT_PID, AT_BEGAN, AT_USED, AT_CLOSED, AT_NUMBER, AT_SETTINGS_USED, AT_CREDENTIALS_USED = range(9)
AT_KEEP_FOR, AT_ALIVE, AT_NEXT_BEAT = range(16, 19)
AT_STOOD_IN = PAGE // 8


class Credentials(NamedTuple):
    """What the keeper signs with."""

    access_key: str
    secret_key: str
    token: str | None


class Settings(NamedTuple):
    """Where the keeper sends its calls, and how."""

    endpoint: str
    region: str
    queue_url: str
    queue: str
    session_token: bool = True
    proxy: str | None = None
    ca_bundle: str | None = None
    back_offs: Sequence[float] = (1.0,)
    """Seconds that a message waits if its process dies while it runs, by its receive count: of 1, 2 and so on."""


class Head(NamedTuple):
    """What the table says about one message."""

    deadline: float
    asked: float
    """When the receive was sent that brought it."""
    seconds: float
    visible_at: float
    """When it becomes visible again, if it is RELEASING."""
    generation: int
