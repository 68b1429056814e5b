"""A new node image in the maintenance window: every node is replaced, nobody notices."""

from __future__ import annotations

import asyncio
import datetime
import random
import time

import pytest

from tests.addons.karpenter.world import CLASS, World, deployment, world
from tiphys.addons.karpenter.reporting import page
from tiphys.addons.karpenter.state import counts_of
from tiphys.addons.karpenter.types import DisruptionReport, NodeClaim
from tiphys.api import core_v1, policy_v1
from tiphys.api.discovery_v1 import EndpointSlice
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.client.informer import Informer
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import timestamps

_NODES = 19
_MOST = 4
_RATE = 50  # requests a second
_PATIENCE = 900.0  # seconds: only a busy machine needs as many

POOL = {
    "template": {
        "spec": {
            "requirements": [
                {"key": "cloud.tiphys.dev/instance-cpu", "operator": "In", "values": ["2"]},
                {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
            ],
            "nodeClassRef": {
                "group": "karpenter.tiphys.dev",
                "kind": "TiphysNodeClass",
                "name": "default",
            },
        }
    },
    "disruption": {
        "consolidateAfter": "Never",
        "budgets": [
            {"nodes": "20%"},
            {"nodes": str(_MOST)},
            # nothing but from two to six at night
            {"nodes": "0", "schedule": "0 6 * * *", "duration": "20h"},
        ],
    },
}


class Requests:
    """Asks a ready endpoint of one service after the other, as a proxy would: it knows of endpoints
    what an informer has told it. A pod answers while its containers run on a machine that runs."""

    def __init__(self, w: World, services: list[str], tasks: TaskGroup) -> None:
        self._w = w
        self._services = services
        self._slices = Informer(w.client, EndpointSlice)
        tasks.start(self._slices.run(), "slices")
        self.sent = 0
        self.failed: list[str] = []

    async def run(self) -> None:
        await self._slices.synced.wait()
        began = time.monotonic()
        while True:
            await asyncio.sleep(1 / _RATE)
            due = int((time.monotonic() - began) * _RATE)  # also when this loop has had to wait
            while self.sent < due:
                service = self._services[self.sent % len(self._services)]
                self.sent += 1
                problem = await self._ask(service)
                if problem:
                    self.failed.append(f"{service}: {problem}")

    async def _ask(self, service: str) -> str:
        """What went wrong; "" for an answer."""
        ready = [
            endpoint
            for slice_ in self._slices
            if slice_.metadata.labels.get("kubernetes.io/service-name") == service
            for endpoint in slice_.endpoints
            if endpoint.conditions.ready and endpoint.target_ref is not None
        ]
        if not ready:
            return "no endpoint is ready"
        chosen = random.choice(ready)
        assert chosen.target_ref is not None
        if await self._w.shared.cloud.answers(chosen.node_name or "", chosen.target_ref.uid):
            return ""
        pod = self._w.shared.cluster.pods.get(f"default/{chosen.target_ref.name}")
        ends = pod.metadata.deletion_timestamp if pod is not None else "gone"
        return f"pod {chosen.target_ref.name} on {chosen.node_name} does not answer, ends {ends}, now {timestamps.rfc3339(time.time())}"


async def workloads(w: World) -> list[str]:
    """Twelve deployments of three, with a budget that lets one of them go, and two single pods."""
    names = [f"web-{number}" for number in range(12)]
    for name in names:
        await w.client.create(
            policy_v1.PodDisruptionBudget(
                metadata=ObjectMeta(name=name, namespace="default"),
                spec=policy_v1.PodDisruptionBudgetSpec(
                    min_available=2, selector=LabelSelector(match_labels={"app": name})
                ),
            )
        )
        service = core_v1.Service(metadata=ObjectMeta(name=name, namespace="default"))
        service.spec.selector = {"app": name}
        service.spec.ports = [core_v1.ServicePort(port=80)]
        await w.client.create(service)
        await w.client.create(_web(name, 3))
    await w.client.create(_web("single", 2))
    return names


def _one_a_node():
    """A pod that wants a node of its own kind for itself: so there are nineteen nodes."""
    made = deployment("alone", _NODES, "100m")
    term = core_v1.PodAffinityTerm(
        label_selector=LabelSelector(match_labels={"app": "alone"}),
        topology_key="kubernetes.io/hostname",
    )
    made.spec.template.spec.termination_grace_period_seconds = 1800
    made.spec.template.spec.affinity = core_v1.Affinity(
        pod_anti_affinity=core_v1.PodAntiAffinity(
            required_during_scheduling_ignored_during_execution=[term]
        )
    )
    return made


def _web(name: str, replicas: int):
    made = deployment(name, replicas, "900m")
    made.spec.template.spec.termination_grace_period_seconds = 1800
    container = made.spec.template.spec.containers[0]
    container.lifecycle = core_v1.Lifecycle(
        pre_stop=core_v1.LifecycleHandler(sleep=core_v1.SleepAction(seconds=2))
    )
    spread = core_v1.TopologySpreadConstraint(
        max_skew=1,
        topology_key="kubernetes.io/hostname",
        when_unsatisfiable="ScheduleAnyway",
        label_selector=LabelSelector(match_labels={"app": name}),
    )
    made.spec.template.spec.topology_spread_constraints = [spread]
    return made


def at(w: World, hour: int, minute: int, second: int = 0) -> None:
    """Turns the clock on to the next such time (UTC)."""
    now = datetime.datetime.fromtimestamp(w.now(), datetime.UTC)
    then = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
    while then <= now:
        then += datetime.timedelta(days=1)
    w.turn((then - now).total_seconds())


@pytest.mark.slow
async def test_a_new_image_in_the_window_of_the_night() -> None:
    tasks = TaskGroup("requests")
    async with world() as w:
        at(w, 12, 0)
        await w.apply(CLASS)
        await w.pool(**POOL)
        await w.client.create(_one_a_node())
        await w.cluster.eventually(lambda: w.running(_NODES), _PATIENCE)
        services = await workloads(w)
        await w.cluster.eventually(lambda: w.running(_NODES + 38), _PATIENCE)
        before = {claim.name for claim in await w.claims()}
        assert len(before) == _NODES
        requests = Requests(w, services, tasks)
        tasks.start(requests.run(), "requests")
        most = [0]
        watch_disruption(w, most)

        await w.apply(CLASS, image="base@2026.47")
        await w.cluster.eventually(lambda: drifted(w, _NODES), _PATIENCE)
        at(w, 1, 50)
        await held_again(w)
        assert {claim.name for claim in await w.claims()} == before

        # The window closes while nodes are being replaced. Time may be turned then, for the pods'
        # grace is longer.
        at(w, 5, 45)
        await w.cluster.eventually(lambda: replaced(w) > 0, _PATIENCE / 2)
        at(w, 5, 59, 55)
        closes = w.now() + 5
        await w.cluster.eventually(lambda: w.now() >= closes, 60)
        await w.cluster.eventually(lambda: settled(w), _PATIENCE)
        assert 0 < replaced(w) < _NODES
        await held_again(w)
        at(w, 2, 0)
        await w.cluster.eventually(lambda: replaced(w) == _NODES and settled(w), 2 * _PATIENCE)

        after = await w.claims()
        assert len(after) >= _NODES and not before & {claim.name for claim in after}
        assert {one.node_claim for one in report(w).replaced} == before
        assert {claim.status.image_id for claim in after} == {"base@2026.47"}
        assert 0 < most[0] <= _MOST
        await tasks.stop()
        assert requests.failed == [] and requests.sent > 300
        await w.shared.reports.write()
        written = await w.client.get(DisruptionReport, "default")
        assert written.status.nodes == _NODES and written.status.most_at_once <= _MOST
        for one in written.status.replaced:
            hour = datetime.datetime.fromtimestamp(
                timestamps.parse(one.began_at), datetime.UTC
            ).hour
            assert 2 <= hour < 6 and one.drained_at and one.ended_at
            assert one.in_progress <= one.allowed == _MOST
        assert any("0 6 * * *" in held.by for held in written.status.held)
        print(page(written), f"{requests.sent} requests")


def watch_disruption(w: World, most: list[int]) -> None:
    """The most nodes that were going, or not ready, at any moment that the cluster shows."""

    def changed(old: object, new: object) -> None:
        counts = counts_of(w.shared.cluster.states(w.now()))
        if "default" in counts:
            most[0] = max(most[0], counts["default"].disrupted)

    w.shared.cluster.claims.on_change(changed)
    w.shared.cluster.nodes.on_change(changed)


async def drifted(w: World, count: int) -> bool:
    return sum(claim.is_("Drifted") for claim in await w.claims()) == count


async def held_again(w: World) -> None:
    """Returns when the window has been in the way at another look."""
    looks = sum(held.times for held in report(w).held if "0 6 *" in held.by)
    await w.cluster.eventually(
        lambda: sum(held.times for held in report(w).held if "0 6 *" in held.by) > looks,
        _PATIENCE,
    )


def report(w: World):
    return w.shared.reports.of("default")


def replaced(w: World) -> int:
    return sum(1 for one in report(w).replaced if one.ended_at)


async def settled(w: World) -> bool:
    """Nothing is under way."""
    claims: list[NodeClaim] = await w.claims()
    going = [
        claim
        for claim in claims
        if claim.metadata.deletion_timestamp or claim.is_("DisruptionReason")
    ]
    return not going and all(claim.is_("Ready") for claim in claims)
