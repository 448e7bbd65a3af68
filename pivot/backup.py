"""Backup: `pivot backup` and `pivot restore`, between a server or a folder on one side and one file on the other.

Layer: edge. A backup is complete when its last line has proved it, and only then does it get its name; see
`pivot.engine.dump` for what is in it, and `pivot.engine.transfer` for what a restore does.
Start at `backup` and `restore`.
"""

import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import BinaryIO, Final, TypeVar, final

import msgspec
import trio

from pivot.actors.entropy import SystemEntropy
from pivot.actors.wallclock import system_clock
from pivot.engine.dump import LINE_BYTES_MAX, Reader, Tally
from pivot.engine.opening import sync_folder
from pivot.engine.transfer import dump_store, restore_store
from pivot.errors import NotFoundError, RefusedError, StorageError
from pivot.transport.http_client import HttpClient, normalize_url
from pivot.types import StoreId

BACKUP_PATH: Final = "/_pivot/backup"
STANDARD: Final = "-"
"""Name of a file that is stdin or stdout."""
SILENCE_S: Final = 30.0
"""A server that says nothing for so long is given up."""
STDOUT: Final = Path("stdout")
_WRITE_BYTES: Final = 2**18
_PROGRESS_S: Final = 1.0
_T = TypeVar("_T")


@final
class Summary(msgspec.Struct, frozen=True):
    """What was backed up or restored.

    Attributes:
        entries: live ones.
        tombstones: deleted ones.
        bytes: of the backup.
        store: id of the store it was made of; of a restore, of the new one.
    """

    entries: int
    tombstones: int
    bytes: int
    store: StoreId


def backup(file: str, *, url: str | None = None, folder: Path | None = None) -> Summary:
    """Write a backup of a running member, or of a folder whose member does not run.

    Args:
        file: what to write; a file that is there is replaced once the new one is complete; `-` = stdout.
        url: the member's address.
        folder: the store's; the one or the other.

    Raises:
        StorageError: the store or the file cannot be used, or what came is not whole.
        TransportError: the server cannot be reached, or refuses.
    """
    assert (url is None) != (folder is None), "a server or a folder"
    if url is not None:
        return trio.run(_from_server, file, normalize_url(url))
    assert folder is not None
    return trio.run(_from_folder, file, folder)


def restore(file: str, *, folder: Path, force: bool) -> Summary:
    """Make the store in a folder what a backup says, in a new epoch; all of it or nothing.

    Args:
        file: the backup; `-` = stdin.
        folder: where the store will be.
        force: replace a store that is there.

    Raises:
        StorageError: the backup is not whole, or the folder is not free, or cannot be used; nothing was changed.
    """
    return trio.run(_restore, file, folder, force)


async def _from_server(file: str, url: str) -> Summary:
    reader = Reader(f"of {url}")
    client = HttpClient(line_bytes_max=LINE_BYTES_MAX)
    with _written(file) as write:
        async with client, _progress("backup", reader.tally):
            try:
                stream = client.stream_lines("GET", url + BACKUP_PATH, silence_s=SILENCE_S)
                async with stream as lines:
                    waiting = bytearray()
                    async for text in lines:
                        waiting += text
                        waiting += b"\n"
                        reader.feed(text + b"\n")
                        if len(waiting) >= _WRITE_BYTES:
                            await trio.to_thread.run_sync(write, bytes(waiting))  # a pipe may take long
                            waiting.clear()
                    await trio.to_thread.run_sync(write, bytes(waiting))
            except NotFoundError as error:
                raise RefusedError(error.args[0], error.status, error.reason) from None
            reader.finish()
    assert reader.header is not None, "finish saw one"
    return _summary(reader.tally, reader.header.store)


async def _from_folder(file: str, folder: Path) -> Summary:
    tally, reader = Tally(), Reader(f"of {folder}")

    def work() -> None:
        with _written(file) as write:
            for chunk in dump_store(folder, new_id=SystemEntropy().new_id, taken_ns=system_clock(), tally=tally):
                write(chunk)
                for text in chunk.splitlines(keepends=True):
                    reader.feed(text)
                trio.from_thread.check_cancelled()
            reader.finish()

    async with _progress("backup", tally):
        await trio.to_thread.run_sync(work)
    assert reader.header is not None, "finish saw one"
    return _summary(tally, reader.header.store)


async def _restore(file: str, folder: Path, force: bool) -> Summary:  # noqa: FBT001 - trio.run passes no names
    reader = Reader("stdin" if file == STANDARD else file)

    def work() -> StoreId:
        with _opened(file, reader) as lines:
            return restore_store(folder, lines, new_id=SystemEntropy().new_id, reader=reader, force=force)

    async with _progress("restore", reader.tally):
        store = await trio.to_thread.run_sync(work)
    return _summary(reader.tally, store)


def _summary(tally: Tally, store: StoreId) -> Summary:
    return Summary(tally.entries, tally.tombstones, tally.bytes, store)


@contextmanager
def _opened(file: str, reader: Reader) -> Generator[Iterator[bytes], None, None]:
    """The lines of a file, none longer than it may be."""
    if file == STANDARD:
        yield _lines(sys.stdin.buffer, reader)
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 - what is inside must not be named as this error
    except OSError as error:
        raise reader.flaw(error.strerror or str(error)) from None
    with stream:
        yield _lines(stream, reader)


def _lines(stream: BinaryIO, reader: Reader) -> Iterator[bytes]:
    count = 0
    while True:
        try:
            text = stream.readline(LINE_BYTES_MAX + 1)
        except OSError as error:
            raise reader.flaw(error.strerror or str(error)) from None
        if not text:
            return
        count += 1
        if count % 1000 == 0:
            trio.from_thread.check_cancelled()
        yield text


@contextmanager
def _written(file: str) -> Generator[Callable[[bytes], object], None, None]:
    """Write a file that gets its name when all of it is on the disk, or stdout."""
    if file == STANDARD:
        try:
            yield lambda data: _write(STDOUT, sys.stdout.buffer, data)
            with _naming(STDOUT):
                sys.stdout.buffer.flush()
        except StorageError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python says it again at its end
            raise
        return
    target = Path(file)
    part = target.with_name(f"{target.name}.part")
    with _naming(target):
        stream = part.open("wb")
    try:
        with stream:
            yield lambda data: _write(target, stream, data)
            with _naming(target):
                stream.flush()
                os.fsync(stream.fileno())
        with _naming(target):
            part.replace(target)
            sync_folder(target.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write(target: Path, stream: BinaryIO, data: bytes) -> None:
    with _naming(target):
        stream.write(data)


@contextmanager
def _naming(target: Path) -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"backup {target}: {error.strerror or error}") from None


@asynccontextmanager
async def _progress(verb: str, tally: Tally) -> AsyncGenerator[None, None]:
    """Say on stderr each second how far it is."""
    again = "\r" if sys.stderr.isatty() else "\n"
    shown = False

    async def show() -> None:
        nonlocal shown
        while True:
            await trio.sleep(_PROGRESS_S)
            rows = tally.entries + tally.tombstones
            if rows:
                sys.stderr.write(f"{verb}: {rows:,} rows, {tally.bytes / 2**20:.1f} MiB{again}")
                sys.stderr.flush()
                shown = True

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(show)
            yield
            nursery.cancel_scope.cancel()
    finally:
        if shown and again == "\r":
            sys.stderr.write("\n")
