"""Which volumes are attached where."""

from __future__ import annotations

import pytest

from tests.builders import node, pod
from tiphys.api import core_v1, storage_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
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
