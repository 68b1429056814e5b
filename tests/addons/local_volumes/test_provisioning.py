"""Volumes out of claims."""

from __future__ import annotations

import pytest

from tests.addons.local_volumes.builders import claim, storage_class, volume
from tiphys.addons.local_volumes.provisioning import (
    NotRemovedError,
    local_volume,
    recorded_path,
)
from tiphys.api import core_v1


def test_a_volume_is_what_its_claim_and_its_class_say() -> None:
    volume = local_volume(claim(node="n1"), storage_class(reclaim_policy="Retain"))
    spec = volume.spec
    assert (volume.metadata.name, spec.storage_class_name) == ("pvc-u1", "standard")
    assert (spec.capacity, spec.access_modes) == ({"storage": "1Gi"}, ["ReadWriteOnce"])
    assert spec.persistent_volume_reclaim_policy == "Retain"
    assert spec.host_path is not None
    assert spec.host_path.path == "/var/lib/tiphys/volumes/pvc-u1_default_data"
    assert spec.claim_ref is not None and spec.claim_ref.uid == "u1"


def test_a_volume_can_be_used_on_the_node_that_was_chosen_and_no_other() -> None:
    affinity = local_volume(claim(node="n1"), storage_class()).spec.node_affinity
    assert affinity is not None and affinity.required is not None
    [term] = affinity.required.node_selector_terms
    [requirement] = term.match_expressions
    assert (requirement.key, requirement.values) == ("kubernetes.io/hostname", ["n1"])


def test_a_volume_without_a_chosen_node_can_be_used_anywhere() -> None:
    assert local_volume(claim(), storage_class()).spec.node_affinity is None


def test_a_class_may_name_another_folder() -> None:
    volume = local_volume(claim(), storage_class(parameters={"path": "/mnt/nvme"}))
    assert volume.spec.host_path is not None
    assert volume.spec.host_path.path == "/mnt/nvme/pvc-u1_default_data"


@pytest.mark.parametrize("path", ["volumes", "./volumes", ""])
def test_a_folder_that_is_no_absolute_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="storage class standard is not an absolute path"):
        local_volume(claim(), storage_class(parameters={"path": path}))


FOLDER = "/var/lib/tiphys/volumes/pvc-u1_default_data"
RECORDS = [
    ({"uid": "v1", "path": FOLDER}, True),
    ({"uid": "v2", "path": FOLDER}, False),
    ({"uid": "v1", "path": "/etc"}, False),
    ({"uid": "v1"}, False),
    ({"path": FOLDER}, False),
    ({}, False),
]


@pytest.mark.parametrize(("data", "ours"), RECORDS)
def test_only_a_record_of_this_very_volume_and_folder_counts(
    data: dict[str, str], ours: bool
) -> None:
    provisioned = volume()
    provisioned.metadata.uid = "v1"
    record = core_v1.ConfigMap(data=data)
    if ours:
        assert recorded_path(record, provisioned) == FOLDER
    else:
        with pytest.raises(NotRemovedError, match="made another volume of this name"):
            recorded_path(record, provisioned)


def test_a_volume_without_a_folder_has_none_to_remove() -> None:
    provisioned = volume()
    provisioned.metadata.uid = "v1"
    provisioned.spec.host_path = None
    with pytest.raises(NotRemovedError):
        recorded_path(core_v1.ConfigMap(data={"uid": "v1"}), provisioned)
