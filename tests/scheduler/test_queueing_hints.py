"""What may help a pod that fits nowhere: never too little, and not just anything."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable
from typing import Any

import pytest

from tests.builders import node, pod
from tests.scheduler.builders import framework, info, snapshot_of
from tiphys.api import core_v1
from tiphys.scheduler import cluster_events
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.configuration import Profile
from tiphys.scheduler.placement import Placement
from tiphys.scheduler.plugins.base import ScoreOnly
from tiphys.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from tiphys.scheduler.plugins.node_affinity import NodeAffinity
from tiphys.scheduler.plugins.registry import plugins_of
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

HOST = "kubernetes.io/hostname"


class World:
    """A small cluster and one pod that waits, kept as the scheduler keeps them."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.snapshot = Snapshot()
        self.scheduling = framework(self.snapshot)
        self.nodes: dict[str, core_v1.Node] = {}
        self.pods: dict[str, core_v1.Pod] = {}

    def put_node(self, new: core_v1.Node) -> list[ClusterEvent]:
        old = self.nodes.get(new.metadata.name)
        self.nodes[new.metadata.name] = new
        self.snapshot.put_node(new)
        return list(cluster_events.node_events(old, new))

    def remove_node(self, name: str) -> list[ClusterEvent]:
        old = self.nodes.pop(name)
        self.snapshot.remove_node(name)
        return list(cluster_events.node_events(old, None))

    def put_pod(self, new: core_v1.Pod) -> list[ClusterEvent]:
        old = self.pods.get(new.metadata.uid)
        self.pods[new.metadata.uid] = new
        self.snapshot.put_pod(PodInfo(new), new.spec.node_name)
        return list(cluster_events.pod_events(old, new))

    def remove_pod(self, uid: str) -> list[ClusterEvent]:
        old = self.pods.pop(uid)
        self.snapshot.remove_pod(uid)
        return list(cluster_events.pod_events(old, None))

    def helped(
        self, waiting: PodInfo, placement: Placement, happened: Iterable[ClusterEvent]
    ) -> bool:
        if not placement.unschedulable_plugins:
            return True
        return any(
            change.kind in plugin.events and plugin.queueing_hint(change, self.snapshot, waiting)
            for change in happened
            for plugin in placement.unschedulable_plugins
        )

    # --- at random ---

    def some_node(self, name: str) -> core_v1.Node:
        draw = self.random
        made = node(name, cpu=str(draw.choice((1, 2, 4))))
        if draw.random() < 0.8:
            made.metadata.labels["zone"] = draw.choice("ab")
        if draw.random() < 0.4:
            made.metadata.labels["disk"] = "ssd"
        if draw.random() < 0.3:
            made.spec.taints = [core_v1.Taint(key=draw.choice("kl"), effect="NoSchedule")]
        made.spec.unschedulable = draw.random() < 0.1
        return made

    def some_pod(self, uid: str, picky: bool = False) -> core_v1.Pod:
        draw = self.random
        container: dict[str, Any] = {"name": "c", "image": "i"}
        container["resources"] = {"requests": {"cpu": f"{draw.choice((100, 500, 1000, 2000))}m"}}
        if draw.random() < 0.2:
            container["ports"] = [{"containerPort": 80, "hostPort": 80}]
        spec: dict[str, Any] = {"containers": [container], "labels": {"app": draw.choice("xy")}}
        term = {
            "topologyKey": draw.choice((HOST, "zone")),
            "labelSelector": {"matchLabels": {"app": draw.choice("xy")}},
        }
        wish = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        chance = draw.random()
        if chance < 0.2:
            spec["affinity"] = {"podAntiAffinity": wish}
        elif chance < 0.4 and picky:
            spec["affinity"] = {"podAffinity": wish}
        elif chance < 0.7 and picky:
            spread = {
                "maxSkew": 1,
                "topologyKey": draw.choice((HOST, "zone")),
                "whenUnsatisfiable": "DoNotSchedule",
            }
            spread["labelSelector"] = {"matchLabels": {"app": draw.choice("xy")}}
            spread["nodeTaintsPolicy"] = draw.choice(("Honor", "Ignore"))
            spec["topologySpreadConstraints"] = [spread]
        if picky and draw.random() < 0.3:
            spec["nodeSelector"] = {"disk": "ssd"}
        if draw.random() < 0.3:
            spec["tolerations"] = [{"key": "k", "operator": "Exists"}]
        made = pod(uid, **spec)
        made.metadata.uid = uid
        if not picky:
            made.spec.node_name = draw.choice(list(self.nodes))
        return made

    def something(self) -> list[ClusterEvent]:
        draw = self.random
        what = draw.randrange(8)
        if what == 0:
            return self.put_node(self.some_node("new"))
        if what == 1 and len(self.nodes) > 1:
            name = draw.choice(list(self.nodes))
            for uid in [uid for uid, p in self.pods.items() if p.spec.node_name == name]:
                del self.pods[uid]  # their objects go later, and say nothing new then
            return self.remove_node(name)
        if what == 2:
            return self.put_node(self.some_node(draw.choice(list(self.nodes))))
        if what <= 4:  # nothing but its labels
            changed_node = copy.deepcopy(self.nodes[draw.choice(list(self.nodes))])
            changed_node.metadata.labels |= {
                draw.choice(("zone", "disk")): draw.choice(("a", "b", "c", "ssd"))
            }
            return self.put_node(changed_node)
        if what == 5 or not self.pods:
            return self.put_pod(self.some_pod("late"))
        uid = draw.choice(list(self.pods))
        if what == 6:
            return self.remove_pod(uid)
        changed = copy.deepcopy(self.pods[uid])
        if draw.random() < 0.5:
            changed.metadata.labels = {"app": draw.choice("xyz")}
        else:
            changed.spec.containers[0].resources.requests = {"cpu": "50m"}  # type: ignore[dict-item]
        return self.put_pod(changed)


@pytest.mark.parametrize("part", range(4))
def test_a_change_that_makes_room_is_never_overlooked(part: int) -> None:
    made_room = kept_still = 0
    for seed in range(part * 1500, part * 1500 + 1500):
        world = World(seed)
        for number in range(world.random.randint(1, 4)):
            world.put_node(world.some_node(f"n{number}"))
        for number in range(world.random.randint(0, 6)):
            world.put_pod(world.some_pod(f"p{number}"))
        waiting = PodInfo(world.some_pod("waiting", picky=True))
        placement = world.scheduling.place(waiting)
        if placement.node:
            continue
        happened = world.something()
        helped = world.helped(waiting, placement, happened)
        if world.scheduling.place(waiting).node:
            made_room += 1
            assert helped, (seed, placement.message, happened)
        kept_still += not helped
    assert made_room > 30 and kept_still > 200


def full(name: str, **labels: str) -> core_v1.Node:
    return node(name, cpu="1", **labels)


def waiting_for(world: World, **spec: Any) -> tuple[PodInfo, Placement]:
    made = pod("w", **spec)
    made.metadata.uid = "w"
    info = PodInfo(made)
    found = world.scheduling.place(info)
    assert not found.node
    return info, found


def test_what_cannot_help_brings_nobody_back() -> None:
    world = World()
    world.put_node(full("a"))
    large = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "3"}}}]
    info, found = waiting_for(world, containers=large)
    assert not world.helped(info, found, world.put_node(full("b")))  # too small as well
    assert world.helped(info, found, world.put_node(node("c", cpu="4")))
    picky, found = waiting_for(world, nodeSelector={"disk": "ssd"})
    assert not world.helped(picky, found, world.put_node(full("a", colour="red")))
    assert not world.helped(picky, found, world.put_node(node("d", cpu="4")))
    assert world.helped(picky, found, world.put_node(full("a", disk="ssd")))


def test_taints_that_a_pod_bears_are_no_reason_to_wait() -> None:
    world = World()
    closed = full("a")
    closed.spec.taints = [
        core_v1.Taint(key="k", effect="NoSchedule"),
        core_v1.Taint(key="l", effect="NoSchedule"),
    ]
    world.put_node(closed)
    info, found = waiting_for(world)
    ajar = copy.deepcopy(closed)
    ajar.spec.taints = ajar.spec.taints[:1]
    assert not world.helped(info, found, world.put_node(ajar))
    assert world.helped(info, found, world.put_node(full("a")))


def test_only_claims_of_its_own_concern_a_pod() -> None:
    world = World()
    world.put_node(full("a"))
    info, found = waiting_for(
        world, volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "mine"}}]
    )
    for name, helps in (("mine", True), ("other", False)):
        claim = core_v1.PersistentVolumeClaim()
        claim.metadata.name, claim.metadata.namespace = name, "default"
        assert world.helped(info, found, [ClusterEvent(EventKind.STORAGE, obj=claim)]) is helps


# --- single plugins ---


def changed(old: core_v1.Node | None, new: core_v1.Node) -> ClusterEvent:
    kind = EventKind.NODE_ADDED if old is None else EventKind.NODE_LABELS
    return ClusterEvent(kind, node=new, old_node=old)


@pytest.mark.parametrize(
    ("old", "new", "helps"),
    [
        (None, node("n", disk="ssd"), True),
        (None, node("n"), False),
        (node("n"), node("n", disk="ssd"), True),
        (node("n", disk="ssd"), node("n", disk="ssd", more="x"), False),
        (node("n", disk="ssd"), node("n"), False),
    ],
)
def test_a_node_that_matches_now_helps_and_one_that_did_before_does_not(
    old: core_v1.Node | None, new: core_v1.Node, helps: bool
) -> None:
    one = info("p", nodeSelector={"disk": "ssd"})
    plugin = NodeAffinity(1, {})
    assert plugin.queueing_hint(changed(old, new), snapshot_of(), one) is helps


def near(kind: str = "podAffinity", app: str = "db", key: str = "zone") -> dict[str, Any]:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


@pytest.mark.parametrize(
    ("event", "helps"),
    [
        (ClusterEvent(EventKind.NODE_ADDED, node=node("n", zone="a")), True),
        (ClusterEvent(EventKind.NODE_ADDED, node=node("n")), False),
        (ClusterEvent(EventKind.POD_ASSIGNED, pod=info("q", labels={"app": "db"})), True),
        (ClusterEvent(EventKind.POD_ASSIGNED, pod=info("q", labels={"app": "web"})), False),
        (ClusterEvent(EventKind.POD_DELETED, pod=info("q", labels={"app": "db"})), True),
        (ClusterEvent(EventKind.POD_DELETED, pod=info("q", labels={"app": "web"})), False),
        (
            ClusterEvent(
                EventKind.POD_LABELS, pod=info("q"), old_pod=info("q", labels={"app": "db"})
            ),
            True,
        ),
        (ClusterEvent(EventKind.POD_LABELS, pod=info("q"), old_pod=info("q")), False),
        (changed(node("n"), node("n", zone="a")), True),
        (changed(node("n", zone="a"), node("n", zone="a", more="x")), False),
    ],
)
def test_what_helps_a_pod_that_wants_to_be_near_others(event: ClusterEvent, helps: bool) -> None:
    one = info("p", **near())
    assert InterPodAffinity(1, {}).queueing_hint(event, snapshot_of(), one) is helps


def test_a_plugin_that_does_not_filter_may_score() -> None:
    profile = Profile()
    names = {type(plugin).__name__ for plugin in plugins_of(profile)}
    assert {"NodeAffinity", "ImageLocality"} <= names
    only = Profile(filters=frozenset(), weights={"NodeAffinity": 2})
    [plugin] = plugins_of(only)
    assert isinstance(plugin, ScoreOnly)
