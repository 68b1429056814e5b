"""The scheduler's core against a slow, obvious model of the rules, on random clusters."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import node, pod
from tests.scheduler.builders import framework
from tiphys.api import core_v1
from tiphys.machinery import quantity
from tiphys.machinery.footprint import occupied, requests_of
from tiphys.machinery.nodes import tolerated
from tiphys.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

ZONES = st.sampled_from(["a", "b", "c"])


def scheduled(nodes: list[core_v1.Node], pods: list[core_v1.Pod]) -> list[str]:
    snapshot = Snapshot()
    for one in nodes:
        snapshot.put_node(one)
    scheduling, places = framework(snapshot), []
    for number, one in enumerate(pods):
        one.metadata.uid = str(number)
        place = scheduling.place(PodInfo(one)).node
        places.append(place)
        if place:
            snapshot.put_pod(PodInfo(one), place)
    return places


def asking(cpu: int, **spec: Any) -> core_v1.Pod:
    return pod(
        containers=[{"name": "c", "image": "i", "resources": {"requests": {"cpu": f"{cpu}m"}}}],
        **spec,
    )


SPREAD = [
    {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "x"}},
    }
]
ANTI = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"app": "x"}},
            }
        ]
    }
}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.integers(1, 4), ZONES), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 2000), st.sampled_from(["", "spread", "anti"])), max_size=12),
)
def test_no_placement_breaks_a_rule(
    shape: list[tuple[int, str]], wishes: list[tuple[int, str]]
) -> None:
    nodes = [
        node(f"n{i}", cpu=str(cpu), zone=zone, **{"kubernetes.io__hostname": f"n{i}"})
        for i, (cpu, zone) in enumerate(shape)
    ]
    zone_of, free = (
        {f"n{i}": zone for i, (_, zone) in enumerate(shape)},
        {f"n{i}": cpu * 1000 for i, (cpu, _) in enumerate(shape)},
    )
    pods = [
        asking(
            cpu,
            labels={"app": "x"},
            **(
                {"topologySpreadConstraints": SPREAD}
                if rule == "spread"
                else {"affinity": ANTI}
                if rule == "anti"
                else {}
            ),
        )
        for cpu, rule in wishes
    ]
    placed: list[tuple[str, str]] = []
    for (cpu, rule), place in zip(wishes, scheduled(nodes, pods), strict=True):
        allowed = {
            name for name in free if free[name] >= cpu and _rules(name, rule, placed, zone_of)
        }
        assert (place in allowed) if place else not allowed
        if place:
            free[place] -= cpu
            placed.append((place, rule))


def _rules(name: str, rule: str, placed: list[tuple[str, str]], zone_of: dict[str, str]) -> bool:
    if any(other == name and theirs == "anti" for other, theirs in placed):
        return False
    if rule == "anti":
        return all(other != name for other, _ in placed)
    if rule == "spread":
        counts = dict.fromkeys(zone_of.values(), 0)
        for other, _ in placed:
            counts[zone_of[other]] += 1
        return counts[zone_of[name]] + 1 - min(counts.values()) <= 1
    return True


def test_reasons_are_counted_by_filter() -> None:
    snapshot = Snapshot()
    tainted = node("t")
    tainted.spec.taints = [core_v1.Taint(key="k", value="v", effect="NoSchedule")]
    for one in (tainted, node("small", cpu="1"), node("large", cpu="8")):
        snapshot.put_node(one)
    made = framework(snapshot).place(PodInfo(asking(9000)))
    assert made.message.startswith(
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu."
    )


def test_a_pod_for_a_node_by_name_says_so() -> None:
    """As the pods of daemon sets ask for their nodes."""
    snapshot = Snapshot()
    for one in (node("a", cpu="1"), node("b"), node("c")):
        snapshot.put_node(one)

    def named(*names: str) -> core_v1.Pod:
        rows = [{"key": "metadata.name", "operator": "In", "values": [name]} for name in names]
        terms = {"nodeSelectorTerms": [{"matchFields": rows}]}
        return asking(
            2000,
            affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
        )

    assert framework(snapshot).place(PodInfo(named("b"))).node == "b"
    assert framework(snapshot).place(PodInfo(named("a"))).message == (
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    )
    assert framework(snapshot).place(PodInfo(named("a", "b"))).message == (
        "0/3 nodes are available: pod affinity terms conflict."
    )


def test_without_nodes_nothing_else_is_said() -> None:
    assert (
        framework(Snapshot()).place(PodInfo(asking(1))).message
        == "no nodes available to schedule pods"
    )


def test_only_the_first_reason_of_a_plugin_counts_but_all_resources_do() -> None:
    snapshot = Snapshot()
    snapshot.put_node(node("a", cpu="1", memory="1Gi"))
    one = asking(2000, topologySpreadConstraints=SPREAD + [{**SPREAD[0], "topologyKey": "rack"}])
    one.spec.containers[0].resources.requests["memory"] = "2Gi"  # type: ignore[assignment]
    assert framework(snapshot).place(PodInfo(one)).reasons == {
        "Insufficient cpu": 1,
        "Insufficient memory": 1,
    }
    one.spec.containers[0].resources.requests.clear()
    missing = "node(s) didn't match pod topology spread constraints (missing required label)"
    assert framework(snapshot).place(PodInfo(one)).reasons == {missing: 1}


def test_taints_are_borne_by_name_by_value_or_by_number() -> None:
    taint = core_v1.Taint(key="speed", value="5", effect="NoSchedule")

    def bears(**toleration: Any) -> bool:
        return tolerated(taint, [core_v1.Toleration(key="speed", **toleration)])

    assert bears(operator="Exists") and bears(value="5") and not bears(value="6")
    assert bears(operator="Gt", value="-1") and not bears(operator="Gt", value="5")
    assert bears(operator="Lt", value="10") and not bears(operator="Lt", value="5")
    assert not bears(operator="Lt", value="010") and not bears(operator="Lt", value="fast")
    assert not bears(operator="Exists", effect="NoExecute")


def test_the_emptier_node_is_preferred_and_ports_are_exclusive() -> None:
    nodes = [node("a"), node("b")]
    port = [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 80}]}]
    assert set(scheduled(nodes, [pod(containers=port), pod(containers=port)])) == {"a", "b"}
    assert scheduled(nodes, [pod(containers=port) for _ in range(3)])[2] == ""
    assert len(set(scheduled(nodes, [asking(1000), asking(1000)]))) == 2


def test_init_containers_and_sidecars_count_at_their_peak() -> None:
    def c(name: str, cpu: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "image": "i", "resources": {"requests": {"cpu": cpu}}, **more}

    spec = pod(
        containers=[c("a", "1")],
        initContainers=[c("side", "500m", restartPolicy="Always"), c("once", "2")],
    ).spec
    assert requests_of(spec)["cpu"] == 2500
    assert quantity.milli("1500m") == 1500


def test_a_pod_that_is_resized_takes_what_it_has_or_is_to_have() -> None:
    one = asking(1000)
    status = core_v1.ContainerStatus(name="c", allocated_resources={"cpu": "3"})  # type: ignore[dict-item]
    one.status.container_statuses = [status]
    assert occupied(one)["cpu"] == 1000  # nothing is known of what it has
    status.resources = core_v1.ResourceRequirements(requests={"cpu": "2"})  # type: ignore[dict-item]
    assert occupied(one)["cpu"] == 3000
    status.allocated_resources = {"cpu": "500m"}  # type: ignore[dict-item]
    status.resources.requests = {"cpu": "700m"}  # type: ignore[dict-item]
    assert occupied(one)["cpu"] == 1000
    one.status.conditions = [
        core_v1.PodCondition(type="PodResizePending", status="True", reason="Infeasible")
    ]
    assert occupied(one)["cpu"] == 700


def test_what_a_pod_asks_for_as_a_whole_counts_instead() -> None:
    whole = {
        "requests": {"cpu": "4", "example.com/gpu": "1"}
    }  # devices are asked for by containers alone
    one = pod(resources=whole, overhead={"cpu": "1"})
    assert occupied(one) == {"cpu": 5000}
    one.status.resources = core_v1.ResourceRequirements(requests={"cpu": "6"})  # type: ignore[dict-item]
    assert occupied(one)["cpu"] == 7000


def test_a_pod_that_has_become_smaller_leaves_room() -> None:
    snapshot = Snapshot()
    snapshot.put_node(node("a"))
    one = asking(4000)
    one.metadata.uid = "one"
    snapshot.put_pod(PodInfo(one), "a")
    assert not framework(snapshot).place(PodInfo(asking(1000))).node
    smaller = asking(3000)
    smaller.metadata.uid = "one"
    snapshot.put_pod(PodInfo(smaller), "a")
    assert framework(snapshot).place(PodInfo(asking(1000))).node == "a"


def test_removed_pods_and_nodes_leave_nothing_behind() -> None:
    snapshot = Snapshot()
    snapshot.put_node(node("a"))
    info = PodInfo(asking(1000))
    snapshot.put_pod(info, "a")
    snapshot.remove_pod(info.uid)
    assert not snapshot.requested.any() and not snapshot.nonzero_requested.any()
    snapshot.put_pod(info, "a")
    snapshot.remove_node("a")
    snapshot.put_node(node("a"))
    assert snapshot.requested[0].sum() == 1000


def test_pods_that_are_there_draw_others_or_keep_them_away() -> None:
    snapshot = Snapshot()
    for name in ("a", "b", "c"):
        snapshot.put_node(node(name))
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": "guest"}},
    }
    wish = {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 50, "podAffinityTerm": term}]
    }
    shy = pod("shy", affinity={"podAntiAffinity": wish})
    fond = pod(
        "fond", affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    )
    for made, where in ((shy, "a"), (fond, "b")):
        made.metadata.uid = made.metadata.name
        snapshot.put_pod(PodInfo(made), where)
    guest = PodInfo(pod("g", labels={"app": "guest"}))
    found = InterPodAffinity(1).score(snapshot, guest, snapshot.alive)
    assert found is not None
    assert [int(found[snapshot.row_of[name]]) for name in "abc"] == [0, 100, 98]
    for uid in ("shy", "fond"):
        snapshot.remove_pod(uid)
    assert not snapshot.scoring_terms


def points(snapshot: Snapshot, one: core_v1.Pod) -> dict[str, float]:
    """The sum of the scores of each node that fits."""
    _, feasible, scores = framework(snapshot).evaluate(PodInfo(one))
    assert scores is not None
    return {name: float(scores[row]) for name, row in snapshot.row_of.items() if feasible[row]}


def test_preferences_are_measured_on_the_nodes_that_have_room() -> None:
    """The node with most points is full: the second best has all points then."""
    snapshot = Snapshot()
    for name, disk in (("a", "fast"), ("b", "slow"), ("c", "none")):
        snapshot.put_node(node(name, disk=disk))
    full = asking(4000)
    full.metadata.uid = "full"
    snapshot.put_pod(PodInfo(full), "a")

    def wish(disk: str, weight: int) -> dict[str, Any]:
        return {
            "weight": weight,
            "preference": {
                "matchExpressions": [{"key": "disk", "operator": "In", "values": [disk]}]
            },
        }

    wishes = [wish("fast", 100), wish("slow", 10)]
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": wishes}}
    found = points(snapshot, asking(100, affinity=affinity))
    assert found["b"] - found["c"] == 2 * 100


def test_init_containers_weigh_when_nodes_are_compared() -> None:
    busy = pod(
        initContainers=[{"name": "i", "image": "i", "resources": {"requests": {"cpu": "2"}}}]
    )
    assert PodInfo(busy).nonzero_requests == (2000, 200 << 20)
    assert PodInfo(pod(overhead={"cpu": "50m"})).nonzero_requests == (150, 200 << 20)


def test_only_nodes_with_every_label_count_in_spreading() -> None:
    """A zone's pod that runs on a node without the other label is not seen."""
    snapshot = Snapshot()
    for name, labels in (
        ("a", {"zone": "1", "rack": "1"}),
        ("b", {"zone": "2", "rack": "1"}),
        ("c", {"zone": "1"}),
    ):
        snapshot.put_node(node(name, **labels))
    unseen = pod("unseen", labels={"app": "x"})
    unseen.metadata.uid = "unseen"
    snapshot.put_pod(PodInfo(unseen), "c")
    rules = [{**SPREAD[0]}, {**SPREAD[0], "topologyKey": "rack"}]
    assert set(points(snapshot, pod(labels={"app": "x"}, topologySpreadConstraints=rules))) == {
        "a",
        "b",
    }
    soft = [{**rule, "whenUnsatisfiable": "ScheduleAnyway"} for rule in rules]
    found = points(snapshot, pod(labels={"app": "x"}, topologySpreadConstraints=soft))
    assert found["a"] == found["b"] > found["c"]
