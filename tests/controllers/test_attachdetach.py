"""Which volumes are attached where."""

from __future__ import annotations

from tests.builders import node
from tiphys.api import core_v1, storage_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.attachdetach import PATIENCE, Plan, Wish, plan
from tiphys.controllers.podgc import OUT_OF_SERVICE

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
    return plan(
        where,
        wishes,
        here,
        lambda wish: elsewhere,
        {} if since is None else since,
        lambda a: WISH.unique,
        now,
    )


def test_a_volume_is_attached_where_a_pod_uses_it() -> None:
    assert look(node("n"), [WISH], []).create == [WISH]
    assert look(node("n"), [WISH], [attachment(False)]) == Plan()
    assert [v.name for v in look(node("n"), [WISH], [attachment()]).attached] == [WISH.unique]


def test_a_volume_of_one_node_is_not_attached_to_a_second() -> None:
    made = look(node("n"), [WISH], [], elsewhere=True)
    assert made.refused == [WISH] and not made.create


def test_a_volume_is_let_go_when_the_node_uses_it_no_longer() -> None:
    busy, since = node("n"), dict[str, float]()
    busy.status.volumes_in_use = [WISH.unique]
    made = look(busy, [], [attachment()], since, 10.0)
    assert not made.delete and made.wake == PATIENCE and len(made.attached) == 1
    assert look(busy, [], [attachment()], since, 11.0 + PATIENCE).delete
    assert look(node("n"), [], [attachment()]).delete and look(None, [], [attachment()]).delete


def test_a_node_that_was_given_up_is_not_waited_for() -> None:
    lost = node("n")
    lost.status.volumes_in_use = [WISH.unique]
    lost.spec.taints = [core_v1.Taint(key=OUT_OF_SERVICE, effect="NoExecute")]
    assert look(lost, [], [attachment()]).delete
