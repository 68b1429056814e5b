"""Which volume a claim may have."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import node, pod
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.api.storage_v1 import StorageClass
from tiphys.machinery.volumes import (
    allowed,
    best,
    claims_of,
    fits,
    is_bound,
    reachable,
    reserved_for,
)


def volume(name: str = "v", size: str = "2Gi", **spec: Any) -> core_v1.PersistentVolume:
    row = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], **spec}
    body = {"metadata": {"name": name, "labels": {"disk": "ssd"}}, "spec": row}
    return from_builtins(body, core_v1.PersistentVolume)


def claim(size: str = "1Gi", **spec: Any) -> core_v1.PersistentVolumeClaim:
    row = {
        "resources": {"requests": {"storage": size}},
        "accessModes": ["ReadWriteOnce"],
        **spec,
    }
    meta = {"name": "c", "namespace": "ns", "uid": "1"}
    return from_builtins({"metadata": meta, "spec": row}, core_v1.PersistentVolumeClaim)


REF = {"name": "c", "namespace": "ns"}
ZONE_A = {"key": "zone", "operator": "In", "values": ["a"]}
IN_A = {"required": {"nodeSelectorTerms": [{"matchExpressions": [ZONE_A]}]}}


@pytest.mark.parametrize(
    ("of", "wanted", "fit"),
    [
        (volume(), claim(), True),
        (volume(size="1Gi"), claim(size="1Gi"), True),
        (volume(size="1Gi"), claim(size="2Gi"), False),
        (volume(storageClassName="a"), claim(), False),
        (volume(storageClassName="a"), claim(storageClassName="a"), True),
        (volume(volumeMode="Block"), claim(), False),
        (volume(volumeMode="Filesystem"), claim(), True),
        (volume(), claim(accessModes=["ReadWriteMany"]), False),
        (volume(accessModes=["ReadWriteOnce", "ReadWriteMany"]), claim(), True),
        (volume(), claim(selector={"matchLabels": {"disk": "ssd"}}), True),
        (volume(), claim(selector={"matchLabels": {"disk": "hdd"}}), False),
    ],
)
def test_what_fits(
    of: core_v1.PersistentVolume, wanted: core_v1.PersistentVolumeClaim, fit: bool
) -> None:
    assert fits(of, wanted) is fit


def test_a_volume_that_is_being_deleted_fits_nothing() -> None:
    made = volume()
    made.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
    assert not fits(made, claim())


@pytest.mark.parametrize(
    ("reference", "reserved"),
    [
        (REF, True),
        (REF | {"uid": "1"}, True),
        (REF | {"uid": "2"}, False),
        (REF | {"namespace": "other"}, False),
        (None, False),
    ],
)
def test_a_volume_that_is_kept_for_a_claim(reference: Any, reserved: bool) -> None:
    made = volume(claimRef=reference) if reference else volume()
    assert reserved_for(made, claim()) is reserved


def test_the_smallest_that_fits_is_best_and_one_kept_for_the_claim_better() -> None:
    small, large, taken = volume("s", "2Gi"), volume("l", "9Gi"), volume("t", "1Gi", claimRef=REF)
    taken.spec.claim_ref.name = "other"  # type: ignore[union-attr]
    assert best([large, small, taken], claim()) is small
    kept = volume("k", "99Gi", claimRef=REF)
    assert best([large, small, kept], claim()) is kept
    assert best([taken], claim()) is None
    assert best([small, large], claim(volumeName="l")) is large
    assert best([small], claim(volumeName="l")) is None


def test_a_volume_that_a_node_cannot_reach_is_not_for_a_pod_there() -> None:
    here, anywhere = volume("a", "1Gi", nodeAffinity=IN_A), volume("b", "5Gi")
    inside, outside = node("n", zone="a"), node("m", zone="b")
    assert reachable(here, inside) and not reachable(here, outside)
    assert best([here, anywhere], claim(), inside) is here
    assert best([here, anywhere], claim(), outside) is anywhere


def test_a_class_may_limit_where_volumes_are_made() -> None:
    term = {"matchLabelExpressions": [{"key": "zone", "values": ["a", "c"]}]}
    made = from_builtins({"provisioner": "p", "allowedTopologies": [term]}, StorageClass)
    assert allowed(made, node("n", zone="a")) and not allowed(made, node("n", zone="b"))
    assert allowed(from_builtins({"provisioner": "p"}, StorageClass), node("n"))


def test_a_claim_is_bound_when_both_sides_say_so() -> None:
    made = claim(volumeName="v")
    assert not is_bound(made)
    made.status.phase = "Bound"
    assert is_bound(made)


def test_claims_of_a_pod_and_of_its_ephemeral_volumes() -> None:
    volumes = [
        {"name": "a", "persistentVolumeClaim": {"claimName": "x"}},
        {"name": "b", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
        {"name": "c", "emptyDir": {}},
    ]
    assert claims_of(pod("p", volumes=volumes)) == ["x", "p-b"]
