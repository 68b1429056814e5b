"""Who the claims of stateful sets go with."""

from __future__ import annotations

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.apps_v1 import StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy
from tiphys.api.meta_v1 import OwnerReference
from tiphys.controllers import retention
from tiphys.controllers.pods import owner_reference


def stateful(scaled: str = "Retain", deleted: str = "Retain", uid: str = "s") -> StatefulSet:
    made = StatefulSet()
    made.metadata.name, made.metadata.uid = "web", uid
    made.spec.persistent_volume_claim_retention_policy = (
        StatefulSetPersistentVolumeClaimRetentionPolicy(when_scaled=scaled, when_deleted=deleted)
    )
    return made


def member(uid: str = "p") -> core_v1.Pod:
    made = pod("web-0")
    made.metadata.uid = uid
    return made


FOREIGN = OwnerReference(api_version="v1", kind="ConfigMap", name="x", uid="x", controller=True)


def test_claims_go_with_whom_the_policy_says() -> None:
    both = stateful("Delete", "Delete")
    assert retention.owners(both, member(), [], False) == [owner_reference(both)]
    assert retention.owners(both, member(), [owner_reference(both)], True) == [
        owner_reference(member())
    ]
    assert retention.owners(stateful("Delete"), member(), [owner_reference(member())], False) == []
    assert retention.owners(stateful(), member(), [owner_reference(both), FOREIGN], False) == [
        FOREIGN
    ]


def test_a_reference_is_made_one_of_a_controller() -> None:
    plain = owner_reference(stateful())
    plain.controller = plain.block_owner_deletion = None
    [made] = retention.owners(stateful(deleted="Delete"), member(), [plain], False)
    assert made.controller and made.block_owner_deletion


def test_claims_of_another_controller_are_let_go() -> None:
    owner = stateful(deleted="Delete")
    assert retention.is_foreign(owner, member(), [FOREIGN])
    assert retention.owners(owner, member(), [FOREIGN, owner_reference(owner)], False) == [FOREIGN]
    assert not retention.is_foreign(stateful(), member(), [FOREIGN])


def test_claims_of_an_earlier_set_or_pod_are_left_alone() -> None:
    owner, earlier = stateful(deleted="Delete"), [owner_reference(stateful(uid="old"))]
    assert retention.owners(owner, member(), earlier, False) is earlier and retention.is_foreign(
        owner, member(), earlier
    )
    of_pod = [owner_reference(member("old"))]
    assert retention.owners(owner, member(), of_pod, False) is of_pod
    assert retention.goes_with_a_pod(stateful("Delete"), "web-0", of_pod)
