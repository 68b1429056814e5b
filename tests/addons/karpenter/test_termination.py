"""The end of a node, step by step: whom it drains in which order, and what it waits for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.karpenter.builders import NOW, pod, state
from tests.addons.karpenter.pretended import Pretended, shared
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.state import StateNode
from tiphys.addons.karpenter.termination import Termination, untaint
from tiphys.api import core_v1, storage_v1
from tiphys.machinery import errors, timestamps

TYPE = "m7.xlarge"
FINALIZERS = ["other/one", names.TERMINATION]


def a_node(*pods: core_v1.Pod, **facts: Any) -> StateNode:
    made = state("n", TYPE, pods, **facts)
    assert made.node is not None and made.claim is not None
    made.node.metadata.finalizers = list(FINALIZERS)
    return made


def step(made: Pretended) -> Any:
    (claim,) = made.world.claims
    return Termination(made, claim).step()


async def test_an_empty_node_goes_at_once() -> None:
    made = shared(a_node())
    assert await step(made) is None
    assert made.asked("delete") == ["Node n", "Node n"]
    taint, release = made.asked("patch")
    assert taint[0] == "Node n"
    (disrupted,) = taint[1]["spec"]["taints"]
    assert (disrupted.key, disrupted.effect) == (names.DISRUPTED_TAINT, "NoSchedule")
    assert taint[1]["metadata"]["labels"] == {names.EXCLUDE_BALANCERS: "karpenter"}
    assert made.world.noted == ["n as written"]
    assert release == ("Node n", {"metadata": {"finalizers": ["other/one"]}})
    assert made.machines.deleted == ["tiphys:///n"]
    assert made.conditions == [
        (names.DRAINED, "Unknown", "Draining"),
        (names.DRAINED, "True", names.DRAINED),
        (names.VOLUMES_DETACHED, "True", names.VOLUMES_DETACHED),
        (names.INSTANCE_TERMINATING, "True", names.INSTANCE_TERMINATING),
    ]
    assert made.counted["nodes_drained"].counts == {("default",): 1}
    assert made.log.said == [("drained", "default", "n")]


async def test_a_machine_that_is_gone_has_nothing_to_drain() -> None:
    found = a_node(pod("a"), ready=False)
    made = shared(found)
    made.machines.there.clear()
    assert await step(made) is None
    assert made.asked("patch") == [("Node n", {"metadata": {"finalizers": ["other/one"]}})]
    assert made.asked("evict") == [] and made.machines.deleted == []


@pytest.mark.parametrize("ready, is_there", [(True, False), (False, True)])
async def test_a_machine_that_is_there_or_answers_is_drained(ready: bool, is_there: bool) -> None:
    made = shared(a_node(pod("a"), ready=ready))
    if not is_there:
        made.machines.there.clear()
    assert await step(made) == 1.0
    assert made.asked("evict") == [("default/a", "uid-a")]


async def test_a_claim_without_a_node_or_a_machine() -> None:
    found = a_node()
    made = shared(found)
    made.world.all = [StateNode(None, found.claim)]
    assert await step(made) is None
    assert made.machines.deleted == ["tiphys:///n"] and made.server.asked == []
    assert found.claim is not None
    found.claim.status.provider_id = ""
    assert await step(made) is None
    assert len(made.machines.deleted) == 1


async def test_what_is_done_is_not_done_again() -> None:
    found = a_node()
    assert found.node is not None
    found.node.metadata.deletion_timestamp = timestamps.rfc3339(NOW)
    found.node.metadata.labels = {names.EXCLUDE_BALANCERS: "karpenter"}
    found.node.spec.taints = [core_v1.Taint(key=names.DISRUPTED_TAINT, effect="NoSchedule")]
    made = shared(found)
    made.times.drain = 30.0
    assert await step(made) == 1.0
    assert made.asked("patch") == made.asked("delete") == []


async def test_a_drained_node_waits_its_time() -> None:
    made = shared(a_node())
    made.times.drain = 2.5
    assert await step(made) == 1.0
    made.time += 2
    assert await step(made) == 0.5
    made.time += 0.5
    assert await step(made) is None


CRITICAL = {"priority_class_name": "system-node-critical"}


def owned(made: core_v1.Pod, kind: str) -> core_v1.Pod:
    from tiphys.api.meta_v1 import OwnerReference

    made.metadata.owner_references = [OwnerReference(kind=kind, name="o", uid="o")]
    return made


async def test_pods_go_in_their_order() -> None:
    found = a_node(
        pod("critical", **CRITICAL),
        owned(pod("daemon"), "DaemonSet"),
        pod("plain"),
        owned(pod("static"), "Node"),
    )
    made = shared(found)
    for name in ("plain", "daemon", "critical"):
        assert await step(made) == 1.0
        assert made.asked("evict") == [(f"default/{name}", f"uid-{name}")]
        found.pods[:] = [one for one in found.pods if one.metadata.name != name]
    assert await step(made) is None
    assert made.events == [("Evicted", "Evicted pod: node is terminating", False)] * 3
    assert made.counted["evictions"].counts == {("200",): 3}


async def test_pods_that_end_already_are_waited_for_a_minute_past_their_grace() -> None:
    one = pod("a")
    one.metadata.deletion_timestamp = timestamps.rfc3339(NOW)
    one.metadata.deletion_grace_period_seconds = 10
    made = shared(a_node(one))
    for later, again in ((0, 1.0), (70, 1.0), (71, None)):
        made.time = NOW + later
        assert await step(made) == again
    assert made.asked("evict") == []
    assert made.ends == {"uid-a": NOW + 10}


async def test_a_pod_that_wants_its_peace_holds_the_node() -> None:
    made = shared(a_node(pod("a", annotations={names.DO_NOT_DISRUPT: "true"})))
    assert await step(made) == 1.0
    why = f'pod has "{names.DO_NOT_DISRUPT}" annotation (Pod=default/a)'
    assert made.events == [("FailedDraining", f"Failed to drain node, {why}", False)]
    assert made.log.said == [("held", "default", "Draining", why)]
    assert await step(made) == 1.0
    assert len(made.events) == 1, "it is said once a minute"
    made.time += 61
    await step(made)
    assert len(made.events) == 2 and made.asked("evict") == []


@pytest.mark.parametrize(
    "error, code, why",
    [
        (errors.too_many_requests("no"), "429", "evicting pod violates a PDB (Pod=default/a)"),
        (errors.not_found("pods", "a"), "404", ""),
        (errors.conflict("pods", "a", "uid"), "409", ""),
        (
            errors.internal("more than one, which the eviction subresource does not support"),
            "500",
            "eviction does not support multiple PDBs (Pod=default/a)",
        ),
    ],
)
async def test_what_an_eviction_may_be_answered(error: Any, code: str, why: str) -> None:
    made = shared(a_node(pod("a")))
    made.server.fails["evict"] = error
    assert await step(made) == 1.0
    assert made.counted["evictions"].counts == {(code,): 1}
    assert [one[1] for one in made.events] == ([f"Failed to drain node, {why}"] if why else [])


async def test_other_answers_are_errors() -> None:
    made = shared(a_node(pod("a")))
    made.server.fails["evict"] = errors.forbidden("pods", "a", "no")
    with pytest.raises(errors.StatusError):
        await step(made)
    for verb in ("delete", "patch"):
        other = shared(a_node())
        other.server.fails[verb] = errors.forbidden("nodes", "n", "no")
        with pytest.raises(errors.StatusError):
            await step(other)
    gone = shared(a_node())
    gone.server.fails["delete"] = errors.not_found("nodes", "n")
    assert await step(gone) is None


# --- an end by force ---


async def test_the_end_of_a_node_is_set_once() -> None:
    made = shared(a_node(pod("a"), grace="10m"))
    assert await step(made) == 1.0
    told = {"metadata": {"annotations": {names.TERMINATION_TIME: timestamps.rfc3339(NOW + 600)}}}
    assert made.asked("patch")[0] == ("NodeClaim n", told)
    (claim,) = made.world.claims
    claim.metadata.annotations = told["metadata"]["annotations"]
    await step(made)
    assert not [one for one in made.asked("patch") if one[0] == "NodeClaim n"]


@pytest.mark.parametrize(
    "left, grace, deleted",
    [
        (100, 30, None),
        (30, 30, None),
        (29, 30, 29),
        (0.5, 30, 1),
        (-5, 30, 1),
        (29, None, None),
    ],
)
async def test_pods_have_all_of_their_grace(
    left: float, grace: int | None, deleted: int | None
) -> None:
    found = a_node(pod("a", termination_grace_period_seconds=grace))
    made = shared(found)
    assert found.claim is not None
    found.claim.metadata.annotations = {names.TERMINATION_TIME: timestamps.rfc3339(NOW + 100)}
    made.time = NOW + 100 - left
    assert await step(made) == 1.0
    asked = made.asked("delete")
    assert asked[0] == "Node n"
    assert asked[1:] == ([("Pod a", deleted)] if deleted is not None else [])
    assert len(made.asked("evict")) == (deleted is None)
    if deleted is not None:
        ((reason, message, _),) = made.events
        assert reason == "Disrupted"
        assert message == (
            f"Deleting the pod to accommodate the terminationTime {timestamps.rfc3339(NOW + 100)}"
            f" of the node. The pod was granted {deleted} seconds of grace-period."
        )


# --- volumes ---


def attachment(node: str) -> storage_v1.VolumeAttachment:
    made = storage_v1.VolumeAttachment()
    made.spec.node_name = node
    return made


async def test_volumes_are_waited_for() -> None:
    made = shared(a_node())
    made.world.attachments = [attachment("n"), attachment("n"), attachment("other")]
    assert await step(made) == 1.0
    waits = "AwaitingVolumeDetachment"
    assert made.conditions[-1] == (names.VOLUMES_DETACHED, "Unknown", waits)
    assert made.events == [(waits, "Awaiting deletion of 2 VolumeAttachments", False)]
    assert made.machines.deleted == []
    made.world.attachments = [attachment("other")]
    assert await step(made) is None
    assert made.conditions[-2][:2] == (names.VOLUMES_DETACHED, "True")
    made.world.attachments = [attachment("n")]
    assert await step(made) is None, "once they were away"


@pytest.mark.parametrize("left, again", [(1, 1.0), (0, 1.0), (-1, None)])
async def test_volumes_are_not_waited_for_longer_than_the_node(left: int, again: Any) -> None:
    found = a_node()
    assert found.claim is not None
    found.claim.metadata.annotations = {names.TERMINATION_TIME: timestamps.rfc3339(NOW)}
    made = shared(found)
    made.time = NOW - left
    made.world.attachments = [attachment("n")]
    assert await step(made) == again
    if again is None:
        wanted = (names.VOLUMES_DETACHED, "False", "TerminationGracePeriodElapsed")
        assert wanted in made.conditions


async def test_a_node_that_stays_takes_pods_again() -> None:
    found = a_node()
    assert found.node is not None
    made = shared(found)
    await untaint(made, found.node)
    assert made.server.asked == []
    other = core_v1.Taint(key="other", effect="NoSchedule")
    found.node.spec.taints = [core_v1.Taint(key=names.DISRUPTED_TAINT), other]
    await untaint(made, found.node)
    ((_, patch),) = made.asked("patch")
    assert patch["spec"]["taints"] == [other] and made.world.noted == ["n as written"]
