"""What the add-on's parts share, without a cluster: nodes and machines are put there by a test, and
what is asked of the API server is kept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.addons.karpenter.builders import NOW
from tiphys.addons.karpenter.shared import Shared
from tiphys.addons.karpenter.state import StateNode
from tiphys.api.base import to_builtins


class Counted:
    """Counts by labels; any metric is one."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, ...], int] = {}

    def labels(self, *labels: str) -> Any:
        def inc() -> None:
            self.counts[labels] = self.counts.get(labels, 0) + 1

        return SimpleNamespace(inc=inc)


class Reports:
    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    def begun(self, pool: str, entry: Any, now: float) -> None:
        self.said.append(("begun", pool, entry.reason, entry.node_claim, entry.allowed))

    def drained(self, pool: str, claim: str) -> None:
        self.said.append(("drained", pool, claim))

    def given_up(self, pool: str, claim: str) -> None:
        self.said.append(("given up", pool, claim))

    def held(self, pool: str, what: str, why: str) -> None:
        self.said.append(("held", pool, what, why))

    async def write(self) -> None:
        self.said.append(("written",))


class Cloud:
    def __init__(self) -> None:
        self.there: dict[str, Any] = {}
        self.deleted: list[str] = []

    def add(self, state: StateNode, **more: Any) -> None:
        assert state.claim is not None
        id_ = state.claim.status.provider_id
        self.there[id_] = SimpleNamespace(id=id_, **more)

    def machines(self) -> list[Any]:
        return list(self.there.values())

    def get(self, id_: str) -> Any:
        return self.there.get(id_)

    async def delete(self, id_: str) -> None:
        self.deleted.append(id_)

    def on_notice(self, notice: Any) -> None:
        pass


class Claims(list[Any]):
    def get(self, name: str) -> Any:
        return next((one for one in self if one.name == name), None)


class Cluster:
    def __init__(self) -> None:
        self.marked: dict[str, str] = {}
        self.all: list[StateNode] = []
        self.pools: list[Any] = []
        self.attachments: list[Any] = []
        self.scarce: list[Any] = []
        self.offered: list[Any] = []
        self.noted: list[Any] = []

    def states(self, now: float) -> list[StateNode]:
        return self.all

    @property
    def claims(self) -> Claims:
        return Claims(one.claim for one in self.all if one.claim is not None)

    @property
    def nodes(self) -> dict[str, Any]:
        return {one.name: one.node for one in self.all if one.node is not None}

    def node_of(self, claim: Any) -> Any:
        return next((one.node for one in self.all if one.claim is claim), None)

    def pods_on(self, name: str) -> list[Any]:
        return [pod for one in self.all if one.name == name for pod in one.pods]

    def offers(self, states: Any, now: float) -> list[Any]:
        return self.offered

    def note_scarce(self, key: Any, now: float) -> None:
        self.scarce.append(key)

    def note_node(self, node: Any) -> None:
        self.noted.append(node)


class Server:
    """`fails` are errors by what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.fails: dict[str, Exception] = {}

    def _ask(self, verb: str, name: str, *more: Any) -> None:
        self.asked.append((verb, name, *more))
        if verb in self.fails:
            raise self.fails[verb]

    async def patch(self, kind: Any, name: str, patch: Any, *, media: str) -> Any:
        self._ask("patch", f"{kind.__name__} {name}", patch)
        return f"{name} as written"

    async def delete(
        self, kind: Any, name: str, namespace: str = "", *, uid: str, grace: int | None = None
    ) -> None:
        more = (grace,) if grace is not None else ()
        self._ask("delete", f"{kind.__name__} {name}", *more)

    async def post(self, kind: Any, namespace: str, name: str, sub: str, obj: Any) -> None:
        uid = to_builtins(obj)["deleteOptions"]["preconditions"]["uid"]
        self._ask("evict", f"{namespace}/{name}", uid)


class Pretended(Shared):
    def __init__(self, *states: StateNode) -> None:
        self.server, self.machines, self.world = Server(), Cloud(), Cluster()
        self.log = Reports()
        self.time = NOW
        self.events: list[tuple[str, str, bool]] = []
        self.disrupted: list[tuple[str, str]] = []
        self.conditions: list[tuple[str, str, str]] = []
        self.counted: dict[str, Counted] = {
            name: Counted()
            for name in ("evictions", "nodes_drained", "failed_commands", "decisions")
        }
        metrics = SimpleNamespace(
            **self.counted,
            claim_disrupted=lambda claim, reason: self.disrupted.append((claim.name, reason)),
        )
        context = SimpleNamespace(client=self.server, now=lambda: self.time)
        times = SimpleNamespace(drain=0.0)
        parts: Any = (context, None, times, self.machines, self.world, metrics, self.log)
        super().__init__(*parts)
        self.world.all = list(states)

    def event(self, obj: Any, reason: str, message: str, warning: bool = False) -> None:
        self.events.append((reason, message, warning))

    async def set_condition(self, name: str, wanted: Any, type_: str) -> None:
        self.conditions.append((type_, wanted.status, wanted.reason))

    def asked(self, verb: str) -> list[Any]:
        """What was asked by that verb, which is forgotten."""
        found = [one[1:] for one in self.server.asked if one[0] == verb]
        self.server.asked = [one for one in self.server.asked if one[0] != verb]
        return [one[0] if len(one) == 1 else one for one in found]


def shared(*states: StateNode) -> Pretended:
    """Each node with its machine."""
    made = Pretended(*states)
    for one in states:
        if one.claim is not None:
            made.machines.add(one)
    return made
