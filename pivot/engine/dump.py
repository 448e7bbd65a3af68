"""Dump: a store as lines of JSON, to be kept elsewhere and read again; a backup is one.

Layer: engine (no I/O here). One object a line, UTF-8:

    {"type":"pivot-backup","format":1,"store":...,"epoch":...,"taken_ns":...}
    {"type":"collection","path":"users/*","collected":0}          then its rows, tombstones included
    {"type":"row","key":"users/ann","created":...,"updated":0,"prev":0,"origin":...,"data":{"n":1}}
    {"type":"row","key":"users/bob","created":...,"updated":...,"prev":...,"origin":...,"deleted":true}
    {"type":"end","collections":[{"path":"users/*","entries":1,"tombstones":1,"digest":...}],"hash":...}

The last line proves the others: `hash` stands for every byte before it, and each collection's digest is the one that
members compare (of live rows). What belongs to one life of a store only is left out: numbers, confirmations, places and
followers. `collected`, the greatest stamp of a tombstone that is gone, is not: later writes must be greater.

Start at `dump` and `Reader.feed`.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias, assert_never, final

import msgspec

from pivot.core.digest import BucketSums
from pivot.core.entry import Entry, check_entry
from pivot.errors import PivotError, StorageError
from pivot.paths import matches
from pivot.types import Epoch, StoreId

FORMAT: Final = 1
CHUNK_ROWS: Final = 500
"""Rows that are encoded at a time: about 3 ms of work, so that a server can do something else in between."""
CHUNK_BYTES: Final = 2**18
"""A chunk ends when it has so many bytes, however few its rows."""
LINE_BYTES_MAX: Final = 8 * 2**20
_NO_DATA: Final = msgspec.Raw(b"")


class Header(msgspec.Struct, frozen=True, tag="pivot-backup", forbid_unknown_fields=True):
    """First line.

    Attributes:
        format: of what follows.
        store: id of the store that was dumped.
        epoch: its life.
        taken_ns: when, on its wall clock, ns since the Unix epoch.
    """

    format: int
    store: StoreId
    epoch: Epoch
    taken_ns: int


class CollectionLine(msgspec.Struct, frozen=True, tag="collection", forbid_unknown_fields=True):
    """The rows that follow are of this collection; see `Retention.collected`."""

    path: str
    collected: int


class RowLine(msgspec.Struct, frozen=True, gc=False, tag="row", forbid_unknown_fields=True, omit_defaults=True):
    """A row; see `Entry`. `data` is canonical JSON; a tombstone has none."""

    key: str
    created: int
    updated: int
    prev: int | None
    origin: StoreId
    data: msgspec.Raw = _NO_DATA
    deleted: bool = False


class CollectionSum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A collection as the last line has it; `digest` is of its live entries."""

    path: str
    entries: int
    tombstones: int
    digest: str


class End(msgspec.Struct, frozen=True, tag="end", forbid_unknown_fields=True):
    """Last line: what was before it."""

    collections: tuple[CollectionSum, ...]
    hash: str


Line: TypeAlias = Header | CollectionLine | RowLine | End


@final
class Section(msgspec.Struct, frozen=True):
    """A collection to be dumped: its path, its greatest collected stamp, its rows with tombstones."""

    path: str
    collected: int
    entries: Iterable[Entry]


@final
class Tally:
    """What was written or read so far.

    Attributes:
        bytes: of whole lines.
        entries: live ones.
        tombstones: deleted ones.
        sums: collections that are complete.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.entries = 0
        self.tombstones = 0
        self.sums: list[CollectionSum] = []
        self._hash = hashlib.blake2b(digest_size=16)
        self._path: str | None = None
        self._begun = (0, 0)
        self._digest = BucketSums()

    def take(self, line: bytes) -> None:
        """Count bytes of lines before the last one."""
        self.bytes += len(line)
        self._hash.update(line)

    def begin(self, path: str | None) -> None:
        """Complete the collection at hand, if there is one, and begin another; None = there is no more."""
        if self._path is not None:
            entries, tombstones = self.entries - self._begun[0], self.tombstones - self._begun[1]
            self.sums.append(CollectionSum(self._path, entries, tombstones, self._digest.text()))
        self._path, self._begun, self._digest = path, (self.entries, self.tombstones), BucketSums()

    def add(self, entry: Entry) -> None:
        """Count a row."""
        if entry.deleted:
            self.tombstones += 1
        else:
            self.entries += 1
            self._digest.add(entry)

    def end(self) -> End:
        """The line that proves what was taken, once `begin(None)` was called."""
        return End(tuple(self.sums), self._hash.hexdigest())


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def dump(header: Header, sections: Iterable[Section], tally: Tally) -> Iterator[bytes]:
    """The lines of a dump, many in a chunk, each with its newline.

    Args:
        header: the first line.
        sections: what to dump; their rows are read as they are needed.
        tally: new; counts what was yielded.
    """
    buffer = bytearray()

    def add(line: Line) -> None:
        buffer.extend(_encoder.encode(line))
        buffer.append(0x0A)

    def flush() -> bytes:
        chunk = bytes(buffer)
        buffer.clear()
        tally.take(chunk)
        return chunk

    add(header)
    rows = 0
    for section in sections:
        tally.begin(section.path)
        add(CollectionLine(section.path, section.collected))
        for entry in section.entries:
            tally.add(entry)
            add(row_line(entry))
            rows += 1
            if rows == CHUNK_ROWS or len(buffer) >= CHUNK_BYTES:
                yield flush()
                rows = 0
    tally.begin(None)
    yield flush()
    add(tally.end())
    yield bytes(buffer)
    tally.bytes += len(buffer)


def row_line(entry: Entry) -> RowLine:
    """An entry as a line has it."""
    e = entry
    data = msgspec.Raw(e.data.encode()) if e.data else _NO_DATA
    return RowLine(e.key, e.created, e.updated, e.prev, e.origin, data, e.deleted)


@final
class Reader:
    """Takes a dump line by line, and believes nothing of it that it does not prove.

    Whoever uses what is taken must be able to undo that: only when `finish` returned was all of it right.

    Attributes:
        name: of the dump.
        header: the first line, once it was fed.
        tally: what was fed so far.
    """

    def __init__(self, name: str) -> None:
        """Begin before the first line.

        Args:
            name: of the dump, for messages.
        """
        self.name = name
        self.header: Header | None = None
        self.tally = Tally()
        self._path: str | None = None
        self._number = 0
        self._ended = False

    def feed(self, text: bytes) -> CollectionLine | Entry | None:
        r"""Take the next line, with its `\n`; returns what it brings, None for the first and the last one.

        Raises:
            StorageError: it is no dump, of a newer format, cut off or altered, or has an entry that cannot be; where.
        """
        try:
            return self._take(text)
        except StorageError as error:
            raise self.flaw(str(error)) from None

    def flaw(self, why: str) -> StorageError:
        """What is wrong with the dump, in one line that names it."""
        return StorageError(f"backup {self.name}: {why}")

    def _take(self, text: bytes) -> CollectionLine | Entry | None:
        self._number += 1
        if self.header is None:
            self.header = _header(text)
            self.tally.take(text)
            return None
        if self._ended:
            raise StorageError("there is something after the last line")
        match line := self._decode(text):
            case RowLine() if self._path is not None:
                entry = self._entry(line, self._path)
                self.tally.take(text)
                self.tally.add(entry)
                return entry
            case CollectionLine():
                self._path = line.path
                self.tally.take(text)
                self.tally.begin(line.path)
                return line
            case End():
                self._prove(line)
                self.tally.bytes += len(text)
                self._ended = True
                return None
            case RowLine() | Header():
                raise StorageError(f"line {self._number} is out of place")
            case _:
                assert_never(line)

    def finish(self) -> None:
        """There is no more.

        Raises:
            StorageError: there should be.
        """
        if self.header is None:
            raise self.flaw("it is no backup of pivot: it is empty")
        if not self._ended:
            raise self.flaw(f"it is cut off after {self.tally.bytes} bytes: the last line is missing")

    def _decode(self, text: bytes) -> Line:
        if not text.endswith(b"\n"):
            raise StorageError(f"it is cut off within line {self._number}")
        try:
            return _decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StorageError(f"line {self._number} is damaged: {error}") from None

    def _entry(self, line: RowLine, path: str) -> Entry:
        try:
            data = bytes(line.data).decode()
            entry = Entry(line.key, line.created, line.updated, data, line.deleted, line.prev, line.origin)
            check_entry(entry)
        except (PivotError, UnicodeDecodeError) as error:
            raise StorageError(f"line {self._number} is damaged: {error}") from None
        if path and not matches(path, entry.key):
            raise StorageError(f"line {self._number} is damaged: key {entry.key!r} is not in collection {path!r}")
        return entry

    def _prove(self, end: End) -> None:
        self.tally.begin(None)
        ours = self.tally.end()
        for theirs, found in zip(end.collections, ours.collections, strict=False):
            if theirs != found:
                raise StorageError(f"it was altered: collection {found.path!r} is {_said(found)}, not {_said(theirs)}")
        if end != ours:
            raise StorageError(f"it was altered: its hash is {ours.hash}, not {end.hash}")


def _said(sum_: CollectionSum) -> str:
    return f"{sum_.entries} entries, {sum_.tombstones} tombstones, digest {sum_.digest}"


def _header(text: bytes) -> Header:
    try:
        line = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        line = None
    if not isinstance(line, Header):
        raise StorageError("it is no backup of pivot: it does not begin like one")
    if line.format > FORMAT:
        raise StorageError(f"it has format {line.format}, this program knows up to {FORMAT}")
    return line
