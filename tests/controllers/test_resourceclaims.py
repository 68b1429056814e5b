"""Devices from end to end: pods wait for their claims, get devices of their own, and give them
back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.builders import node, pod
from tests.controllers.bench import Bench
from tests.scheduler.device_builders import ask, claim, class_of, device, slice_of
from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.controllers.resourceclaims import ResourceClaimController
from tiphys.machinery.devices import FINALIZER, POD_CLAIM
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster


@pytest.fixture
async def cluster() -> AsyncIterator[LocalCluster]:
    """Two nodes with two devices each, one class, and nobody to run pods."""
    async with LocalCluster(controllers=True) as made:
        for name in ("a", "b"):
            ready = node(name)
            ready.status.conditions = [core_v1.NodeCondition(type="Ready", status="True")]
            await made.client.create(ready)
            await made.client.create(slice_of(name, device("d0"), device("d1")))
        await made.client.create(class_of("gpu"))
        await made.eventually(lambda: without_taints(made))
        yield made


async def without_taints(cluster: LocalCluster) -> bool:
    """Each new node has a taint until it is seen to be ready: until then, that is why pods wait."""
    nodes = (await cluster.client.list(core_v1.Node)).items
    return not any(one.spec.taints for one in nodes)


async def template(cluster: LocalCluster, name: str = "t", count: int = 1) -> None:
    spec = from_builtins({"devices": {"requests": [ask(count=count)]}}, v1.ResourceClaimSpec)
    made = v1.ResourceClaimTemplate(metadata=ObjectMeta(name=name, namespace="default"))
    made.spec.metadata.labels, made.spec.spec = {"made": "yes"}, spec
    await cluster.client.create(made)


def user(name: str, **sources: str) -> core_v1.Pod:
    """A pod with one claim; `sources` is a template or a claim by name."""
    said = {
        ("resourceClaimTemplateName" if kind == "template" else "resourceClaimName"): of
        for kind, of in sources.items()
    }
    containers = [{"name": "c", "image": "img", "resources": {"claims": [{"name": "gpu"}]}}]
    made = pod(name, resourceClaims=[{"name": "gpu", **said}], containers=containers)
    return made


async def node_of(cluster: LocalCluster, name: str) -> str:
    return (await cluster.client.get(core_v1.Pod, name, "default")).spec.node_name


async def claims(cluster: LocalCluster) -> list[v1.ResourceClaim]:
    return (await cluster.client.list(v1.ResourceClaim, "default")).items


async def end(cluster: LocalCluster, name: str) -> None:
    """The pod has run."""
    await cluster.client.patch(
        core_v1.Pod, name, {"status": {"phase": "Succeeded"}}, "default", "status", MERGE
    )


async def test_a_pod_gets_a_claim_of_its_own_and_devices(cluster: LocalCluster) -> None:
    await template(cluster)
    await cluster.client.create(user("p", template="t"))
    await cluster.eventually(lambda: node_of(cluster, "p"))
    [made] = await claims(cluster)
    bound = await cluster.client.get(core_v1.Pod, "p", "default")
    assert made.metadata.name.startswith("p-gpu-") and made.metadata.labels == {"made": "yes"}
    assert made.metadata.annotations[POD_CLAIM] == "gpu" and made.metadata.finalizers == [FINALIZER]
    assert [owner.uid for owner in made.metadata.owner_references] == [bound.metadata.uid]
    assert [(one.resource, one.name, one.uid) for one in made.status.reserved_for] == [
        ("pods", "p", bound.metadata.uid)
    ]
    assert made.status.allocation is not None and made.status.allocation.node_selector is not None
    [term] = made.status.allocation.node_selector.node_selector_terms
    assert term.match_fields[0].values == [bound.spec.node_name]
    assert [r.pool for r in made.status.allocation.devices.results] == [bound.spec.node_name]
    [status] = bound.status.resource_claim_statuses
    assert (status.name, status.resource_claim_name) == ("gpu", made.metadata.name)

    await end(cluster, "p")

    async def gone() -> bool:
        return not await claims(cluster)

    await cluster.eventually(gone)


async def test_a_pod_gets_devices_for_an_extended_resource(cluster: LocalCluster) -> None:
    await cluster.client.create(class_of("card", extendedResourceName="example.com/card"))
    limits = {"limits": {"example.com/card": "2"}}
    made = pod("p", containers=[{"name": "c", "image": "i", "resources": limits}])
    await cluster.client.create(made)
    await cluster.eventually(lambda: node_of(cluster, "p"))
    bound = await cluster.client.get(core_v1.Pod, "p", "default")
    [special] = await claims(cluster)
    status = bound.status.extended_resource_claim_status
    assert status is not None and status.resource_claim_name == special.metadata.name
    assert special.status.allocation is not None
    assert len(special.status.allocation.devices.results) == 2
    await end(cluster, "p")

    async def gone() -> bool:
        return not await claims(cluster)

    await cluster.eventually(gone)


async def test_devices_go_round(cluster: LocalCluster) -> None:
    await template(cluster, count=2)
    for name in ("p0", "p1", "p2"):
        await cluster.client.create(user(name, template="t"))

    async def waiting() -> list[core_v1.Pod]:
        pods = (await cluster.client.list(core_v1.Pod, "default")).items
        return [
            p
            for p in pods
            if not p.spec.node_name and any(c.status == "False" for c in p.status.conditions)
        ]

    async def settled() -> bool:
        return (
            len(await waiting()) == 1
            and sum(c.status.allocation is not None for c in await claims(cluster)) == 2
        )

    await cluster.eventually(settled)
    [stuck] = await waiting()
    [condition] = stuck.status.conditions
    assert condition.message == (
        "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable, preemption: "
        "0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    first = next(name for name in ("p0", "p1", "p2") if name != stuck.metadata.name)
    freed = await node_of(cluster, first)
    await end(cluster, first)
    await cluster.eventually(lambda: node_of(cluster, stuck.metadata.name))
    assert await node_of(cluster, stuck.metadata.name) == freed


async def test_pods_share_a_claim_and_follow_it(cluster: LocalCluster) -> None:
    await cluster.client.create(user("early", claim="shared"))
    made = claim("shared", ask())
    made.metadata.uid = ""
    await cluster.client.create(made)
    await cluster.client.create(user("late", claim="shared"))
    await cluster.eventually(lambda: node_of(cluster, "early"))
    await cluster.eventually(lambda: node_of(cluster, "late"))
    assert await node_of(cluster, "early") == await node_of(cluster, "late")
    [shared] = await claims(cluster)
    assert {one.name for one in shared.status.reserved_for} == {"early", "late"}

    await cluster.client.delete(v1.ResourceClaim, "shared", "default")
    [leaving] = await claims(cluster)
    assert leaving.metadata.deletion_timestamp and leaving.status.allocation is not None
    await end(cluster, "early")
    await end(cluster, "late")

    async def gone() -> bool:
        return not await claims(cluster)

    await cluster.eventually(gone)


async def test_a_claim_that_nobody_uses_gives_way(cluster: LocalCluster) -> None:
    made = claim("mine", ask())
    made.metadata.uid = ""
    await cluster.client.create(made)
    await cluster.client.create(user("first", claim="mine"))
    await cluster.eventually(lambda: node_of(cluster, "first"))
    there = await node_of(cluster, "first")
    [mine] = await claims(cluster)
    allocation = mine.status.allocation
    await end(cluster, "first")

    async def unused() -> bool:
        [now] = await claims(cluster)
        return (
            not now.status.reserved_for
            and now.status.allocation is None
            and not now.metadata.finalizers
        )

    await cluster.eventually(unused)
    [mine] = await claims(cluster)
    mine.status.allocation = allocation  # somebody allocated it by hand
    await cluster.client.update_status(mine)
    second = user("second", claim="mine")
    second.spec.node_selector = {"kubernetes.io/hostname": "b" if there == "a" else "a"}
    await cluster.client.create(second)
    await cluster.eventually(lambda: node_of(cluster, "second"))
    assert await node_of(cluster, "second") != there


async def test_what_is_missing_is_an_event(cluster: LocalCluster) -> None:
    await cluster.client.create(user("p", template="nothing"))

    async def explained() -> bool:
        events = (await cluster.client.list(core_v1.Event, "default")).items
        return any(
            e.reason == "FailedResourceClaimCreation"
            and 'resourceclaimtemplates.resource.k8s.io "nothing" not found' in e.message
            for e in events
        )

    await cluster.eventually(explained)
    made = claim(
        "odd",
        {
            "name": "r",
            "exactly": {"deviceClassName": "none", "allocationMode": "ExactCount", "count": 1},
        },
    )
    made.metadata.uid = ""
    await cluster.client.create(made)
    await cluster.client.create(user("q", claim="odd"))

    async def refused() -> bool:
        found = await cluster.client.get(core_v1.Pod, "q", "default")
        return any(
            "request r: device class none does not exist" in c.message
            for c in found.status.conditions
        )

    await cluster.eventually(refused)
    await cluster.client.create(class_of("none"))
    await cluster.eventually(lambda: node_of(cluster, "q"))
    await template(cluster, "nothing")
    await cluster.eventually(lambda: node_of(cluster, "p"))
    with pytest.raises(StatusError, match="not found"):
        await cluster.client.get(core_v1.Pod, "nobody", "default")


async def test_a_claim_that_somebody_deletes_is_created_again(cluster: LocalCluster) -> None:
    await template(cluster, count=5)  # more than any node has
    await cluster.client.create(user("p", template="t"))
    await cluster.eventually(lambda: claims(cluster))
    [first] = await claims(cluster)
    await cluster.client.delete(v1.ResourceClaim, first.metadata.name, "default")

    async def renewed() -> bool:
        names = [made.metadata.name for made in await claims(cluster)]
        found = await cluster.client.get(core_v1.Pod, "p", "default")
        named = [status.resource_claim_name for status in found.status.resource_claim_statuses]
        return len(names) == 1 and names != [first.metadata.name] and named == names

    await cluster.eventually(renewed)


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def made_claims(bench: Bench) -> ResourceClaimController:
    spec = from_builtins({"devices": {"requests": [ask()]}}, v1.ResourceClaimSpec)
    made = v1.ResourceClaimTemplate(metadata=ObjectMeta(name="t"))
    made.spec.metadata.labels, made.spec.spec = {"made": "yes"}, spec
    await bench.add(made)
    return bench.start(ResourceClaimController)


RESULT = {"request": "r", "driver": "gpu.example.com", "pool": "a", "device": "d0"}
ALLOCATION = {"devices": {"results": [RESULT]}}


async def allocated(bench: Bench, one: v1.ResourceClaim, *users: core_v1.Pod) -> v1.ResourceClaim:
    """The claim with a device, protected and reserved for the pods."""
    one = await bench.change(one, metadata={"finalizers": [FINALIZER]})
    rows = [
        {"resource": "pods", "name": each.metadata.name, "uid": each.metadata.uid} for each in users
    ]
    return await bench.say(one, allocation=ALLOCATION, reservedFor=rows)


async def step(bench: Bench, controller: ResourceClaimController, kind: str, name: str) -> None:
    await bench.step(controller, f"{kind}/{bench.key(name)}")


async def the_claim(bench: Bench) -> v1.ResourceClaim:
    [one] = await bench.all(v1.ResourceClaim)
    return one


@together
async def test_a_pod_gets_one_claim_and_is_told_its_name(
    bench: Bench, made_claims: ResourceClaimController
) -> None:
    one = await bench.add(user("p", template="t"))
    assert await bench.queued(made_claims) == ["pod/p"]
    with bench.unseen(v1.ResourceClaim):
        await step(bench, made_claims, "pod", "p")
        await step(bench, made_claims, "pod", "p")
    made = await the_claim(bench)
    assert made.metadata.labels == {"made": "yes"}
    assert made.metadata.annotations[POD_CLAIM] == "gpu"
    assert made.metadata.owner_references[0].uid == one.metadata.uid
    found = await bench.get(core_v1.Pod, "p")
    assert found is not None
    [status] = found.status.resource_claim_statuses
    assert (status.name, status.resource_claim_name) == ("gpu", made.metadata.name)
    assert f"claim/{made.metadata.name}" in await bench.queued(made_claims)
    assert made_claims._created == {}, "the informer shows it"


@together
async def test_a_template_that_is_missed_is_told_and_leads_to_the_pod_when_it_comes(
    bench: Bench, made_claims: ResourceClaimController
) -> None:
    await bench.add(user("p", template="late"))
    with pytest.raises(StatusError):
        await step(bench, made_claims, "pod", "p")
    assert bench.reasons() == ["FailedResourceClaimCreation"]
    await bench.queued(made_claims)
    late = v1.ResourceClaimTemplate(metadata=ObjectMeta(name="late"))
    late.spec.spec = from_builtins({"devices": {"requests": [ask()]}}, v1.ResourceClaimSpec)
    with bench.unseen(v1.ResourceClaimTemplate):
        made = await bench.add(late)
        await step(bench, made_claims, "pod", "p")
    assert len(await bench.all(v1.ResourceClaim)) == 1, "the server is asked"
    assert "pod/p" in await bench.queued(made_claims)
    await bench.change(made, metadata={"labels": {"a": "b"}})
    assert await bench.queued(made_claims) == [], "it is not new"


@together
async def test_a_bound_pod_is_reserved_what_is_allocated(
    bench: Bench, made_claims: ResourceClaimController
) -> None:
    one = await bench.add(claim("c", ask()))
    bound = user("p", claim="c")
    bound.spec.node_name = "n"
    bound = await bench.add(bound)
    await step(bench, made_claims, "pod", "p")
    assert (await the_claim(bench)).status.reserved_for == [], "it has no device"
    await allocated(bench, one)
    for _ in range(2):
        await step(bench, made_claims, "pod", "p")
    [reserved] = (await the_claim(bench)).status.reserved_for
    assert (reserved.name, reserved.uid) == ("p", bound.metadata.uid)
    waiting = await bench.add(user("q", claim="c"))
    await step(bench, made_claims, "pod", "q")
    assert len((await the_claim(bench)).status.reserved_for) == 1
    full = [{"resource": "pods", "name": f"x{n}", "uid": f"x{n}"} for n in range(256)]
    await bench.say(one, reservedFor=full)
    await step(bench, made_claims, "pod", "p")
    assert len((await the_claim(bench)).status.reserved_for) == 256, "there is no room"
    assert waiting.metadata.name == "q"


@together
async def test_who_is_done_gives_its_devices_back(
    bench: Bench, made_claims: ResourceClaimController
) -> None:
    one = await bench.add(claim("c", ask()))
    first = await bench.add(user("first", claim="c"))
    second = await bench.add(user("second", claim="c"))
    one = await allocated(bench, one, first, second)
    await step(bench, made_claims, "claim", "c")
    assert len((await the_claim(bench)).status.reserved_for) == 2
    await bench.say(first, phase="Succeeded")
    await step(bench, made_claims, "claim", "c")
    found = await the_claim(bench)
    assert [each.name for each in found.status.reserved_for] == ["second"]
    assert found.status.allocation is not None and found.metadata.finalizers == [FINALIZER]
    await bench.remove(second, grace=0)
    await step(bench, made_claims, "claim", "c")
    found = await the_claim(bench)
    assert found.status.allocation is None and found.status.reserved_for == []
    assert found.metadata.finalizers == []


@together
async def test_only_pods_end(bench: Bench, made_claims: ResourceClaimController) -> None:
    one = await bench.add(claim("c", ask()))
    other = {"resource": "jobs", "apiGroup": "batch", "name": "j", "uid": "j"}
    await bench.change(one, metadata={"finalizers": [FINALIZER]})
    await bench.say(one, allocation=ALLOCATION, reservedFor=[other])
    await step(bench, made_claims, "claim", "c")
    assert len((await the_claim(bench)).status.reserved_for) == 1


@together
async def test_a_claim_that_nobody_has_used_keeps_its_device_until_it_is_deleted(
    bench: Bench, made_claims: ResourceClaimController
) -> None:
    one = await bench.add(claim("c", ask()))
    await allocated(bench, one)
    await step(bench, made_claims, "claim", "c")
    found = await the_claim(bench)
    assert found.status.allocation is not None and found.metadata.finalizers == [FINALIZER]
    await bench.remove(found)
    await step(bench, made_claims, "claim", "c")
    assert await bench.all(v1.ResourceClaim) == []


@together
async def test_a_claim_of_a_pods_own_goes_with_it(
    bench: Bench, made_claims: ResourceClaimController
) -> None:
    one = await bench.add(user("p", template="t"))
    await step(bench, made_claims, "pod", "p")
    made = await the_claim(bench)
    name = made.metadata.name
    await step(bench, made_claims, "claim", name)
    assert (await the_claim(bench)).metadata.deletion_timestamp is None
    await bench.queued(made_claims)
    await bench.say(one, phase="Failed")
    assert await bench.queued(made_claims) == [f"claim/{name}", "pod/p"]
    await step(bench, made_claims, "claim", name)
    assert await bench.all(v1.ResourceClaim) == []
    await step(bench, made_claims, "pod", "p")
    assert await bench.all(v1.ResourceClaim) == [], "it has ended"


@together
async def test_what_was_remembered_of_a_pod_goes_with_it(
    bench: Bench, made_claims: ResourceClaimController
) -> None:
    one = await bench.add(user("p", template="t"))
    with bench.unseen(v1.ResourceClaim):
        await step(bench, made_claims, "pod", "p")
        assert list(made_claims._created) == [(one.metadata.uid, "gpu")]
        await step(bench, made_claims, "pod", "other")
        assert len(made_claims._created) == 1
        await bench.remove(one, grace=0)
        await step(bench, made_claims, "pod", "p")
    assert made_claims._created == {}


@together
async def test_a_pod_without_claims_leads_nowhere(
    bench: Bench, made_claims: ResourceClaimController
) -> None:
    await bench.add(pod("plain"))
    assert await bench.queued(made_claims) == []
