"""What a deployment writes onto its replica sets, and counts of them."""

from __future__ import annotations

from tests.builders import deployment
from tiphys.api.apps_v1 import ReplicaSet
from tiphys.controllers import replicasets
from tiphys.controllers.rollout import DESIRED, HASH, MAXIMUM, REVISION


def rs(name: str = "rs", **annotations: str) -> ReplicaSet:
    made = ReplicaSet()
    made.metadata.name = name
    made.metadata.annotations = dict(annotations)
    return made


def test_annotations_are_copied_but_for_our_own() -> None:
    owner = deployment(replicas=4)
    owner.metadata.annotations = {"a": "b", REVISION: "9"}
    found = rs()
    assert replicasets.annotate(owner, found, 3)
    assert found.metadata.annotations == {"a": "b", REVISION: "3", DESIRED: "4", MAXIMUM: "4"}
    assert not replicasets.annotate(owner, found, 3)


def test_a_set_that_is_the_new_one_again_remembers_its_revisions() -> None:
    found = rs(**{REVISION: "2"})
    replicasets.annotate(deployment(), found, 1)
    assert found.metadata.annotations[REVISION] == "2"
    assert replicasets.HISTORY not in found.metadata.annotations
    for revision in (5, 8):
        replicasets.annotate(deployment(), found, revision)
    assert found.metadata.annotations[REVISION] == "8"
    assert found.metadata.annotations[replicasets.HISTORY] == "2,5"


def test_a_new_set_has_the_hash_of_its_template() -> None:
    owner = deployment()
    made = replicasets.new_replica_set(owner, [])
    digest = made.metadata.labels[HASH]
    assert made.metadata.name == f"web-{digest}" and made.spec.selector is not None
    assert made.spec.selector.match_labels == {"app": "web", HASH: digest}
    assert made.spec.template.metadata.labels[HASH] == digest
    assert owner.spec.selector is not None and HASH not in owner.spec.selector.match_labels


def test_of_several_sets_with_the_template_the_oldest_is_the_new_one() -> None:
    owner = deployment()
    sets = [replicasets.new_replica_set(owner, []) for _ in range(2)]
    for found, created in zip(sets, ("2", "1"), strict=True):
        found.metadata.creation_timestamp = created
    assert replicasets.newest(owner, sets) is sets[1]
    assert replicasets.newest(deployment(image="other"), sets) is None


def test_pods_of_all_sets_are_counted() -> None:
    new, old = rs("new"), rs("old")
    new.spec.replicas, old.spec.replicas = 3, 2
    new.status.replicas, old.status.replicas = 2, 2
    new.status.ready_replicas, old.status.ready_replicas = 1, 2
    new.status.available_replicas, old.status.available_replicas = 1, 1
    old.status.terminating_replicas = 4
    status = replicasets.counted(deployment(), [new, old], new)
    assert (status.replicas, status.updated_replicas, status.ready_replicas) == (4, 2, 3)
    assert (status.available_replicas, status.unavailable_replicas) == (2, 3)
    assert status.terminating_replicas == 4
    assert replicasets.counted(deployment(), [old], None).updated_replicas == 0
    new.status.available_replicas = old.status.available_replicas = 3
    assert replicasets.counted(deployment(), [new, old], new).unavailable_replicas == 0
