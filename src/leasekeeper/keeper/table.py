"""The table: what an engine tells its keeper about each message it holds, in shared memory without a name.

Made by the engine; its keeper opens it by the descriptor. Each field has one writer, so there is no lock. It promises
that what the engine wrote last is there after it was killed, and that the state of a slot is written last: it makes
the rest of the slot valid. All times are seconds of CLOCK_MONOTONIC, which processes share. No library is imported
here, because the keeper's process has none.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from contextlib import suppress

from leasekeeper.keeper import layout
from leasekeeper.keeper.layout import (
    BLOCK,
    CREDENTIALS,
    CREDENTIALS_LENGTH,
    HEAD,
    HEAD_GENERATION,
    MAGIC,
    MESSAGES,
    MOST_RECEIVES,
    NOTE,
    NOTE_GENERATION,
    NOTE_UNTIL,
    NOTE_VISIBLE_AT,
    NOTES,
    PAGE,
    RECEIVE,
    RECEIVE_SIZE,
    RECEIVES,
    SEPARATOR,
    SETTINGS,
    SETTINGS_LENGTH,
    STATES,
    TEXTS,
    Credentials,
    Head,
    Settings,
)


class Table:
    """A table in memory that two processes share.

    Attributes:
        memory: all of it.
        descriptor: of the memory. It must be open once in each process: closing any descriptor of the same memory
            gives back all claims of that process.
        blocks: how many there are. A block has the messages of one receive, and is used again when all have left it.
        slots: how many messages it has room for, if each receive brings ten.
        numbers: the header, by the positions that `layout` names; `AT_STOOD_IN` is how often the keeper has extended.
        states: where the states are written. It is the memory, as long as that is ours and open.
        first: where the blocks begin.
    """

    def __init__(self, memory: mmap.mmap, blocks: int, descriptor: int = -1) -> None:
        self.memory = memory
        self.blocks = blocks
        self.slots = blocks * MESSAGES
        self.descriptor = descriptor
        view = memoryview(memory)
        self.first = _blocks_at(blocks)
        self.numbers = view[:SETTINGS].cast("Q")
        self._header_times = view[:SETTINGS].cast("d")
        self._times = view[self.first :].cast("d")
        self._generations = view[self.first :].cast("I")
        self.states: mmap.mmap | bytearray = memory

    @classmethod
    def make(cls, blocks: int, settings: Settings, *, keep_for: float, pid: int | None = None) -> Table:
        """Make a table, empty, for the engine of this process.

        Args:
            blocks: how many receives it has room for. Memory is used only for as many as were held at the same time.
            settings: where the keeper sends its calls.
            keep_for: seconds for which the keeper stands in without a sign of life.
            pid: the process whose death counts; None: this one.

        Raises:
            OSError: the system refuses it: a filter of system calls, a limit on the size of files or of memory.
            ValueError: the settings are too long.
        """
        descriptor = os.memfd_create("leasekeeper", os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, _size(blocks))
            table = cls(mmap.mmap(descriptor, _size(blocks)), blocks, descriptor)
            table._fill(settings, keep_for=keep_for, pid=os.getpid() if pid is None else pid)
        except BaseException:
            os.close(descriptor)
            raise
        return table

    @classmethod
    def private(cls, blocks: int, settings: Settings, *, keep_for: float) -> Table:
        """Make a table that no other process sees, for engine and keeper in virtual time."""
        table = cls(mmap.mmap(-1, _size(blocks)), blocks)
        table._fill(settings, keep_for=keep_for, pid=0)
        return table

    @classmethod
    def open(cls, descriptor: int) -> Table:
        """Open the table behind a descriptor: for its keeper.

        Raises:
            ValueError: this is no table of this version.
        """
        memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        magic, blocks = struct.unpack_from("<QQ", memory)
        if magic != MAGIC or len(memory) != _size(blocks):
            raise ValueError(f"descriptor {descriptor} is no table of leases: magic {magic:#x}, {len(memory):,} bytes")
        _not_dumped(memory)
        return cls(memory, blocks, descriptor)

    def _fill(self, settings: Settings, *, keep_for: float, pid: int) -> None:
        text = json.dumps(settings).encode()
        if len(text) > SETTINGS_LENGTH:
            raise ValueError(f"settings of {len(text):,} bytes do not fit into a table")
        self.memory[SETTINGS : SETTINGS + len(text)] = text
        _not_dumped(self.memory)
        numbers = self.numbers
        numbers[layout.AT_BLOCKS], numbers[layout.AT_PID], numbers[layout.AT_BEGAN] = self.blocks, pid, began_at(pid)
        numbers[layout.AT_SETTINGS_USED] = len(text)
        self._header_times[layout.AT_KEEP_FOR] = keep_for
        numbers[layout.AT_MAGIC] = MAGIC

    def close(self) -> None:
        """Let go of the memory and its descriptor; a handler that outlives its consumer writes into nothing then."""
        self.forget()
        for view in (self.numbers, self._header_times, self._times, self._generations):
            view.release()
        del self.memory  # not closed: a lane's thread may write a state in this very moment
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def forget(self) -> None:
        """Write no states any more: for a forked child, whose messages are its parent's."""
        self.states = bytearray(STATES + self.slots)

    # What the engine writes

    def note_used(self, blocks: int) -> None:
        """Tell the keeper how many blocks it has to look at."""
        self.numbers[layout.AT_USED] = blocks

    def move(self, slot: int, deadline: float) -> None:
        """Write a deadline for one message only: its lease was extended, or it has left (`OVER`)."""
        self._times[_note(slot) // 8] = deadline

    def write_visible_at(self, slot: int, visible_at: float) -> None:
        """Write when a message that is given back becomes visible."""
        self._times[_note(slot) // 8 + NOTE_VISIBLE_AT] = visible_at

    def alive(self, now: float, next_beat: float) -> None:
        """A sign of life, with the time of the next one."""
        self._header_times[layout.AT_NEXT_BEAT] = next_beat
        self._header_times[layout.AT_ALIVE] = now

    def end(self) -> None:
        """The engine has stopped cleanly."""
        self.numbers[layout.AT_CLOSED] = 1

    def write_credentials(self, credentials: Credentials) -> None:
        """Tell the keeper what to sign with. Its number is odd while this writes."""
        text = json.dumps(credentials).encode()
        if len(text) > CREDENTIALS_LENGTH:
            raise ValueError(f"credentials of {len(text):,} bytes do not fit into a table")
        self.numbers[layout.AT_NUMBER] |= 1
        self.memory[CREDENTIALS : CREDENTIALS + len(text)] = text
        self.numbers[layout.AT_CREDENTIALS_USED] = len(text)
        self.numbers[layout.AT_NUMBER] += 1

    def write_receive(self, place: int, sent: float, visibility: float, maximum: int, attempt_id: str) -> None:
        """Note an open receive of a FIFO queue."""
        RECEIVE.pack_into(
            self.memory, RECEIVES + place * RECEIVE_SIZE, sent, visibility, maximum, 1, attempt_id.encode()
        )

    def clear_receive(self, place: int) -> None:
        """The receive at this place has been answered, and its messages have slots."""
        self.memory[RECEIVES + place * RECEIVE_SIZE + 20] = 0

    # What the keeper writes

    def extended(self, slot: int, generation: int, until: float) -> None:
        """The keeper has extended the lease of what is in a slot; `note_stood_in` has to follow."""
        self._times[_note(slot) // 8 + NOTE_UNTIL] = until
        self._generations[_note(slot) // 4 + NOTE_GENERATION] = generation

    def note_stood_in(self) -> None:
        """Tell the engine that there are extensions to take over."""
        self.numbers[layout.AT_STOOD_IN] += 1

    # What both read

    @property
    def pid(self) -> int:
        """The engine's process."""
        return self.numbers[layout.AT_PID]

    @property
    def began(self) -> int:
        """When the engine's process began, in the kernel's own unit: a process id may be used again."""
        return self.numbers[layout.AT_BEGAN]

    @property
    def used(self) -> int:
        """Blocks that were ever in use."""
        return self.numbers[layout.AT_USED]

    @property
    def closed(self) -> bool:
        """Whether the engine has stopped cleanly."""
        return bool(self.numbers[layout.AT_CLOSED])

    @property
    def keep_for(self) -> float:
        """Seconds for which the keeper stands in without a sign of life."""
        return self._header_times[layout.AT_KEEP_FOR]

    @property
    def last_sign(self) -> float:
        """When the engine last gave a sign of life; 0.0 before the first."""
        return self._header_times[layout.AT_ALIVE]

    @property
    def next_beat(self) -> float:
        """When the engine wanted to beat next."""
        return self._header_times[layout.AT_NEXT_BEAT]

    def head(self, slot: int) -> Head:
        """What is known about the message in a slot."""
        block, number = divmod(slot - STATES, MESSAGES)
        at = self.first + block * BLOCK
        deadline, asked, seconds, generation, _, _ = HEAD.unpack_from(self.memory, at)
        moved, visible_at, _, _ = NOTE.unpack_from(self.memory, at + NOTES + number * NOTE.size)
        return Head(moved or deadline, asked, seconds, visible_at, generation)

    def generation(self, slot: int) -> int:
        """The generation of what is in a slot, or was last."""
        return self._generations[(slot - STATES) // MESSAGES * BLOCK // 4 + HEAD_GENERATION]

    def until(self, slot: int, generation: int) -> float:
        """When the keeper's last extension of this message ends; 0.0: it made none."""
        if self._generations[_note(slot) // 4 + NOTE_GENERATION] != generation:
            return 0.0
        return self._times[_note(slot) // 8 + NOTE_UNTIL]

    def texts(self, block: int) -> list[tuple[str, str]]:
        """Receipt and receive count of each message in a block. Race: none, while the engine writes the block."""
        at = self.first + block * BLOCK
        _, _, _, _, count, length = HEAD.unpack_from(self.memory, at)
        text = self.memory[at + HEAD.size : at + HEAD.size + min(length, TEXTS)].decode(errors="replace")
        parts = text.split(SEPARATOR)
        if len(parts) == count:  # without their receive counts: all are received for the first time
            parts += ["1"] * count
        return list(zip(parts[:count], parts[count:], strict=True)) if len(parts) == 2 * count else []

    def receipt(self, slot: int) -> str:
        """The receipt of the message in a slot; empty while the engine writes the block."""
        block, number = divmod(slot - STATES, MESSAGES)
        texts = self.texts(block)
        return texts[number][0] if number < len(texts) else ""

    def settings(self) -> Settings:
        """Where the keeper sends its calls."""
        read = Settings(*json.loads(self.memory[SETTINGS : SETTINGS + self.numbers[layout.AT_SETTINGS_USED]]))
        return read._replace(back_offs=tuple(read.back_offs))

    def credentials(self) -> tuple[int, Credentials] | None:
        """What to sign with, and its number; None while the engine writes it, and before."""
        number = self.numbers[layout.AT_NUMBER]
        text = self.memory[CREDENTIALS : CREDENTIALS + self.numbers[layout.AT_CREDENTIALS_USED]]
        if not number or number & 1 or self.numbers[layout.AT_NUMBER] != number:
            return None
        return number, Credentials(*json.loads(text))

    @property
    def credentials_number(self) -> int:
        """Changes with each refresh."""
        return self.numbers[layout.AT_NUMBER]

    def open_receives(self) -> list[tuple[float, float, int, str]]:
        """The receives without an answer: when they were sent, visibility timeout, messages, attempt id."""
        found = []
        for place in range(MOST_RECEIVES):
            sent, visibility, maximum, in_use, attempt_id = RECEIVE.unpack_from(
                self.memory, RECEIVES + place * RECEIVE_SIZE
            )
            if in_use:
                found.append((sent, visibility, maximum, attempt_id.rstrip(b"\0").decode("ascii", "replace")))
        return found

    def occupied(self) -> list[int]:
        """The slots that are not free."""
        used = self.states[STATES : STATES + self.used * MESSAGES]
        if not used.strip(b"\0"):
            return []
        return [slot for slot, state in enumerate(used, STATES) if state]

    def __repr__(self) -> str:
        return f"<Table of process {self.pid}: {len(self.occupied())} of {self.slots} slots in use>"


def _not_dumped(memory: mmap.mmap) -> None:
    """Keep credentials, and the password of a proxy, out of core dumps of this process."""
    with suppress(OSError, AttributeError):  # a kernel without it: they are there then, as the engine's are
        memory.madvise(mmap.MADV_DONTDUMP, SETTINGS, SETTINGS_LENGTH + CREDENTIALS_LENGTH)


def began_at(pid: int) -> int:
    """When a process began, in clock ticks since the machine did (proc(5), `starttime`); 0: unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - the keeper's process does without `pathlib`
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def _note(slot: int) -> int:
    """Where the note of a slot begins, from the first block on."""
    block, number = divmod(slot - STATES, MESSAGES)
    return block * BLOCK + NOTES + number * NOTE.size


def _blocks_at(blocks: int) -> int:
    """Where the blocks begin."""
    return -(-(STATES + blocks * MESSAGES) // PAGE) * PAGE


def _size(blocks: int) -> int:
    return _blocks_at(blocks) + blocks * BLOCK
