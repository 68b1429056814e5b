"""Which volumes are attached where."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.builders import node, pod
from tests.controllers.bench import Bench
from tiphys.api import core_v1, storage_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.attachdetach import AttachDetachController
from tiphys.controllers.attachplan import (
    ATTACHING,
    PATIENCE,
    Plan,
    Surroundings,
    Wish,
    is_exclusive,
    plan,
)
from tiphys.machinery.nodes import OUT_OF_SERVICE
from tiphys.testing import LocalCluster

WISH = Wish("csi.example.com", "vol-1", "pv-1", "n")


def attachment(attached: bool = True) -> storage_v1.VolumeAttachment:
    made = storage_v1.VolumeAttachment(metadata=ObjectMeta(name=WISH.name))
    made.status.attached = attached
    return made


def look(
    where: core_v1.Node | None,
    wishes: list[Wish],
    here: list[storage_v1.VolumeAttachment],
    since: dict[str, float] | None = None,
    now: float = 0.0,
    elsewhere: bool = False,
) -> Plan:
    around = Surroundings(
        lambda wish: elsewhere, lambda found: WISH.unique_name, {} if since is None else since
    )
    return plan(where, wishes, here, around, now)


def test_a_volume_is_attached_where_a_pod_uses_it() -> None:
    assert look(node("n"), [WISH], []).create == [WISH]
    assert look(node("n"), [WISH], [attachment(False)]) == Plan(wake=ATTACHING)
    assert [v.name for v in look(node("n"), [WISH], [attachment()]).attached] == [WISH.unique_name]


def test_an_attacher_that_does_nothing_is_an_event_every_two_minutes() -> None:
    around = Surroundings(lambda wish: False, lambda found: WISH.unique_name)

    def late(now: float, *here: storage_v1.VolumeAttachment) -> list[Wish]:
        return plan(node("n"), [WISH], list(here), around, now).late

    waiting = attachment(False)
    assert [late(now, waiting) for now in (0, 119, 120, 200, 240)] == [[], [], [WISH], [], [WISH]]
    assert late(400, attachment()) == [] == late(500, waiting), "the wait starts over"


def test_a_volume_of_one_node_is_not_attached_to_a_second() -> None:
    made = look(node("n"), [WISH], [], elsewhere=True)
    assert made.refused == [WISH] and not made.create


def test_a_volume_is_let_go_when_the_node_uses_it_no_longer() -> None:
    busy, since = node("n"), dict[str, float]()
    busy.status.volumes_in_use = [WISH.unique_name]
    made = look(busy, [], [attachment()], since, 10.0)
    assert not made.delete and made.wake == PATIENCE and len(made.attached) == 1
    assert look(busy, [], [attachment()], since, 11.0 + PATIENCE).delete
    assert look(node("n"), [], [attachment()]).delete and look(None, [], [attachment()]).delete


def test_a_volume_that_is_wanted_again_stays() -> None:
    busy, since = node("n"), dict[str, float]()
    busy.status.volumes_in_use = [WISH.unique_name]
    look(busy, [], [attachment()], since, 10.0)
    assert look(busy, [WISH], [attachment()], since, 20.0) == Plan(
        attached=[core_v1.AttachedVolume(name=WISH.unique_name)]
    )
    assert look(busy, [], [attachment()], since, 1000.0).wake == PATIENCE, "the wait starts over"


def test_attachments_of_others_and_those_that_go_are_left_alone() -> None:
    theirs = attachment()
    theirs.metadata.name = "by-hand"
    going = attachment()
    going.metadata.deletion_timestamp = "x"
    made = look(node("n"), [], [theirs, going])
    assert not made.delete and len(made.attached) == 1


@pytest.mark.parametrize(
    ("modes", "exclusive"),
    [
        (["ReadWriteOnce"], True),
        (["ReadWriteOncePod"], True),
        (["ReadWriteOnce", "ReadOnlyMany"], False),
        (["ReadWriteMany"], False),
    ],
)
def test_some_volumes_are_on_one_node_only(modes: list[str], exclusive: bool) -> None:
    volume = core_v1.PersistentVolume()
    volume.spec.access_modes = modes
    assert is_exclusive(volume) is exclusive


def test_a_node_that_was_given_up_is_not_waited_for() -> None:
    lost = node("n")
    lost.status.volumes_in_use = [WISH.unique_name]
    lost.spec.taints = [core_v1.Taint(key=OUT_OF_SERVICE, effect="NoExecute")]
    assert look(lost, [], [attachment()]).delete


async def test_a_driver_that_stops_attaching_gives_its_volumes_back() -> None:
    async with LocalCluster(controllers=True) as cluster:
        await cluster.client.create(node("n"))
        await cluster.client.create(driver(attaches=True))
        claim_ref = {"namespace": "default", "name": "c"}
        spec = {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "claimRef": claim_ref,
            "csi": {"driver": WISH.driver, "volumeHandle": WISH.handle},
        }
        body = {"metadata": {"name": WISH.volume}, "spec": spec}
        await cluster.client.create(from_builtins(body, core_v1.PersistentVolume))
        asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        claim = {"metadata": claim_ref, "spec": {**asked, "storageClassName": ""}}
        await cluster.client.create(from_builtins(claim, core_v1.PersistentVolumeClaim))
        volume = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
        await cluster.client.create(pod("p", nodeName="n", volumes=[volume]))
        await cluster.eventually(lambda: _attachments(cluster, {WISH.name}))
        await cluster.client.delete(storage_v1.CSIDriver, WISH.driver)
        await cluster.client.create(driver(attaches=False))
        await cluster.eventually(lambda: _attachments(cluster, set()))


def driver(attaches: bool) -> storage_v1.CSIDriver:
    body = {"metadata": {"name": WISH.driver}, "spec": {"attachRequired": attaches}}
    return from_builtins(body, storage_v1.CSIDriver)


async def _attachments(cluster: LocalCluster, names: set[str]) -> bool:
    items = (await cluster.client.list(storage_v1.VolumeAttachment)).items
    return {one.metadata.name for one in items} == names


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def attacher(bench: Bench) -> AttachDetachController:
    """With a node, and a claim `c` that is bound to a volume of a driver."""
    await bench.add(node(bench.namespace))
    driver_of_its_own = storage_v1.CSIDriver(metadata=ObjectMeta(name=name_of_driver(bench)))
    driver_of_its_own.spec.attach_required = True
    await bench.add(driver_of_its_own)
    size = {"storage": "1Gi"}
    csi = {"driver": name_of_driver(bench), "volumeHandle": "h"}
    modes = {"accessModes": ["ReadWriteOnce"]}
    spec = {
        **modes,
        "capacity": size,
        "csi": csi,
        "claimRef": {"name": "c", "namespace": bench.namespace},
    }
    volume = {"metadata": {"name": bench.namespace}, "spec": spec}
    await bench.add(from_builtins(volume, core_v1.PersistentVolume))
    wish = {**modes, "volumeName": bench.namespace, "resources": {"requests": size}}
    await bench.add(from_builtins({"metadata": {"name": "c"}, "spec": wish}, Claim))
    return bench.start(AttachDetachController)


Claim = core_v1.PersistentVolumeClaim


def name_of_driver(bench: Bench) -> str:
    return f"{bench.namespace}.example.com"


def user(bench: Bench, name: str = "p", where: str = "") -> core_v1.Pod:
    source = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
    return pod(name, nodeName=where or bench.namespace, volumes=[source])


async def attachments(bench: Bench) -> list[storage_v1.VolumeAttachment]:
    found = await bench.all(storage_v1.VolumeAttachment)
    return [each for each in found if each.spec.attacher == name_of_driver(bench)]


async def step(bench: Bench, attacher: AttachDetachController) -> float | None:
    await bench.seen()
    return await attacher.reconcile(bench.namespace)


async def on_node(bench: Bench) -> list[str]:
    found = await bench.client.get(core_v1.Node, bench.namespace)
    return [each.name for each in found.status.volumes_attached]


@together
async def test_a_volume_is_attached_shown_and_detached(
    bench: Bench, attacher: AttachDetachController
) -> None:
    one = await bench.add(user(bench))
    await step(bench, attacher)
    [made] = await attachments(bench)
    assert made.spec.source.persistent_volume_name == bench.namespace
    assert made.spec.node_name == bench.namespace and await on_node(bench) == []
    await bench.say(made, attached=True)
    await step(bench, attacher)
    assert await on_node(bench) == [f"kubernetes.io/csi/{name_of_driver(bench)}^h"]
    assert bench.reasons() == ["SuccessfulAttachVolume"]
    await step(bench, attacher)
    assert bench.reasons() == [], "it is told once"
    await bench.say(one, phase="Succeeded")
    for _ in range(2):
        await step(bench, attacher)
    assert await attachments(bench) == [] and await on_node(bench) == []


@together
async def test_one_that_is_there_already_is_no_failure(
    bench: Bench, attacher: AttachDetachController
) -> None:
    await bench.add(user(bench))
    await step(bench, attacher)
    with bench.unseen(storage_v1.VolumeAttachment):
        attacher._attachments._objects.clear()
        for index in attacher._attachments._indexes.values():
            index.objects.clear()
        await step(bench, attacher)
    assert len(await attachments(bench)) == 1


@together
async def test_a_failure_of_an_attacher_is_told_to_the_pods_that_wait(
    bench: Bench, attacher: AttachDetachController
) -> None:
    await bench.add(user(bench))
    await bench.add(pod("other", nodeName=bench.namespace))
    await step(bench, attacher)
    [made] = await attachments(bench)
    for message, told in (
        ("no disk", ["FailedAttachVolume"]),
        ("no disk", []),
        ("no bus", ["FailedAttachVolume"]),
    ):
        await bench.say(made, attachError={"message": message})
        await bench.seen()
        assert bench.reasons() == told


@together
async def test_a_volume_of_one_node_waits_for_the_other_to_let_go(
    bench: Bench, attacher: AttachDetachController
) -> None:
    elsewhere = storage_v1.VolumeAttachment(metadata=ObjectMeta(name=bench.namespace))
    elsewhere.spec.attacher, elsewhere.spec.node_name = name_of_driver(bench), "elsewhere"
    elsewhere.spec.source.persistent_volume_name = bench.namespace
    await bench.add(elsewhere)
    await bench.add(user(bench))
    await bench.seen()
    bench.reasons()  # those of other tests' attachments
    assert await step(bench, attacher) == 5
    assert len(await attachments(bench)) == 1
    [event] = bench.events.recorded
    assert event.message.startswith("Multi-Attach error for volume")
    volume = await bench.client.get(core_v1.PersistentVolume, bench.namespace)
    assert volume.spec.access_modes == ["ReadWriteOnce"]


@pytest.mark.parametrize("what", ["ended", "driver", "claim", "local"])
@together
async def test_what_needs_no_attaching_is_not_attached(
    bench: Bench, attacher: AttachDetachController, what: str
) -> None:
    one = await bench.add(user(bench))
    if what == "ended":
        await bench.say(one, phase="Failed")
    elif what == "driver":
        attacher._drivers._objects.clear()
        await attacher._drivers.relisted()
        attacher._drivers._objects[name_of_driver(bench)].spec.attach_required = False
    elif what == "claim":
        attacher._claims._objects.clear()
        claim = await bench.get(Claim, "c")
        assert claim is not None
        await bench.change(claim, metadata={"finalizers": None})
        await bench.remove(claim)
    else:
        await bench.seen()
        attacher._volumes._objects[bench.namespace].spec.csi = None
    if what in ("driver", "local"):
        await attacher.reconcile(bench.namespace)
    else:
        await step(bench, attacher)
    assert await attachments(bench) == []


@together
async def test_who_leads_to_a_node(bench: Bench, attacher: AttachDetachController) -> None:
    async def woken() -> bool:
        return bench.namespace in await bench.queued(attacher)

    assert not await woken()
    await bench.add(pod("plain", nodeName=bench.namespace))
    assert not await woken()
    one = await bench.add(user(bench))
    assert await woken()
    claim = await bench.get(Claim, "c")
    await bench.change(claim, metadata={"labels": {"a": "b"}})
    assert not await woken(), "it was bound before, or was not"
    await bench.say(claim, phase="Bound")
    assert await woken()
    await bench.change(claim, metadata={"labels": {"a": "c"}})
    assert not await woken()
    there = await bench.client.get(core_v1.Node, bench.namespace)
    await bench.change(there, metadata={"labels": {"a": "b"}})
    assert not await woken(), "nothing is attached to it"
    await step(bench, attacher)
    assert await woken(), "by its attachment"
    await bench.change(there, metadata={"labels": {"a": "c"}})
    assert await woken()
    about = await bench.client.get(storage_v1.CSIDriver, name_of_driver(bench))
    await bench.change(about, metadata={"labels": {"a": "b"}})
    assert await woken()
    assert one.metadata.name == "p"
