"""Command line: what `pivot` can be told.

Layer: edge. Each command imports what it needs when it runs: `pivot --help` must not pay for Trio or a web server.
Data goes to stdout, talk to stderr.
"""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter

from pivot import experiments, verbs
from pivot.verbs import LOCAL, Json

app = App(
    name="pivot",
    help="Keep many servers' state in step: one leader, any number of nodes, last write wins.",
    help_epilogue="Every command takes --debug: errors then come with their traceback.",
    version=lambda: __import__("importlib.metadata").metadata.version("pivot-trio"),
    help_format="plaintext",
)
_RUN = Group("Run", sort_key=1)
_DATA = Group("Data", sort_key=2)
_STORE = Group("Store", sort_key=3)

File = Annotated[str, Parameter(allow_leading_hyphen=True)]  # - is stdin or stdout

for _verb in (verbs.get, verbs.set, verbs.push, verbs.patch, verbs.ls, verbs.watch, verbs.status, verbs.followers):
    app.command(_verb, group=_DATA)
app.command(verbs.delete, name="del", group=_DATA)
experiments.sim.group = _RUN
app.command(experiments.sim)


@app.command(group=_RUN)
def demo(
    *,
    seed: Annotated[int, Parameter(help="Seed of the simulated half.")] = 7,
    as_json: Json = False,
) -> int:
    """Show a real cluster losing its leader and getting back in step, then the same story in the simulator."""
    from simulator.experiment.demo import run_demo

    return run_demo(seed=seed, as_json=as_json)


@app.command(group=_RUN)
def serve(
    *,
    listen: Annotated[
        str | None,
        Parameter(env_var="PIVOT_LISTEN", help="host:port; port 0 lets the system pick. [default: " + LOCAL + "]"),
    ] = None,
    cluster_url: Annotated[
        str | None,
        Parameter(
            name=["--cluster-url", "--leader"],
            env_var="PIVOT_CLUSTER_URL",
            help="The leader's address; none: this member is the leader.",
        ),
    ] = None,
    key: Annotated[
        list[str] | None,
        Parameter(
            name="--key",
            negative="",
            env_var="PIVOT_KEYS",
            help="Key or glob to keep in step; repeat it for more. In PIVOT_KEYS, put spaces between them.",
        ),
    ] = None,
    nodes_key: Annotated[
        str | None, Parameter(env_var="PIVOT_NODES_KEY", help="List such as things/* in which nodes register.")
    ] = None,
    advertise: Annotated[
        str | None,
        Parameter(env_var="PIVOT_ADVERTISE", help="host:port to register under the nodes key; auto: where we listen."),
    ] = None,
    name: Annotated[str | None, Parameter(env_var="PIVOT_NAME", help="How peers call this member.")] = None,
    data: Annotated[
        str | None, Parameter(env_var="PIVOT_DATA", help="Folder to keep the state in; none: in memory only.")
    ] = None,
    durability: Annotated[
        Literal["full", "normal", "memory"] | None,
        Parameter(
            env_var="PIVOT_DURABILITY",
            help="What a write survives: full a power cut, normal the end of the process, memory neither. "
            "[default: full with --data, else memory]",
        ),
    ] = None,
    cluster_id: Annotated[
        str | None, Parameter(env_var="PIVOT_CLUSTER_ID", help="Which cluster this is; members of others are refused.")
    ] = None,
    foreign_cluster: Annotated[
        Literal["refuse", "wipe", "merge"] | None,
        Parameter(env_var="PIVOT_FOREIGN_CLUSTER", help="What to do when the leader is of another cluster."),
    ] = None,
    mesh: Annotated[
        bool | None,
        Parameter(
            env_var="PIVOT_MESH",
            help="Read from other nodes, which register under the nodes key, while the leader is away. [default: yes]",
        ),
    ] = None,
    config: Annotated[
        Path | None, Parameter(env_var="PIVOT_CONFIG", help="TOML file; flags win over variables over it.")
    ] = None,
    log: Annotated[Literal["text", "json"] | None, Parameter(env_var="PIVOT_LOG", help="Form of the log.")] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None, Parameter(env_var="PIVOT_LOG_LEVEL")
    ] = None,
) -> None:
    """Run a member: a leader, or a node that follows one."""
    from pivot.config import Key
    from pivot.serving import Settings, read_settings, serve

    flags = Settings(
        listen=listen,
        cluster_url=cluster_url,
        cluster_id=cluster_id,
        foreign_cluster=foreign_cluster,
        mesh=mesh,
        keys=tuple(Key(path) for path in key) if key is not None else None,
        nodes_key=nodes_key,
        advertise=advertise,
        name=name,
        data=data,
        durability=durability,
        log=log,
        log_level=log_level,
    )
    serve(flags.over(read_settings(config)) if config is not None else flags)


@app.command(group=_STORE)
def backup(
    file: File,
    /,
    *,
    url: Annotated[
        str | None, Parameter(help="Running server to back up. [env: PIVOT_URL] [default: " + LOCAL + "]")
    ] = None,
    data: Annotated[Path | None, Parameter(help="Folder of a store that no process has open, instead.")] = None,
    as_json: Json = False,
) -> None:
    """Write everything a server holds into one file; - writes to stdout."""
    from pivot.backup import STANDARD, backup
    from pivot.errors import ConfigError

    _check_file(file)
    if url is not None and data is not None:
        raise ConfigError(f"--url is {url!r} and --data is {str(data)!r}: a backup is of one of them")
    if as_json and file == STANDARD:
        raise ConfigError("--json prints on stdout, where the backup goes already")
    source = None if data is not None else url or os.environ.get("PIVOT_URL") or LOCAL
    done = backup(file, url=source, folder=data)
    if as_json:
        print(json.dumps({name: getattr(done, name) for name in done.__struct_fields__}))
    else:
        said = (
            f"{done.entries:,} entries and {done.tombstones:,} tombstones of store {done.store}, {done.bytes:,} bytes"
        )
        print(f"backup: {said}, verified", file=sys.stderr)


@app.command(group=_STORE)
def restore(
    file: File,
    /,
    *,
    data: Annotated[Path, Parameter(env_var="PIVOT_DATA", help="Folder for the store; empty or not there yet.")],
    force: Annotated[bool, Parameter(negative="", help="Replace the store that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Make a store from a backup, in a new epoch: nodes then offer it what they have; - reads from stdin."""
    from pivot.backup import restore

    _check_file(file)
    done = restore(file, folder=data, force=force)
    if as_json:
        print(json.dumps({name: getattr(done, name) for name in done.__struct_fields__}))
    else:
        said = f"{done.entries:,} entries and {done.tombstones:,} tombstones"
        print(f"restore: {said}, verified; store {done.store} in {data}", file=sys.stderr)


def _check_file(file: str) -> None:
    if file.startswith("-") and file != "-":
        from pivot.errors import ConfigError

        raise ConfigError(f"{file!r} is no option; a file of that name is ./{file}")
