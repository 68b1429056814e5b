"""From pending pods to nodes, and back."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from tests.addons.karpenter.world import CLASS, POOL, World, deployment, world
from tiphys.addons._cloud.machines import Cloud
from tiphys.addons.karpenter.names import CAPACITY_TYPE, DISRUPTION_REASON, INSTANCE_TYPE, ZONE
from tiphys.addons.karpenter.types import NodeClaim, NodeOverlay, NodePool
from tiphys.api import apps_v1, core_v1, policy_v1
from tiphys.api.base import canonical_quantity
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.client.client import MERGE
from tiphys.machinery import conditions, timestamps


async def test_five_pods_get_one_node_which_goes_when_they_go() -> None:
    async with world() as w:
        # Not while some of the pods are there still, as where many work they go one by one.
        quiet = {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "0s"}
        await w.client.create(deployment("web", 5))
        await w.cluster.eventually(lambda: w.unschedulable(5))
        await w.pool(disruption={"budgets": [{"nodes": "100%"}], **quiet})
        await w.cluster.eventually(lambda: w.running(5))
        await w.cluster.eventually(lambda: w.ready(1))
        (claim,) = await w.claims()
        (node,) = await w.nodes()
        labels = node.metadata.labels
        assert labels["karpenter.sh/nodepool"] == "default"
        assert labels["karpenter.sh/capacity-type"] == "spot"
        assert labels["node.kubernetes.io/instance-type"] == "c5.2xlarge"
        assert labels["karpenter.sh/initialized"] == "true"
        assert not node.spec.taints and node.spec.provider_id == claim.status.provider_id

        await w.client.patch(apps_v1.Deployment, "web", {"spec": {"replicas": 0}}, "default")
        await w.cluster.eventually(lambda: w.running(0))
        assert claim.name in w.shared.cluster.nominated, "it was made for pods, not to be empty"
        w.turn(20)  # for which they were expected

        async def all_gone() -> bool:
            return not await w.nodes() and not await w.claims()

        await w.cluster.eventually(all_gone)
        assert w.shared.cloud.machines() == []
        page = generate_latest(w.client.metrics.registry).decode()
        for line in (
            'karpenter_nodeclaims_created_total{min_values_relaxed="false",nodepool="default",reason="provisioned"} 1.0',
            'karpenter_nodeclaims_disrupted_total{capacity_type="spot",nodepool="default",reason="empty"} 1.0',
            'karpenter_voluntary_disruption_decisions_total{consolidation_type="empty",decision="delete",reason="empty"} 1.0',
        ):
            assert line in page


@pytest.mark.slow
async def test_five_pods_of_a_cpu_have_a_node_within_five_seconds() -> None:
    """By the claim's own timestamps; with what the pool says of labels and taints."""
    async with world() as w:
        taint = {"key": "team", "value": "red", "effect": "NoSchedule"}
        of_pool = {**template(taints=[taint]), "metadata": {"labels": {"team": "red"}}}
        tolerations = [core_v1.Toleration(key="team", value="red", effect="NoSchedule")]
        await w.client.create(deployment("web", 5, "1", tolerations=tolerations))
        await w.cluster.eventually(lambda: w.unschedulable(5))
        await w.pool(template=of_pool)
        await w.cluster.eventually(lambda: w.running(5), 40)
        await w.cluster.eventually(lambda: w.ready(1))
        (claim,) = await w.claims()
        ready = conditions.find(claim.status.conditions, "Ready")
        assert ready is not None and ready.status == "True"
        took = timestamps.parse(ready.last_transition_time) - timestamps.parse(
            claim.metadata.creation_timestamp
        )
        assert took <= 5
        (node,) = await w.nodes()
        assert node.metadata.labels["team"] == "red"
        assert node.metadata.labels["karpenter.sh/nodepool"] == "default"
        assert [(t.key, t.value, t.effect) for t in node.spec.taints] == [tuple(taint.values())]


OVERLAY = """
apiVersion: karpenter.sh/v1alpha1
kind: NodeOverlay
metadata: {name: cheap}
spec:
  price: "0.001"
  requirements:
    - {key: node.kubernetes.io/instance-type, operator: In, values: [m7.2xlarge]}
"""


@pytest.mark.slow
async def test_an_overlay_is_what_nodes_are_chosen_by_and_says_when_it_is_not() -> None:
    async with world() as w:
        await w.apply(OVERLAY)
        await w.apply(OVERLAY.replace("name: cheap", "name: also-cheap"))

        async def states() -> list[tuple[str, bool]]:
            found = (await w.client.list(NodeOverlay)).items
            return [
                (each.metadata.name, conditions.is_true(each.status.conditions, "Ready"))
                for each in found
            ]

        await w.pool()
        expected = [("also-cheap", False), ("cheap", True)]

        async def judged() -> bool:
            return await states() == expected

        await w.cluster.eventually(judged)
        claim = await a_node(w)
        assert claim.metadata.labels["node.kubernetes.io/instance-type"] == "m7.2xlarge"
        await w.client.delete(NodeOverlay, "cheap")
        expected = [("also-cheap", True)]
        await w.cluster.eventually(judged)


CARDS = """
apiVersion: karpenter.sh/v1alpha1
kind: NodeOverlay
metadata: {name: cards}
spec:
  capacity: {example.com/card: "2"}
  requirements:
    - {key: node.kubernetes.io/instance-type, operator: In, values: [m7.2xlarge]}
"""


@pytest.mark.slow
async def test_a_hollow_machine_brings_what_an_overlay_promises_of_it() -> None:
    async with world() as w:
        await w.apply(CARDS)
        await w.pool()
        container = core_v1.Container(name="c", image="pause")
        container.resources.requests = {"example.com/card": canonical_quantity("2")}
        container.resources.limits = container.resources.requests
        meta = ObjectMeta(name="player", namespace="default")
        await w.client.create(
            core_v1.Pod(metadata=meta, spec=core_v1.PodSpec(containers=[container]))
        )
        await w.cluster.eventually(lambda: w.running(1))
        (claim,) = await w.claims()
        assert claim.metadata.labels["node.kubernetes.io/instance-type"] == "m7.2xlarge"
        assert claim.status.allocatable["example.com/card"] == "2"
        await w.client.delete(NodeOverlay, "cards")
        (node,) = await w.nodes()
        assert node.status.allocatable["example.com/card"] == "2", "it is a fact of the machine"


PROTECTED = {"karpenter.sh/do-not-disrupt": "true"}


async def a_node(w: World, replicas: int = 1, cpu: str = "1", **pod: Any) -> NodeClaim:
    """The claim of a node with running pods."""
    await w.client.create(deployment("web", replicas, cpu, **pod))
    await w.cluster.eventually(lambda: w.running(replicas))
    # One that could not have its machine may be ending still.
    (claim,) = [one for one in await w.claims() if not one.metadata.deletion_timestamp]
    return claim


async def gone(w: World, name: str) -> bool:
    return name not in {claim.name for claim in await w.claims()}


@pytest.mark.slow
async def test_a_node_that_expires_is_replaced_whatever_budgets_say() -> None:
    async with world() as w:
        await w.pool(
            disruption={"budgets": [{"nodes": "0"}]}, template=template(expireAfter="336h")
        )
        old = await a_node(w)
        w.turn(335 * 3600)
        await w.cluster.eventually(lambda: w.running(1))
        assert not await gone(w, old.name)
        w.turn(3601)
        await w.cluster.eventually(lambda: gone(w, old.name), 40)
        await w.cluster.eventually(lambda: w.running(1))


@pytest.mark.slow
async def test_a_protected_pod_is_waited_for_until_the_nodes_grace_is_over() -> None:
    async with world() as w:
        await w.pool(template=template(terminationGracePeriod="1h"))
        old = await a_node(w, annotations=PROTECTED)
        await w.client.delete(NodeClaim, old.name)
        await w.cluster.eventually(lambda: w.events("FailedDraining"))
        (node,) = [node for node in await w.nodes() if node.metadata.name == old.status.node_name]
        assert [taint.key for taint in node.spec.taints] == ["karpenter.sh/disrupted"]
        assert not await gone(w, old.name)
        w.turn(3600 - 29)  # the pod has 30 seconds of its own
        await w.cluster.eventually(lambda: gone(w, old.name), 40)
        assert await w.events("Disrupted")


@pytest.mark.slow
async def test_a_pdb_holds_a_node_until_it_lets_go() -> None:
    async with world() as w:
        await w.pool()
        budget = policy_v1.PodDisruptionBudget(metadata=ObjectMeta(name="web", namespace="default"))
        budget.spec.min_available = 1
        budget.spec.selector = LabelSelector(match_labels={"app": "web"})
        await w.client.create(budget)
        old = await a_node(w)
        await w.client.delete(core_v1.Node, old.status.node_name)
        await w.cluster.eventually(lambda: w.events("FailedDraining"))
        assert (await w.cluster.pods())[0].status.phase == "Running"
        await w.client.delete(policy_v1.PodDisruptionBudget, "web", "default")
        await w.cluster.eventually(lambda: gone(w, old.name), 40)
        await w.cluster.eventually(lambda: w.running(1))


@pytest.mark.slow
async def test_an_interruption_empties_the_node_before_it_is_taken_away() -> None:
    async with world() as w:
        await w.pool()
        old = await a_node(w)
        mark = {"metadata": {"annotations": {"cloud.tiphys.dev/interrupt": "120s"}}}
        await w.client.patch(core_v1.Node, old.status.node_name, mark)
        await w.cluster.eventually(lambda: gone(w, old.name), 40)
        await w.cluster.eventually(lambda: w.running(1))
        assert await w.events("SpotInterrupted")
        (new,) = await w.claims()
        assert [machine.name for machine in w.shared.cloud.machines()] == [new.name]


@pytest.mark.slow
async def test_a_node_that_fell_silent_is_replaced_after_half_an_hour() -> None:
    async with world() as w:
        await w.pool()
        old = await a_node(w)
        await w.shared.cloud.silence(old.status.provider_id)

        await w.cluster.eventually(lambda: w.shared.unready, 120)
        assert not await gone(w, old.name)
        w.turn(1801)

        async def ending() -> bool:
            return any(pod.metadata.deletion_timestamp for pod in await w.cluster.pods()) and bool(
                w.shared.ends
            )

        await w.cluster.eventually(ending)
        w.turn(120)  # nobody answers for the pod: a minute after its end it is not waited for
        await w.cluster.eventually(lambda: gone(w, old.name), 60)
        await w.cluster.eventually(lambda: w.running(1), 60)


@pytest.mark.slow
async def test_a_node_that_pods_are_to_move_to_is_left_alone_meanwhile() -> None:
    async with world() as w:
        small = {"key": INSTANCE_TYPE, "operator": "In", "values": ["c5.large"]}  # two cores
        await w.pool(template=template(requirements=[small]))
        for name, cpu in (("web", "800m"), ("other", "1300m")):
            await w.client.create(deployment(name, 1, cpu))
        await w.cluster.eventually(lambda: w.running(2))
        await w.cluster.eventually(lambda: w.ready(2))
        expected = dict(w.shared.cluster.nominated)
        (pod,) = await w.cluster.pods(labels="app=other")
        less = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "700m"}}}]}}
        await w.client.patch(core_v1.Pod, pod.metadata.name, less, "default", "resize")
        w.turn(20)  # for which the first pods were expected

        async def one_goes() -> bool:
            return any(claim.is_(DISRUPTION_REASON) for claim in await w.claims())

        await w.cluster.eventually(one_goes, 60)
        (stays,) = [claim.name for claim in await w.claims() if not claim.is_(DISRUPTION_REASON)]
        assert w.shared.cluster.nominated[stays] > expected[stays]


@pytest.mark.slow
async def test_a_static_pool_has_as_many_nodes_as_it_says() -> None:
    async with world() as w:
        await w.pool(replicas=3)
        await w.cluster.eventually(lambda: w.ready(3))
        await w.client.patch(
            NodePool, "default", {"spec": {"replicas": 1}}, "", "scale", media=MERGE
        )
        await w.cluster.eventually(lambda: w.ready(1))
        (old,) = await w.claims()
        await w.apply(CLASS, image="base@2026.47")
        await w.cluster.eventually(lambda: gone(w, old.name), 40)
        (new,) = await w.claims()
        assert new.status.image_id == "base@2026.47"


@pytest.mark.slow
async def test_what_cannot_be_had_is_looked_for_elsewhere() -> None:
    async with world() as w:
        await w.apply(CLASS, unavailable=["*/*/spot", "*/tiphys-1a/*", "*/tiphys-1c/*"])
        await w.apply(POOL)
        claim = await a_node(w)
        labels = claim.metadata.labels
        assert (labels[CAPACITY_TYPE], labels[ZONE]) == ("on-demand", "tiphys-1b")


@pytest.mark.slow
async def test_a_machine_that_is_not_to_be_had_at_launch_makes_another_plan() -> None:
    async with world() as w:
        w.shared.cloud.make_unavailable(
            lambda type_name, offering: offering.capacity_type == "spot"
        )
        await w.pool(
            template=template(
                requirements=[
                    {"key": CAPACITY_TYPE, "operator": "In", "values": ["spot", "on-demand"]}
                ]
            )
        )
        claim = await a_node(w)
        assert claim.metadata.labels[CAPACITY_TYPE] == "on-demand"


@pytest.mark.slow
async def test_machines_run_on_after_a_restart() -> None:
    async with world() as w:
        await w.pool()
        claim = await a_node(w)
        await w.shared.cloud.close()
        assert not w.shared.cloud.is_running(claim.name)
        again = Cloud(
            w.client,
            w.shared.context.informers,
            w.shared.context.tasks,
            w.shared.cluster.catalog,
            w.shared.context.data_dir,
            w.now,
        )
        await again.start()
        assert again.is_running(claim.name)
        await again.close()


def template(**spec: Any) -> dict[str, Any]:
    """The template of the pool with other fields."""
    return {"spec": {**yaml.safe_load(POOL)["spec"]["template"]["spec"], **spec}}


@pytest.mark.slow
async def test_a_claim_that_somebody_made_by_hand_is_a_node() -> None:
    async with world() as w:
        await w.apply(CLASS)
        reference = {"group": "karpenter.tiphys.dev", "kind": "TiphysNodeClass", "name": "default"}
        wanted = [
            {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m7.xlarge"]}
        ]
        claim = {"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": {"name": "mine"}}
        await w.client.create(
            {**claim, "spec": {"nodeClassRef": reference, "requirements": wanted}}
        )

        async def is_ready() -> bool:
            return (await w.client.get(NodeClaim, "mine")).is_("Ready")

        await w.cluster.eventually(is_ready, 40)
        (node,) = await w.nodes()
        assert node.metadata.labels["node.kubernetes.io/instance-type"] == "m7.xlarge"
        await w.client.delete(NodeClaim, "mine")
        await w.cluster.eventually(lambda: gone(w, "mine"), 40)
        assert not await w.nodes()
