"""One NodeClaim's way, one look at a time: launched, registered, initialised, drifted, expired."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.karpenter.builders import NOW, pod
from tests.addons.karpenter.reconciling import SMALL, Bench, launched, registered
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.types import NodeClaim
from tiphys.api import core_v1
from tiphys.machinery import conditions, errors, timestamps

ON_M7 = [{"key": names.INSTANCE_TYPE, "operator": "In", "values": ["m7.large"]}]


@pytest.fixture
async def bench() -> Bench:
    return Bench()


# --- launched ---


async def test_a_claim_gets_the_machine_that_it_asks_for(bench: Bench) -> None:
    await launched(bench, requirements=[*ON_M7, {"key": "team", "operator": "In", "values": ["x"]}])
    (order,) = bench.cloud.orders
    assert (order.name, order.token, order.image) == ("c", "uid-c", "base@2026.47")
    assert order.labels == {
        names.NODE_POOL: "default",
        names.INSTANCE_TYPE: "m7.large",
        "team": "x",
    }
    assert [(one.key, one.effect) for one in order.taints] == [
        (names.UNREGISTERED_TAINT, "NoExecute")
    ]
    made = bench.there
    assert made.status.provider_id == "tiphys:///c" and made.status.image_id == "base@2026.47"
    assert made.metadata.labels["kubernetes.io/arch"] == "amd64"
    assert (str(made.status.capacity["cpu"]), str(made.status.allocatable["cpu"])) == ("2", "1920m")
    assert bench.condition(names.LAUNCHED) == ("True", names.LAUNCHED, "")
    await bench.look()
    assert len(bench.cloud.orders) == 1, "once"


async def test_values_of_the_cloud_are_no_labels_of_a_claim(bench: Bench) -> None:
    rows = [
        {"key": "cloud.tiphys.dev/instance-family", "operator": "In", "values": ["m7"]},
        {"key": "team", "operator": "NotIn", "values": ["x"]},
        {"key": "rank", "operator": "In", "values": ["1", "2"]},
    ]
    await launched(bench, requirements=rows)
    assert bench.cloud.orders[0].labels == {names.NODE_POOL: "default"}


async def test_what_cannot_be_had_is_not_asked_for_again_for_a_while(bench: Bench) -> None:
    bench.cloud.short = "nothing left"
    await launched(bench, requirements=ON_M7)
    assert bench.events == [
        ("Warning", "InsufficientCapacityError", "NodeClaim c event: nothing left")
    ]
    assert bench.server.gone == ["c"]
    scarce = bench.shared.cluster.scarce
    assert scarce[("m7.large", "tiphys-1a", "spot")] == NOW + 180
    assert bench.condition(names.LAUNCHED) == ("Unknown", "AwaitingReconciliation", "")
    labels = {"nodepool": "default", "capacity_type": ""}
    why = {"reason": "insufficient_capacity"}
    assert bench.counted("nodeclaims_disrupted_total", **why, **labels) == 1
    await bench.look(179)
    assert bench.cloud.orders[1].options == []
    await bench.look(180)
    assert len(bench.cloud.orders[2].options) == 6


async def test_a_class_whose_image_there_is_not_gives_no_machine(bench: Bench) -> None:
    bench.node_class().spec.image = "other@latest"
    bench.claim(**SMALL)
    await bench.look()
    assert [reason for _, reason, _ in bench.events] == ["NodeClassNotReady"]
    assert bench.server.gone == ["c"] and bench.cloud.orders == []


async def test_a_claim_of_a_class_that_is_gone_ends(bench: Bench) -> None:
    bench.claim(**SMALL)
    await bench.look()
    assert bench.events == [("Warning", "NodeClassNotReady", "default not found")]
    assert bench.server.gone == ["c"]
    bench.server.fails = errors.not_found("nodeclaims", "c")
    await bench.look()
    bench.server.fails = errors.bad_request("x")
    with pytest.raises(errors.StatusError):
        await bench.look()


async def test_a_claim_of_another_cloud_is_left_alone_and_says_so(bench: Bench) -> None:
    bench.claim("karpenter.k8s.aws")
    await bench.look()
    message = "machines of a EC2NodeClass (karpenter.k8s.aws) cannot be made here"
    assert bench.condition(names.LAUNCHED) == ("Unknown", "UnsupportedNodeClass", message)
    assert bench.server.gone == [] and bench.events == []
    assert not bench.shared.cluster.claims.get("c").status.provider_id  # type: ignore[union-attr]
    assert bench.shared.cluster.is_settled, "no machine is still to come"


# --- registered and initialised ---


async def test_a_claim_waits_a_quarter_of_an_hour_for_its_node(bench: Bench) -> None:
    await launched(bench)
    message = "Node not registered with cluster"
    for name in (names.REGISTERED_CONDITION, names.INITIALIZED_CONDITION):
        assert bench.condition(name) == ("Unknown", "NodeNotFound", message)
    assert bench.shared.due["c"] == NOW + 900
    await bench.look(899)
    assert bench.server.gone == []
    await bench.look(900)
    assert bench.server.gone == ["c"]
    seen = bench.shared.registrations._pools["pool-default"]
    assert list(seen) == [("RegistrationFailed", "Failed to register node")]


async def test_a_node_gets_what_its_claim_says(bench: Bench) -> None:
    taint = {"key": "team", "value": "red", "effect": "NoSchedule"}
    startup = {"key": "agent", "effect": "NoExecute"}
    await launched(bench, taints=[taint], startupTaints=[startup])
    unregistered = {"key": names.UNREGISTERED_TAINT, "effect": "NoExecute"}
    own = {"key": "team", "effect": "NoExecute"}
    bench.node(taints=[unregistered, own], finalizers=["other/finalizer"])
    await bench.look()
    node = bench.server.of(core_v1.Node).get("c")
    assert node is not None
    assert [(one.key, one.value, one.effect) for one in node.spec.taints] == [
        ("team", "", "NoExecute"),
        ("team", "red", "NoSchedule"),
        ("agent", "", "NoExecute"),
    ]
    assert node.metadata.labels[names.REGISTERED] == "true"
    assert node.metadata.labels["own"] == "label"
    assert node.metadata.labels[names.NODE_POOL] == "default"
    assert node.metadata.finalizers == [names.TERMINATION, "other/finalizer"]
    (owner,) = node.metadata.owner_references
    assert (owner.kind, owner.uid, owner.block_owner_deletion) == ("NodeClaim", "uid-c", True)
    assert bench.there.status.node_name == "c"
    assert bench.condition(names.REGISTERED_CONDITION) == ("True", "Registered", "")
    told = bench.condition(names.INITIALIZED_CONDITION)
    assert told is not None and told[:2] == ("Unknown", "StartupTaintsExist")
    zone = bench.there.metadata.labels[names.ZONE]
    assert bench.counted("nodes_created_total", nodepool="default", zone=zone) == 1


async def test_a_node_that_is_ready_is_initialised(bench: Bench) -> None:
    await launched(bench)
    bench.node(ready=False)
    await bench.look()
    told = bench.condition(names.INITIALIZED_CONDITION)
    assert told is not None and told[:2] == ("Unknown", "NodeNotReady")
    assert bench.condition(names.READY) == (
        "Unknown",
        "ReconcilingDependents",
        "Initialized=Unknown",
    )
    assert bench.woken == 0
    bench.node()
    await bench.look()
    assert bench.condition(names.INITIALIZED_CONDITION) == ("True", "Initialized", "")
    assert bench.condition(names.READY) == ("True", "Ready", "")
    assert bench.woken == 1
    node = bench.server.of(core_v1.Node).get("c")
    assert node is not None and node.metadata.labels[names.INITIALIZED] == "true"


async def test_a_claim_whose_node_was_deleted_ends(bench: Bench) -> None:
    await launched(bench)
    bench.node(deletionTimestamp=timestamps.rfc3339(NOW))
    await bench.look()
    assert bench.server.gone == ["c"]


async def test_what_says_nothing_new_is_not_written(bench: Bench) -> None:
    await registered(bench)
    version = (await bench.look()).metadata.resource_version
    assert (await bench.look(5)).metadata.resource_version == version


# --- who is looked at ---


class Keys(list[str]):
    def taken(self) -> list[str]:
        found = list(self)
        self.clear()
        return found


async def followed(bench: Bench) -> Keys:
    await registered(bench)
    keys = Keys()
    bench.claims.watch(keys.append)
    keys.clear()
    bench.shared.pod_events.clear()
    return keys


def on_node(bench: Bench, name: str = "c", phase: str = "Running") -> core_v1.Pod:
    made = pod("p", node=name)
    made.status.phase = phase
    bench.server.put(made)
    return made


async def test_nodes_pools_and_classes_concern_their_claims(bench: Bench) -> None:
    keys = await followed(bench)
    bench.node()
    assert keys.taken() == ["c"]
    stranger = bench.node(name="other")
    keys.clear()
    stranger.spec.provider_id = "tiphys:///other"
    bench.server.put(stranger)
    assert keys.taken() == []
    bench.pool()
    assert keys.taken() == ["c"]
    other = bench.pool()
    keys.clear()
    other.metadata.name = "other"
    bench.server.put(other)
    assert keys.taken() == []
    bench.node_class()
    assert keys.taken() == ["c"]


async def test_pods_that_come_or_go_make_a_node_busy(bench: Bench) -> None:
    keys = await followed(bench)
    for phase, name, concerns in (
        ("Pending", "", False),
        ("Pending", "c", True),
        ("Running", "c", False),
        ("Succeeded", "c", True),
        ("Succeeded", "none", False),
    ):
        bench.shared.pod_events.clear()
        made = on_node(bench, name, phase)
        assert keys.taken() == (["c"] if concerns else [])
        assert bench.shared.pod_events == ({"c": NOW} if concerns else {})
    bench.shared.ends["uid-p"] = NOW
    bench.server.take(made)
    assert bench.shared.ends == {}


async def test_pods_of_a_claim_that_ends_are_watched_closely(bench: Bench) -> None:
    keys = await followed(bench)
    on_node(bench)
    going = bench.there
    going.metadata.deletion_timestamp = timestamps.rfc3339(NOW)
    keys.clear()
    bench.shared.pod_events.clear()
    on_node(bench)
    assert keys.taken() == ["c"] and bench.shared.pod_events == {}


# --- the end ---


async def test_what_was_known_of_a_claim_goes_with_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registered(bench)
    claim = bench.there
    shared = bench.shared
    shared.due["c"] = shared.pod_events["c"] = shared.cluster.nominated["c"] = NOW
    shared.cluster.marked["c"] = "Empty"
    woken = bench.woken
    steps: list[Any] = [2.0, errors.conflict("nodeclaims", "c", "changed"), None]

    async def step(self: Any) -> float | None:
        found = steps.pop(0)
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    monkeypatch.setattr("tiphys.addons.karpenter.termination.Termination.step", step)
    assert await bench.claims.finalize(claim) == 2.0
    assert await bench.claims.finalize(claim) == 0.1
    assert "c" in shared.due and bench.woken == woken
    assert await bench.claims.finalize(claim) is None
    known: list[Any] = [shared.due, shared.pod_events, shared.cluster.marked]
    assert [*known, shared.cluster.nominated] == [{}, {}, {}, {}]
    assert bench.woken == woken + 1
    labels = claim.metadata.labels
    where = {"capacity_type": labels[names.CAPACITY_TYPE], "zone": labels[names.ZONE]}
    assert bench.counted("nodeclaims_terminated_total", nodepool="default", **where) == 1
    steps.append(errors.bad_request("x"))
    with pytest.raises(errors.StatusError):
        await bench.claims.finalize(claim)


async def test_a_claim_made_by_hand_is_nobodys(bench: Bench) -> None:
    bench.node_class()
    claim = bench.claim(**SMALL)
    claim.metadata.owner_references = []
    bench.server.put(claim)
    await bench.look()
    bench.node()
    await bench.look()
    assert list(bench.shared.registrations._pools) == [""]
    assert conditions.is_true(bench.there.status.conditions, names.REGISTERED_CONDITION)
    assert isinstance(bench.there, NodeClaim)
