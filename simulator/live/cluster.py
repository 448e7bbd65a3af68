"""LiveCluster: a leader and nodes as real processes, HTTP on loopback ports that the system picked.

Layer: simulator/live. Nodes may reach their leader through proxies, so that links can be cut. Each member's stdin is a
pipe of ours that nothing is written to: should we be killed, it ends, and the member with it.
Start at `live_cluster`, which leaves nothing running.
"""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, final

import msgspec
import trio

from pivot.client import Client, Item
from pivot.errors import NotFoundError, TransportError
from pivot.transport.http_client import HttpClient
from pivot.types import JsonValue
from simulator.errors import LiveClusterError
from simulator.experiment.plan import LEADER, Plan
from simulator.live import member as program
from simulator.live.member import OFFSET_BYTES
from simulator.live.proxy import Proxy

START_S: Final = 20.0
"""How long a process may take to listen."""
STOP_S: Final = 5.0
"""How long a process may take to end after SIGTERM; then it is killed."""
_LISTENING: Final = "listening on "
_PROGRAM: Final = Path(program.__file__)


@final
class _Process:
    """One member's process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process: trio.Process | None = None
        self.stopped = False
        self.client: Client | None = None
        self.address = "127.0.0.1:0"
        self.proxy: Proxy | None = None


@final
class LiveCluster:
    """A leader and nodes, each a process; use `live_cluster`, which leaves nothing running.

    Attributes:
        plan: who takes part and what is replicated.
        folder: where members keep their state, each in a folder of its name, when the plan says so.
    """

    def __init__(self, plan: Plan, nursery: trio.Nursery, *, proxied: bool, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self._nursery = nursery
        self._proxied = proxied
        self._members = {name: _Process(name) for name in plan.members}
        self._clients: list[Client] = []

    @property
    def running(self) -> tuple[str, ...]:
        """Names of the members whose processes run and are not stopped."""
        members = self._members.items()
        return tuple(name for name, member in members if member.process is not None and not member.stopped)

    def url(self, name: str) -> str:
        """Where a member listens, or did."""
        return f"http://{self._members[name].address}"

    def client(self, name: str) -> Client:
        """A client of a member's latest process; kept, for making one is slow."""
        member = self._members[name]
        if member.client is None:
            member.client = Client(self.url(name))
            self._clients.append(member.client)
        return member.client

    async def start(self, name: str) -> None:
        """Start a member; one that ran before listens where it did.

        Raises:
            LiveClusterError: it does not come up; says what its process said.
        """
        member = self._members[name]
        if member.process is not None:
            return
        leader = "" if name == LEADER else await self._way_to_leader(member)
        self._file(name, "toml").write_text(self._settings(member, leader))
        if not self._file(name, "clock").exists():
            self.skew(name, 0.0)
        command = [sys.executable, "-P", str(_PROGRAM), str(self._file(name, "toml")), str(self._file(name, "clock"))]
        with self._file(name, "log").open("ab") as log:
            member.process = await trio.lowlevel.open_process(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        member.stopped = False
        member.address = await self._address(member)

    def _file(self, name: str, suffix: str) -> Path:
        return self.folder / f"{name}.{suffix}"

    def _settings(self, member: _Process, leader: str) -> str:
        """The configuration file of a member."""
        plan = self.plan
        settings = {"name": member.name, "listen": member.address, "log": "json", "log_level": "warning"}
        if leader:
            settings["cluster_url"] = leader
        if plan.durability != "memory":
            settings |= {"data": str(self.folder / member.name), "durability": plan.durability}
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        for key in plan.keys:
            lines += ["[[keys]]", f"path = {json.dumps(key)}"]
        return "\n".join([*lines, "[knobs]", *(f"{name} = {value}" for name, value in knobs_of(plan))]) + "\n"

    async def _way_to_leader(self, member: _Process) -> str:
        if not self._proxied:
            return self.url(LEADER)
        if member.proxy is None:
            member.proxy = Proxy(lambda: self._members[LEADER].address)
            await self._nursery.start(member.proxy.run)
        return member.proxy.address

    async def _address(self, member: _Process) -> str:
        assert member.process is not None
        assert member.process.stdout is not None
        said = b""
        with trio.move_on_after(START_S):
            async for chunk in member.process.stdout:
                said += chunk
                for line in said.decode(errors="replace").splitlines():
                    if line.startswith(_LISTENING) and said.endswith(b"\n"):
                        return line.removeprefix(_LISTENING + "http://").strip()
        await self.kill(member.name)
        said += self._file(member.name, "log").read_bytes()
        raise LiveClusterError(f"{member.name} did not listen within {START_S:g} s; it said {said[-200:]!r}")

    async def kill(self, name: str) -> None:
        """End a member without warning (SIGKILL)."""
        member = self._members[name]
        if member.process is not None:
            member.process.kill()
            await self._reap(member)

    def pause(self, name: str) -> None:
        """Stop a member's process (SIGSTOP); connections to it stay open."""
        self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a stopped process go on (SIGCONT)."""
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: signal.Signals) -> None:
        member = self._members[name]
        if member.process is not None:
            member.process.send_signal(number)
            member.stopped = number == signal.SIGSTOP

    def skew(self, name: str, ahead_s: float) -> None:
        """Set how far a member's wall clock is ahead, s; at once, also while it runs."""
        file = self._file(name, "clock")
        offset = round(ahead_s * 1e9).to_bytes(OFFSET_BYTES, "little", signed=True)
        # Written in place: the process has it mapped.
        with file.open("r+b" if file.exists() else "xb") as stream:
            stream.write(offset)

    async def wipe(self, name: str) -> None:
        """End a member without warning, and lose what it kept."""
        await self.kill(name)
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def said(self, name: str) -> list[dict[str, JsonValue]]:
        """Warnings and errors in a member's log, of all its processes."""
        file = self._file(name, "log")
        lines = file.read_bytes().splitlines() if file.exists() else []
        return [msgspec.json.decode(line, type=dict[str, JsonValue]) for line in lines if line.startswith(b"{")]

    async def stop(self) -> None:
        """End all members: politely first (SIGTERM), then not."""
        processes = [member for member in self._members.values() if member.process is not None]
        for member in processes:
            assert member.process is not None
            self.resume(member.name)
            member.process.terminate()
        with trio.move_on_after(STOP_S):
            for member in processes:
                assert member.process is not None
                await member.process.wait()
        for member in processes:
            assert member.process is not None
            member.process.kill()
            await self._reap(member)
        for client in self._clients:
            await client.aclose()

    async def _reap(self, member: _Process) -> None:
        assert member.process is not None
        await member.process.wait()
        for pipe in (member.process.stdin, member.process.stdout):
            if pipe is not None:
                await pipe.aclose()
        member.process = None
        member.client = None  # its connections are dead

    def cut(self, name: str) -> None:
        """Cut a node from its leader, both ways; connections break."""
        proxy = self._members[name].proxy
        if proxy is not None:
            proxy.cut()

    def heal(self) -> None:
        """Let every node reach its leader again."""
        for member in self._members.values():
            if member.proxy is not None:
                member.proxy.heal()

    async def confirm(self, name: str) -> None:
        """Say, as the operator, that the list of a leader's followers is complete."""
        async with HttpClient() as client:
            response = await client.request("POST", f"{self.url(name)}/_pivot/followers/complete")
        if response.status >= 300:
            raise LiveClusterError(f"{name} answered {response.status} when its followers were confirmed")

    async def tables(self) -> dict[str, dict[str, Item[JsonValue]]]:
        """Member -> key -> entry, of the members that run.

        Raises:
            TransportError: one of them does not answer.
        """
        tables: dict[str, dict[str, Item[JsonValue]]] = {}
        for name in self.running:
            client = self.client(name)
            table: dict[str, Item[JsonValue]] = {}
            for path in self.plan.keys:
                if "*" in path:
                    table |= {item.path: item for item in await client.get_list(path)}
                else:
                    try:
                        table[path] = await client.get(path)
                    except NotFoundError:
                        continue
            tables[name] = table
        return tables

    async def equal(self) -> bool:
        """Whether all members that run answer and show the same."""
        try:
            tables = list((await self.tables()).values())
        except TransportError:
            return False
        return all(table == tables[0] for table in tables[1:])

    async def settled(self) -> bool:
        """Whether all are equal and no node that runs has anything left to offer; one that does not answer is not."""
        if not await self.equal():
            return False
        for name in self.running:
            try:
                status = msgspec.convert(await self.client(name).status(), type=_Outboxes)
            except TransportError:
                return False
            if any(collection.outbox for collection in status.collections):
                return False
        return True


def knobs_of(plan: Plan) -> list[tuple[str, float]]:
    """Names and values of a plan's knobs."""
    return [(name, getattr(plan.knobs, name)) for name in plan.knobs.__struct_fields__]


class _Outbox(msgspec.Struct):
    outbox: int


class _Outboxes(msgspec.Struct):
    collections: list[_Outbox]


@asynccontextmanager
async def live_cluster(plan: Plan, *, proxied: bool = False) -> AsyncGenerator[LiveCluster, None]:
    """Start all members of a plan; on the way out, also on Ctrl-C, no process and no file of them is left.

    Args:
        plan: who takes part, what is replicated, and whether members keep their state on disk.
        proxied: whether nodes reach their leader through proxies, which `cut` needs.

    Raises:
        LiveClusterError: a member does not come up.
    """
    with TemporaryDirectory(prefix="pivot-") as folder:
        async with trio.open_nursery() as nursery:
            cluster = LiveCluster(plan, nursery, proxied=proxied, folder=Path(folder))
            try:
                for name in plan.members:
                    await cluster.start(name)
                yield cluster
            finally:
                with trio.CancelScope(shield=True):
                    await cluster.stop()
                nursery.cancel_scope.cancel()
