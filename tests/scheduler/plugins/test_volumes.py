"""Where pods may go for their volumes' sake."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import node, pod
from tests.scheduler.builders import info
from tiphys.api import core_v1, storage_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.machinery.volumes import SELECTED_NODE
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.configuration import Profile
from tiphys.scheduler.framework import Framework
from tiphys.scheduler.placement import Placement
from tiphys.scheduler.plugins.registry import Listers, plugins_of
from tiphys.scheduler.plugins.volume_lister import VolumeLister
from tiphys.scheduler.plugins.volume_restrictions import VolumeRestrictions
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

ZONE = "topology.kubernetes.io/zone"


class Storage:
    """Claims, volumes and classes by name, and two nodes, `a` and `b`, in zones of their names."""

    def __init__(self) -> None:
        self.claims: dict[str, core_v1.PersistentVolumeClaim] = {}
        self.volumes: dict[str, core_v1.PersistentVolume] = {}
        self.kinds: dict[str, storage_v1.StorageClass] = {}
        self.nodes: dict[str, storage_v1.CSINode] = {}
        self.drivers: dict[str, storage_v1.CSIDriver] = {}
        self.capacities: list[storage_v1.CSIStorageCapacity] = []
        self.snapshot = Snapshot()
        for name in ("a", "b"):
            made = node(name)
            made.metadata.labels[ZONE] = name
            self.snapshot.put_node(made)
        lister = VolumeLister(
            self.claims.get,
            self.volumes.get,
            self.kinds.get,
            self.nodes.get,
            self.drivers.get,
            lambda: self.volumes.values(),
            lambda: self.capacities,
        )
        self.scheduling = Framework(self.snapshot, plugins_of(Profile(), Listers(volumes=lister)))

    def claim(self, name: str, volume: str = "", kind: str = "", *modes: str) -> None:
        made = core_v1.PersistentVolumeClaim(metadata=ObjectMeta(name=name, namespace="default"))
        made.spec.volume_name, made.spec.storage_class_name = volume, kind
        made.spec.access_modes = list(modes) or ["ReadWriteOnce"]
        made.spec.resources.requests = {"storage": "10Gi"}  # type: ignore[dict-item]
        made.status.phase = "Bound" if volume else "Pending"
        self.claims[f"default/{name}"] = made

    def volume(self, name: str, labels: dict[str, str] | None = None, handle: str = "") -> None:
        made = core_v1.PersistentVolume(metadata=ObjectMeta(name=name, labels=labels or {}))
        if handle:
            made.spec.csi = core_v1.CSIPersistentVolumeSource(
                driver="csi.example.com", volume_handle=handle
            )
        self.volumes[name] = made

    def late_kind(self, **spec: Any) -> None:
        body = {
            "provisioner": "csi.example.com",
            "volumeBindingMode": "WaitForFirstConsumer",
            **spec,
        }
        self.kinds["late"] = from_builtins(body, storage_v1.StorageClass)
        self.kinds["late"].metadata.name = "late"

    def limit(self, name: str, count: int) -> None:
        rows = [{"name": "csi.example.com", "nodeID": name, "allocatable": {"count": count}}]
        self.nodes[name] = storage_v1.CSINode(
            spec=from_builtins({"drivers": rows}, storage_v1.CSINodeSpec)
        )

    def place(self, *claims: str, **spec: Any) -> Placement:
        volumes = [
            {"name": f"v{n}", "persistentVolumeClaim": {"claimName": c}}
            for n, c in enumerate(claims)
        ]
        info = PodInfo(pod(volumes=spec.pop("volumes", volumes), **spec))
        info.uid = str(len(self.snapshot.pods))
        placement = self.scheduling.place(info)
        if placement.node:
            self.snapshot.put_pod(info, placement.node)
        return placement


def test_what_no_node_can_mend_is_told_without_a_count() -> None:
    storage = Storage()
    assert (
        storage.place("none").message
        == '0/2 nodes are available: persistentvolumeclaim "none" not found.'
    )
    storage.claim("unbound")
    assert "pod has unbound immediate PersistentVolumeClaims." in storage.place("unbound").message


def test_a_claim_of_one_pod_is_used_by_one() -> None:
    storage = Storage()
    storage.volume("pv")
    storage.claim("c", "pv", "", "ReadWriteOncePod")
    assert storage.place("c").node
    assert (
        "2 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode"
        in storage.place("c").message
    )


def test_a_disk_is_written_from_one_node_and_read_from_many() -> None:
    storage = Storage()

    def disk(read_only: bool) -> list[dict[str, Any]]:
        return [{"name": "d", "gcePersistentDisk": {"pdName": "d", "readOnly": read_only}}]

    first, second = storage.place(volumes=disk(True)), storage.place(volumes=disk(True))
    assert first.node and second.node and first.node != second.node
    assert storage.place(volumes=disk(False)).reasons == {"node(s) had no available disk": 2}


def test_a_volume_with_a_zone_is_used_there() -> None:
    storage = Storage()
    storage.volume("pv", {ZONE: "b__c"})
    storage.claim("c", "pv")
    assert storage.place("c").node == "b"
    storage.volumes["pv"].metadata.labels[ZONE] = "z"
    assert storage.place("c").reasons == {"node(s) had no available volume zone": 2}


def test_a_node_has_so_many_volumes_at_most() -> None:
    storage = Storage()
    for number in range(4):
        storage.volume(f"pv{number}", handle=f"h{number}")
        storage.claim(f"c{number}", f"pv{number}")
    storage.limit("a", 1)
    storage.limit("b", 2)
    assert {storage.place("c0").node, storage.place("c1").node, storage.place("c2").node} == {
        "a",
        "b",
    }
    assert storage.place("c3").reasons == {"node(s) exceed max volume count": 2}
    assert storage.place("c0").node  # it is there already


def test_a_driver_tells_where_it_has_room() -> None:
    storage = Storage()
    storage.late_kind()
    storage.claim("c", "", "late")
    storage.drivers["csi.example.com"] = storage_v1.CSIDriver(
        spec=storage_v1.CSIDriverSpec(storage_capacity=True)
    )
    assert storage.place("c").reasons == {"node(s) did not have enough free storage": 2}
    for zone, size in (("a", "1Gi"), ("b", "20Gi")):
        where = LabelSelector(match_labels={ZONE: zone})
        room = storage_v1.CSIStorageCapacity(
            storage_class_name="late", node_topology=where, capacity=size
        )  # type: ignore[arg-type]
        storage.capacities.append(room)
    assert storage.place("c").node == "b"


def test_a_class_may_be_for_some_zones() -> None:
    storage = Storage()
    terms = [{"matchLabelExpressions": [{"key": ZONE, "values": ["b"]}]}]
    storage.late_kind(allowedTopologies=terms)
    storage.claim("c", "", "late")
    assert storage.place("c").node == "b"


@pytest.mark.parametrize(
    ("phase", "deleted", "message"),
    [
        ("Bound", False, ""),
        ("Lost", False, 'persistentvolumeclaim "c" bound to non-existent persistentvolume "pv"'),
        ("Bound", True, 'persistentvolumeclaim "c" is being deleted'),
    ],
)
def test_claims_that_cannot_be_used(phase: str, deleted: bool, message: str) -> None:
    storage = Storage()
    storage.volume("pv")
    storage.claim("c", "pv")
    storage.claims["default/c"].status.phase = phase
    storage.claims["default/c"].metadata.deletion_timestamp = "now" if deleted else None
    assert storage.place("c").pre_filter_message == message


def test_a_claim_of_an_ephemeral_volume_is_waited_for() -> None:
    storage = Storage()
    ephemeral = [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]
    message = storage.place(volumes=ephemeral).pre_filter_message
    assert message == (
        'waiting for ephemeral volume controller to create the persistentvolumeclaim "p-v"'
    )


def test_a_claim_whose_node_is_selected_is_used_there() -> None:
    storage = Storage()
    storage.late_kind()
    storage.claim("c", "", "late")
    storage.claims["default/c"].metadata.annotations[SELECTED_NODE] = "b"
    assert [storage.place("c").node for _ in range(2)] == ["b", "b"]
    storage.claims["default/c"].metadata.annotations[SELECTED_NODE] = "gone"
    assert storage.place("c").reasons == {
        "node(s) didn't find available persistent volumes to bind": 2
    }


def test_a_volume_that_does_not_exist_fits_nowhere() -> None:
    storage = Storage()
    storage.claim("c", "pv")
    assert storage.place("c").reasons == {
        "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)": 2
    }


@pytest.mark.parametrize(
    ("capacity", "maximum", "fits"),
    [("20Gi", None, True), ("20Gi", "5Gi", False), ("5Gi", "20Gi", True), (None, None, False)],
)
def test_the_largest_volume_counts_where_it_is_reported(
    capacity: str | None, maximum: str | None, fits: bool
) -> None:
    storage = Storage()
    storage.late_kind()
    storage.claim("c", "", "late")
    driver = storage_v1.CSIDriver(spec=storage_v1.CSIDriverSpec(storage_capacity=True))
    storage.drivers["csi.example.com"] = driver
    reported = storage_v1.CSIStorageCapacity(
        storage_class_name="late",
        node_topology=LabelSelector(),
        capacity=capacity,  # type: ignore[arg-type]
        maximum_volume_size=maximum,  # type: ignore[arg-type]
    )
    storage.capacities = [reported]
    assert bool(storage.place("c").node) is fits


def test_a_node_without_zones_is_in_any() -> None:
    storage = Storage()
    storage.snapshot.remove_node("b")
    storage.snapshot.put_node(node("plain"))
    storage.volume("pv", {ZONE: "z"})
    storage.claim("c", "pv")
    assert storage.place("c").node == "plain"


def test_a_pod_may_use_its_own_claim_again() -> None:
    """As when it is tried while it stands in the snapshot already."""
    storage = Storage()
    storage.volume("pv")
    storage.claim("c", "pv", "", "ReadWriteOncePod")
    pod = info("p", volumes=[mounting("c")])
    storage.snapshot.put_pod(pod, "a")
    assert storage.scheduling.place(pod).node
    assert not storage.scheduling.place(info("q", volumes=[mounting("c")])).node


def mounting(claim: str) -> dict[str, Any]:
    return {"name": "v", "persistentVolumeClaim": {"claimName": claim}}


GCE = {"name": "v", "gcePersistentDisk": {"pdName": "d"}}
AWS = {"name": "v", "awsElasticBlockStore": {"volumeID": "d", "readOnly": True}}


@pytest.mark.parametrize(
    ("mine", "deleted", "helps"),
    [
        (mounting("c"), mounting("c"), True),
        (mounting("c"), mounting("d"), False),
        (GCE, GCE, True),
        (GCE, AWS, False),
    ],
)
def test_hints_about_deleted_pods(mine: Any, deleted: Any, helps: bool) -> None:
    event = ClusterEvent(EventKind.POD_DELETED, pod=info("other", volumes=[deleted]))
    plugin = VolumeRestrictions(VolumeLister())
    pod = info("p", volumes=[mine])
    assert plugin.queueing_hint(event, Snapshot(), pod) is helps


def test_some_disks_are_never_shared() -> None:
    storage = Storage()
    assert storage.place(volumes=[AWS]).node
    assert storage.place(volumes=[AWS]).node
    assert not storage.place(volumes=[AWS]).node
