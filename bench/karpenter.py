"""How much processor time it takes to plan nodes for pending pods.

    python bench/karpenter.py [--pods 1000] [--shapes 20] [--nodes 0]
    python bench/karpenter.py --look 500

A thousand pods of twenty shapes are to be planned in a second of it. A look is at so many nodes of
which none can be consolidated, so that each is tried.
"""

from __future__ import annotations

import argparse
import random
import time

from tests.addons.karpenter.builders import ON_DEMAND, cluster, pod, state
from tests.addons.karpenter.builders import pool as named_pool
from tiphys.addons._cloud.catalog import builtin
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.disruption import look
from tiphys.addons.karpenter.ground import Standing
from tiphys.addons.karpenter.offers import offer_of
from tiphys.addons.karpenter.planning import plan
from tiphys.addons.karpenter.types import NodePool, Requirement
from tiphys.api import core_v1
from tiphys.api.base import canonical_quantity
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.scheduler.podinfo import PodInfo

_ZONE = "topology.kubernetes.io/zone"


def pods(count: int, shapes: int) -> list[PodInfo]:
    """A fifth of the shapes is spread over zones, a fifth over nodes, a fifth selects an
    architecture, a fifth has anti-affinity."""
    chance = random.Random(7)
    sizes = [
        (chance.choice((100, 250, 500, 1000, 2000, 3500)), chance.choice((128, 512, 1024, 4096)))
        for _ in range(shapes)
    ]
    return [
        PodInfo(_pod(number, number % shapes, *sizes[number % shapes])) for number in range(count)
    ]


def _pod(number: int, shape: int, cpu: int, memory: int) -> core_v1.Pod:
    labels = {"app": f"app-{shape}"}
    pod = core_v1.Pod(
        metadata=ObjectMeta(
            name=f"pod-{number}", namespace="default", uid=f"u{number}", labels=labels
        )
    )
    requests = {"cpu": canonical_quantity(f"{cpu}m"), "memory": canonical_quantity(f"{memory}Mi")}
    container = core_v1.Container(
        name="c", resources=core_v1.ResourceRequirements(requests=requests)
    )
    pod.spec.containers = [container]
    selector = LabelSelector(match_labels=labels)
    if shape % 5 in (1, 2):
        key = _ZONE if shape % 5 == 1 else "kubernetes.io/hostname"
        spread = core_v1.TopologySpreadConstraint(
            max_skew=1 if shape % 5 == 1 else 5,
            topology_key=key,
            when_unsatisfiable="DoNotSchedule",
            label_selector=selector,
        )
        pod.spec.topology_spread_constraints = [spread]
    if shape % 5 == 3:
        pod.spec.node_selector = {"kubernetes.io/arch": "arm64"}
    if shape % 5 == 4:
        term = core_v1.PodAffinityTerm(
            label_selector=LabelSelector(match_labels={"app": f"app-{shape - 1}"}),
            topology_key="kubernetes.io/hostname",
        )
        pod.spec.affinity = core_v1.Affinity(
            pod_anti_affinity=core_v1.PodAntiAffinity(
                required_during_scheduling_ignored_during_execution=[term]
            )
        )
    return pod


def pool() -> NodePool:
    made = NodePool(metadata=ObjectMeta(name="default"))
    made.spec.template.spec.requirements = [
        Requirement(key="karpenter.sh/capacity-type", operator="In", values=["on-demand", "spot"])
    ]
    return made


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pods", type=int, default=1000)
    parser.add_argument("--shapes", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=0)
    parser.add_argument("--look", type=int, default=0)
    asked = parser.parse_args()
    if asked.look:
        look_at(asked.look)
        return
    catalog = builtin()
    pending = pods(asked.pods, asked.shapes)
    standing = Standing(
        region=catalog.region, nodes=[full(number) for number in range(asked.nodes)]
    )
    began = time.process_time()
    offer = offer_of(pool(), catalog.types, catalog.region, {})
    made = plan(pending, [offer], standing)
    spent = time.process_time() - began
    cost = sum(node.price for node in made.new)
    print(f"{len(pending)} pods of {asked.shapes} shapes, {asked.nodes} nodes that are full:")
    print(f"{spent:.2f} s of processor time")
    print(f"{len(made.new)} new nodes, {cost:.2f} $/h; {len(made.errors)} pods fit nowhere")


def look_at(count: int) -> None:
    full_ones = [
        state(f"n{number}", "c5.large", [pod(f"app{number % 20}-{number}", "1700m")])
        for number in range(count)
    ]
    own = named_pool("default", ON_DEMAND, (names.INSTANCE_TYPE, "In", "c5.large"))
    world = cluster([own], full_ones)
    began = time.process_time()
    made = look(world)
    spent = time.process_time() - began
    print(f"a look at {count} nodes: {spent:.2f} s of processor time, {len(made.commands)} moves")


def full(number: int) -> core_v1.Node:
    node = core_v1.Node(
        metadata=ObjectMeta(
            name=f"n{number}", labels={_ZONE: "tiphys-1a", "kubernetes.io/hostname": f"n{number}"}
        )
    )
    node.status.allocatable = {"cpu": canonical_quantity("50m"), "pods": canonical_quantity("110")}
    return node


if __name__ == "__main__":
    main()
