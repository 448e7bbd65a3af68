"""A double of the original (protocol "2.0"), written from what is known of it, with its weaknesses.

It keeps one maximum of time per list and picks one direction for the whole list; it reads "absent there" as "deleted
there"; a POST overwrites, whatever is there; the index is taken from the body; a single key that is missing is a 500.
A leader calls its nodes after each write, but not the one that made it; a node pings `GET /` of its leader.
"""

import json
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import trio
from quart import Response, request
from quart_trio import QuartTrio

from pivot.transport.http_client import HttpClient, TransportError
from tests.contracts.hosts import hosted

PING_S: Final = 3.0
CALL_S: Final = 10.0


class Original:
    """One server of the original: a leader, or a node when it has a leader.

    Attributes:
        url: where it listens.
        table: key -> object.
        tombstones: collection -> time of the last deletion.
        calls: requests that came in, method and path.
        deaf: whether it keeps to itself what is written here, as when its leader cannot be reached.
    """

    def __init__(self, keys: Iterable[str], *, nodes_key: str = "", leader: str = "") -> None:
        self.url = ""
        self.table: dict[str, dict[str, Any]] = {}
        self.tombstones: dict[str, int] = {}
        self.calls: list[str] = []
        self.deaf = False
        self._keys = tuple(keys) + ((nodes_key,) if nodes_key else ())
        self._nodes_key = nodes_key
        self._leader = leader
        self._last = 0
        self._nursery: trio.Nursery
        self._http: HttpClient
        self.app = self._routes()

    # What its users do ---------------------------------------------------------------------------------------------

    async def set(self, key: str, data: object) -> None:
        now, known = self._now(), self.table.get(key)
        created, updated = (known["created"], now) if known else (now, 0)
        self._keep(key, created, updated, data)
        await self._after_write(key)

    async def delete(self, key: str) -> None:
        del self.table[key]
        self.tombstones[_base(self._path_of(key))] = now = self._now()
        await self._after_write(key, deleted_at=now)

    def values(self, prefix: str = "") -> dict[str, object]:
        return {key: wrote["data"] for key, wrote in sorted(self.table.items()) if key.startswith(prefix)}

    # What it does by itself ----------------------------------------------------------------------------------------

    async def _after_write(self, key: str, *, deleted_at: int = 0, writer: str = "") -> None:
        path = self._path_of(key)
        if not self._leader:
            for node in self._nodes():
                if node != writer:
                    self._nursery.start_soon(self._call, node, path)
        elif not self.deaf:
            try:
                if deleted_at:
                    await self._ask("DELETE", self._leader, f"/_pivot/pivot/{key}/{deleted_at}")
                else:
                    await self._send(key)
            except TransportError:
                pass  # and never again by itself

    async def _call(self, node: str, path: str) -> None:
        with suppress(TransportError):
            await self._ask("GET", f"http://{node}", f"/_pivot/synchronize/pivot?key={path}")

    async def pull(self, path: str) -> None:
        theirs = json.loads(await self._ask("GET", self._leader, f"/_pivot/activity/{_base(path)}"))["lastEntry"]
        if theirs <= self._activity(path):
            return
        try:
            said: Any = json.loads(await self._ask("GET", self._leader, f"/_pivot/pivot/{path}"))
        except TransportError:
            self.table.pop(path, None)
            return
        objects: list[dict[str, Any]] = said if path.endswith("*") else [said]
        listed = {each["path"]: each for each in objects}
        for key in [key for key in self._of(path) if key not in listed]:
            del self.table[key]
        for key, each in listed.items():
            known = self.table.get(key)
            if known is None or each["updated"] > known["updated"]:
                self._keep(key, each["created"], each["updated"], each["data"])

    async def ping(self) -> None:
        while True:
            with suppress(TransportError):
                await self._ask("GET", self._leader, "/")
            await trio.sleep(PING_S)

    # Its routes ----------------------------------------------------------------------------------------------------

    def _routes(self) -> QuartTrio:
        app = QuartTrio("original")

        @app.before_request
        async def note() -> None:
            key = request.args.get("key", "")
            self.calls.append(f"{request.method} {request.path} {key}".strip())

        @app.get("/")
        async def root() -> str:
            return "<html></html>"

        @app.get("/_pivot/version")
        async def version() -> dict[str, str]:
            return {"protocol": "2.0", "package": "original"}

        @app.get("/_pivot/pivot")
        @app.get("/_pivot/synchronize/pivot")
        async def synchronize() -> tuple[str, int]:
            if not self._leader:
                return "no syncers configured", 400
            for path in [request.args["key"]] if "key" in request.args else self._keys:
                with suppress(TransportError):  # it says 200 all the same
                    await self.pull(path)
            return "", 200

        @app.get("/_pivot/activity/<path:name>")
        async def activity(name: str) -> Response:
            paths = [path for path in self._keys if _base(path) == name]
            if not paths:
                return Response("", status=404)
            return Response(json.dumps({"lastEntry": self._activity(paths[0])}))

        @app.get("/_pivot/pivot/<path:path>")
        async def read(path: str) -> Response:
            if path.endswith("/*"):
                listed = sorted((self.table[key] for key in self._of(path)), key=lambda each: each["created"])
                return Response(json.dumps(listed))
            if path in self.table:
                return Response(json.dumps(self.table[path]))
            return Response("storage: not found", status=500)

        @app.post("/_pivot/pivot/<path:key>")
        async def write(key: str) -> tuple[str, int]:
            each = json.loads(await request.get_data())
            path = self._path_of(key)
            key = f"{_base(path)}/{each['index']}" if path.endswith("*") else path
            self._keep(key, each["created"], each["updated"], each["data"])
            await self._after_write(key, writer=request.headers.get("X-Pivot-Originator", ""))
            return "", 200

        @app.delete("/_pivot/pivot/<path:key>/<int:when>")
        async def delete(key: str, when: int) -> tuple[str, int]:
            self.tombstones[_base(self._path_of(key))] = when
            if self.table.pop(key, None) is None:
                return "", 500
            await self._after_write(key, writer=request.headers.get("X-Pivot-Originator", ""))
            return "", 200

        @app.post("/<path:key>")
        async def anything(key: str) -> tuple[str, int]:
            self.table[key] = {"data": str(await request.get_data(as_text=True))}  # also a greeting that is none of its
            return "", 200

        return app

    # Its parts -----------------------------------------------------------------------------------------------------

    def _now(self) -> int:
        self._last = max(time.time_ns(), self._last + 1)
        return self._last

    def _keep(self, key: str, created: int, updated: int, data: object) -> None:
        index = key.rsplit("/", 1)[-1]
        self.table[key] = {"created": created, "updated": updated, "index": index, "path": key, "data": data}

    def _path_of(self, key: str) -> str:
        return key if key in self._keys else key.rsplit("/", 1)[0] + "/*"

    def _of(self, path: str) -> list[str]:
        return [key for key in self.table if self._path_of(key) == path]

    def _activity(self, path: str) -> int:
        stamps = [max(self.table[key]["created"], self.table[key]["updated"]) for key in self._of(path)]
        return max([*stamps, self.tombstones.get(_base(path), 0)])

    def _nodes(self) -> list[str]:
        entries = [self.table[key]["data"] for key in self._of(self._nodes_key)] if self._nodes_key else []
        return [f"{entry['ip']}:{entry['port']}" for entry in entries if entry.get("port")]

    async def _send(self, key: str) -> None:
        await self._ask("POST", self._leader, f"/_pivot/pivot/{key}", json.dumps(self.table[key]).encode())

    async def _ask(self, method: str, url: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"X-Pivot-Originator": self.url.removeprefix("http://")}
        response = await self._http.request(method, url + path, content=body, headers=headers, timeout_s=CALL_S)
        if response.status != 200:
            raise TransportError(f"{method} {url}{path} answered {response.status}")
        return response.body

    @asynccontextmanager
    async def running(self, bind: str = "127.0.0.1:0") -> AsyncGenerator[str]:
        """It listens; its URL."""
        async with hosted(self.app, bind, grace_s=0.1) as server, HttpClient(connect_s=5) as http:
            self.url, self._http = server.url, http
            async with trio.open_nursery() as self._nursery:
                if self._leader:
                    self._nursery.start_soon(self.ping)
                yield server.url
                self._nursery.cancel_scope.cancel()


def _base(path: str) -> str:
    return path.removesuffix("/*")
