"""Scene: a cluster of the harness whose links are held by hand, so that a schedule can be told step by step.

`run` lets everything flow but what is cut or held; `end` heals the cluster and says what users must see then.
Start at `Scene.run`.
"""

from typing import Final, final

from pivot.core.messages import Envelope, Message
from pivot.core.questions import Decommission, Put, Remove, Result
from tests.core.harness import Cluster
from tests.core.host import LEADER, REGISTERED, Host, name_at, registration
from tests.core.world import Violation, WatchedDisk, read

ROUNDS_MAX: Final = 10_000


@final
class Scene:
    """A connected cluster; the operator has said that its followers are known, so tombstones are collected.

    Attributes:
        cluster: what it is made of.
        aside: envelopes that were held back, oldest first.
    """

    def __init__(self, nodes: int = 1) -> None:
        self.cluster = Cluster(nodes)
        self.aside: list[bytes] = []
        self._cut: list[str] = []
        self._held: list[tuple[type[Message], str]] = []
        self._copied: list[tuple[type[Message], str]] = []
        self.cluster.heal()
        self.cluster.confirm_followers()
        self.run(2.0)

    def host(self, name: str) -> Host:
        """A member."""
        return self.cluster.hosts[name]

    def disk(self, name: str) -> WatchedDisk:
        """What a member keeps."""
        return self.host(name).disk

    @property
    def floor(self) -> int:
        """Up to where the leader has collected tombstones of users."""
        return self.disk(LEADER).floor("users/*")

    def cursor(self, name: str) -> int:
        """How much of the leader's users a node has."""
        return self.disk(name).place("users/*").cursor

    def live(self, name: str = LEADER) -> dict[str, str]:
        """Key -> value that users see of `users/*` at a member."""
        live = sorted(self.disk(name).live().items())
        return {key: entry.data for key, entry in live if key.startswith("users/") and not key.startswith(REGISTERED)}

    # What users and operators do ---------------------------------------------------------------------------------

    def put(self, name: str, *keys: str, value: str = "1") -> None:
        """A user writes at a member, and is answered."""
        for key in keys:
            self.cluster.ask(name, Put(key, value))
            self.cluster.work(name, "storage")

    def delete(self, name: str, key: str) -> None:
        """A user deletes at a member, and is answered."""
        self.cluster.ask(name, Remove(key))
        self.cluster.work(name, "storage")

    def register(self) -> None:
        """Every node says where it is, and all know."""
        for number in range(len(self.cluster.hosts) - 1):
            key, value = registration(number)
            self.put(LEADER, key, value=value)
        self.run(2.0)

    def expire(self, name: str) -> None:
        """The leader forgets that a node follows it, and collects what that node held back."""
        self.host(LEADER).board.ask(Decommission(self.disk(name).store), _ignore)
        self.run(3.0)

    # What links do -----------------------------------------------------------------------------------------------

    def cut(self, *names: str) -> None:
        """Everything to and from these members is lost, what is under way included."""
        self._cut += names
        self.run()

    def join(self, *names: str) -> None:
        """These links work again, and the members notice."""
        self.uncut(*names)
        for name in names:
            self.cluster.hint(name, LEADER)

    def uncut(self, *names: str) -> None:
        """These links work again, and nobody is told."""
        self._cut = [name for name in self._cut if name not in names]

    def hold(self, kind: type[Message], of: str) -> None:
        """Keep messages of a kind to or from a member under way."""
        self._held.append((kind, of))

    def copy(self, kind: type[Message], of: str) -> None:
        """Messages of a kind to or from a member arrive, and are still under way."""
        self._copied.append((kind, of))

    def let(self, *kinds: type[Message]) -> None:
        """What was held of these kinds arrives now, and is held no more."""
        self._held = [(kind, of) for kind, of in self._held if kind not in kinds]
        self._copied = [(kind, of) for kind, of in self._copied if kind not in kinds]
        self._arrive(self.take(*kinds))

    def lose(self, *kinds: type[Message]) -> None:
        """What was held of these kinds is lost, and nothing more is held."""
        self._held = [(kind, of) for kind, of in self._held if kind not in kinds]
        self.take(*kinds)

    def take(self, *kinds: type[Message]) -> list[bytes]:
        """Take away what was held of these kinds, oldest first."""
        taken = [line for line in self.aside if isinstance(read(line).body, kinds)]
        self.aside = [line for line in self.aside if line not in taken]
        return taken

    def arrive(self, *lines: bytes) -> None:
        """These envelopes arrive now, one after another, whatever is held."""
        for line in lines:
            self.cluster.bag.lines.insert(0, line)
            self.cluster.deliver(0)
            self._work()
            self.cluster.check()

    def _arrive(self, lines: list[bytes]) -> None:
        self.arrive(*lines)
        self.run()

    def run(self, seconds: float = 0.0) -> None:
        """Everything arrives and everybody works, for a while."""
        until_s = self.cluster.timeline.now_s + seconds
        self._flow()
        while self.cluster.timeline.now_s < until_s:
            self.cluster.wait(0.5)
            self._flow()

    def _flow(self) -> None:
        lines = self.cluster.bag.lines
        for _ in range(ROUNDS_MAX):
            self._work()
            if not lines:
                return
            envelope = read(lines[0])
            if envelope.sender in self._cut or name_at(envelope.target) in self._cut:
                self.cluster.drop(0)
            elif _among(envelope, self._held):
                self.aside.append(lines.pop(0))
            else:
                if _among(envelope, self._copied):
                    self.aside.append(lines[0])
                self.cluster.deliver(0)
                self._work()
                self.cluster.check()
        raise Violation(f"members talk without end: {lines[:4]}")

    def _work(self) -> None:
        for name, host in self.cluster.hosts.items():
            while any(inbox.waiting for inbox in host.inboxes.values()):
                self.cluster.work(name)

    # The end -----------------------------------------------------------------------------------------------------

    def end(self, **expected: str) -> None:
        """All links work, what was held is lost, everything heals, and users see this of `users/*`.

        Raises:
            Violation: they do not.
        """
        self._cut.clear()
        self._held.clear()
        self._copied.clear()
        self.aside.clear()
        self.cluster.heal()
        want = {f"users/{name}": value for name, value in sorted(expected.items())}
        if self.live() != want:
            raise Violation(f"users see {self.live()}, they should see {want}")


def _among(envelope: Envelope, wanted: list[tuple[type[Message], str]]) -> bool:
    ends = (envelope.sender, name_at(envelope.target))
    return any(isinstance(envelope.body, kind) and of in ends for kind, of in wanted)


def _ignore(_: Result) -> None:
    """Nobody waits for that answer."""
