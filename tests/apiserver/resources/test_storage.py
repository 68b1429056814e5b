"""Volumes, claims, classes and drivers of storage: upstream's core and storage validation, both sides of
each rule."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.kit import SERVED
from tests.apiserver.rules import STRATEGIES, built, fields, wrong_with, wrong_with_change
from tests.apiserver.tables import each_row
from tiphys.api.base import to_builtins

VOLUME = "persistentvolumes"
CLAIM = "persistentvolumeclaims"
CLASS = "storageclasses.storage.k8s.io"
DRIVER = "csidrivers.storage.k8s.io"
CSI_NODE = "csinodes.storage.k8s.io"
CAPACITY = "csistoragecapacities.storage.k8s.io"
ATTACHMENT = "volumeattachments.storage.k8s.io"
RANGE = "servicecidrs.networking.k8s.io"


def spec(**parts: Any) -> dict[str, Any]:
    return {"spec": parts}


def csi(driver: str = "d.com", handle: str = "h", **more: Any) -> dict[str, Any]:
    source = {"driver": driver, "volumeHandle": handle}
    return spec(hostPath=None, csi=source, **more)


TERM = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}
NEAR = {"required": TERM}
LOCAL = {"hostPath": None, "local": {"path": "/d"}}


def source(**parts: Any) -> dict[str, Any]:
    return spec(dataSource={"kind": "PersistentVolumeClaim", "name": "x", **parts})


def reference(**parts: Any) -> dict[str, Any]:
    return spec(dataSourceRef={"kind": "K", "name": "x", "apiGroup": "g.io", **parts})


def topology(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"allowedTopologies": [{"matchLabelExpressions": list(terms)}]}


def driver(**parts: Any) -> dict[str, Any]:
    return {"spec": {"drivers": [{"name": "a.b", "nodeID": "n", **parts}]}}


def tokens(*requests: dict[str, Any]) -> dict[str, Any]:
    return spec(tokenRequests=list(requests))


SOURCE = "spec.source"
TERMS = "allowedTopologies[0].matchLabelExpressions"


@each_row(
    [
        # --- volumes ---
        (VOLUME, spec(accessModes=[]), ["spec.accessModes"]),
        (VOLUME, spec(accessModes=["ReadOnlyMany", "ReadWriteMany"]), []),
        (VOLUME, spec(capacity={"storage": "0"}), []),
        (VOLUME, spec(capacity={"storage": "-1"}), ["spec.capacity[storage]"]),
        (VOLUME, spec(capacity={"storage": None, "other": "1"}), ["spec.capacity"]),
        (VOLUME, spec(capacity={"storage": None}), ["spec.capacity"] * 2),
        (VOLUME, spec(persistentVolumeReclaimPolicy="Delete"), []),
        (VOLUME, spec(persistentVolumeReclaimPolicy="Burn"), ["spec.persistentVolumeReclaimPolicy"]),
        (VOLUME, spec(hostPath=None), ["spec"]),
        (VOLUME, spec(nfs={"server": "s", "path": "/p"}), ["spec.nfs"]),
        (VOLUME, spec(hostPath={"path": "/a/../b"}), ["spec.hostPath.path"]),
        (VOLUME, spec(hostPath=None, nfs={"server": "", "path": "p"}), ["spec.nfs.server", "spec.nfs.path"]),
        (VOLUME, spec(nodeAffinity={}), ["spec.nodeAffinity.required"]),
        (VOLUME, spec(nodeAffinity={"required": {"nodeSelectorTerms": []}}), ["spec.nodeAffinity.required.nodeSelectorTerms"]),
        (VOLUME, spec(nodeAffinity=NEAR, **LOCAL), []),
        (VOLUME, spec(**LOCAL), ["spec.nodeAffinity"]),
        (VOLUME, spec(nodeAffinity=NEAR, hostPath=None, local={"path": ""}), ["spec.local.path"]),
        (VOLUME, spec(storageClassName="A"), ["spec.storageClassName"]),
        (VOLUME, csi(), []),
        (VOLUME, csi(driver=""), ["spec.csi.driver"] * 2),
        (VOLUME, csi(handle=""), ["spec.csi.volumeHandle"]),
        (VOLUME, csi(volumeAttributesClassName="a"), []),
        (VOLUME, csi(volumeAttributesClassName=""), ["spec.volumeAttributesClassName"]),
        (VOLUME, spec(volumeAttributesClassName="a"), ["spec.csi"]),
        # --- claims ---
        (CLAIM, spec(accessModes=[]), ["spec.accessModes"]),
        (CLAIM, spec(resources={"requests": {"storage": None}}), ["spec.resources[storage]"]),
        (CLAIM, spec(resources={"requests": {"storage": "0"}}), ["spec.resources[storage]"]),
        (CLAIM, spec(resources={"requests": {"storage": "1"}}), []),
        (CLAIM, spec(storageClassName=""), []),
        (CLAIM, spec(storageClassName="A"), ["spec.storageClassName"]),
        (CLAIM, spec(volumeAttributesClassName="A"), ["spec.volumeAttributesClassName"]),
        (CLAIM, spec(selector={"matchLabels": {"a b": "c"}}), ["spec.selector.matchLabels"]),
        (CLAIM, source(), []),
        (CLAIM, source(apiGroup="g.io", kind="K"), []),
        (CLAIM, source(kind="K"), ["spec.dataSource", "spec.dataSourceRef"]),
        (CLAIM, source(apiGroup="G", kind="K"), ["spec.dataSource.apiGroup", "spec.dataSourceRef.apiGroup"]),
        (CLAIM, source(name=""), ["spec.dataSource.name", "spec.dataSourceRef.name"]),
        (CLAIM, reference(), []),
        (CLAIM, reference(namespace="n"), []),
        (CLAIM, reference(namespace="N"), ["spec.dataSourceRef.namespace"]),
        # --- classes ---
        (CLASS, {"provisioner": ""}, ["provisioner"]),
        (CLASS, {"provisioner": "A.b/C"}, []),
        (CLASS, {"provisioner": "a b"}, ["provisioner"]),
        (CLASS, {"reclaimPolicy": "Recycle"}, ["reclaimPolicy"]),
        (CLASS, {"volumeBindingMode": "WaitForFirstConsumer"}, []),
        (CLASS, {"volumeBindingMode": "Later"}, ["volumeBindingMode"]),
        (CLASS, topology({"key": "a", "values": ["x", "y"]}, {"key": "b", "values": ["x"]}), []),
        (CLASS, topology(), ["allowedTopologies[0]"]),
        (CLASS, topology({"key": "a", "values": []}), [f"{TERMS}[0].values"]),
        (CLASS, topology({"key": "a", "values": ["x", "x"]}), [f"{TERMS}[0].values[1]"]),
        (CLASS, topology({"key": "a b", "values": ["x"]}), [f"{TERMS}[0].key"]),
        (CLASS, topology(*[{"key": "a", "values": ["x"]}] * 2), [f"{TERMS}[1].key"]),
        # --- drivers ---
        (DRIVER, spec(volumeLifecycleModes=["Ephemeral", "Persistent"]), []),
        (DRIVER, spec(volumeLifecycleModes=["Forever"]), ["spec.volumeLifecycleModes"]),
        (DRIVER, spec(fsGroupPolicy="File"), []),
        (DRIVER, spec(fsGroupPolicy="Never"), ["spec.fsGroupPolicy"]),
        (DRIVER, tokens({"audience": "a", "expirationSeconds": 600}, {"audience": ""}), []),
        (DRIVER, tokens({"audience": "a", "expirationSeconds": 599}), ["spec.tokenRequests[0].expirationSeconds"]),
        (DRIVER, tokens({"audience": "a"}, {"audience": "a"}), ["spec.tokenRequests[1].audience"]),
        (DRIVER, spec(nodeAllocatableUpdatePeriodSeconds=10), []),
        (DRIVER, spec(nodeAllocatableUpdatePeriodSeconds=9), ["spec.nodeAllocatableUpdatePeriodSeconds"]),
        (DRIVER, {"metadata": {"name": "a" * 64}}, ["metadata.name"]),
        (CSI_NODE, driver(nodeID="x" * 192, topologyKeys=["a", "b"], allocatable={"count": 0}), []),
        (CSI_NODE, driver(nodeID="x" * 193), ["spec.drivers[0].nodeID"]),
        (CSI_NODE, driver(nodeID=""), ["spec.drivers[0].nodeID"]),
        (CSI_NODE, driver(allocatable={"count": -1}), ["spec.drivers[0].allocatable.count"]),
        (CSI_NODE, driver(topologyKeys=["a", "a"]), ["spec.drivers[0].topologyKeys"]),
        (CSI_NODE, driver(topologyKeys=["a b"]), ["spec.drivers[0].topologyKeys"]),
        (CSI_NODE, {"spec": {"drivers": [{"name": "a", "nodeID": "n"}] * 2}}, ["spec.drivers[1].name"]),
        (CAPACITY, {"capacity": "0", "maximumVolumeSize": "0"}, []),
        (CAPACITY, {"capacity": "-1", "maximumVolumeSize": "-1"}, ["capacity", "maximumVolumeSize"]),
        (CAPACITY, {"storageClassName": ""}, ["storageClassName"]),
        (CAPACITY, {"storageClassName": "A"}, ["storageClassName"]),
        (CAPACITY, {"nodeTopology": {"matchLabels": {"a b": "c"}}}, ["nodeTopology.matchLabels"]),
        (ATTACHMENT, spec(source={"persistentVolumeName": "A"}), [f"{SOURCE}.persistentVolumeName"]),
        (ATTACHMENT, spec(source={"persistentVolumeName": ""}), [SOURCE]),
        (ATTACHMENT, spec(source={"inlineVolumeSpec": {}}), [SOURCE]),
        (ATTACHMENT, spec(source={"persistentVolumeName": None, "inlineVolumeSpec": {}}), [f"{SOURCE}.inlineVolumeSpec.csi"]),
        (ATTACHMENT, spec(source={"persistentVolumeName": None, "inlineVolumeSpec": {"csi": {"driver": "d", "volumeHandle": "h"}}}), []),
        (ATTACHMENT, spec(nodeName=""), ["spec.nodeName"]),
        (ATTACHMENT, spec(nodeName="A"), ["spec.nodeName"]),
        (ATTACHMENT, spec(attacher="A b"), ["spec.attacher"]),
        # --- ranges of services ---
        (RANGE, spec(cidrs=["10.0.0.0/24", "fd00::/64"]), []),
        (RANGE, spec(cidrs=[]), ["spec.cidrs"]),
        (RANGE, spec(cidrs=["10.0.0.0/24", "10.1.0.0/24"]), ["spec.cidrs"]),
        (RANGE, spec(cidrs=["10.0.0.0/24", "x"]), ["spec.cidrs[1]"]),
        (RANGE, spec(cidrs=["10.0.0.0/24", "fd00::/64", "fd01::/64"]), ["spec"]),
    ],
)  # fmt: skip
def test_what_is_wrong(kind: str, parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(kind, parts)) == wrong


@each_row(
    [
        (VOLUME, {}, spec(capacity={"storage": "2Gi"}), []),
        (VOLUME, {}, spec(hostPath={"path": "/y"}), ["spec.persistentvolumesource"]),
        (VOLUME, {}, csi(), ["spec.persistentvolumesource"]),
        (CLAIM, {}, {"metadata": {"labels": {"a": "b"}}}, []),
        (CLAIM, {}, spec(volumeName="v"), []),
        (CLAIM, spec(volumeName="v"), spec(volumeName="w"), ["spec"]),
        (CLAIM, {}, spec(storageClassName="a"), []),
        (CLAIM, spec(storageClassName="a"), spec(storageClassName="b"), ["spec"]),
        (CLAIM, {}, spec(volumeAttributesClassName="a"), []),
        (CLAIM, {}, spec(accessModes=["ReadWriteMany"]), ["spec"]),
        (CLAIM, {}, spec(resources={"requests": {"storage": "2Gi"}}), ["spec"]),
        (CLASS, {}, {"reclaimPolicy": "Retain"}, ["reclaimPolicy"]),
        (CLASS, {}, {"parameters": {"a": "b"}}, ["parameters"]),
        (CLASS, {}, {"provisioner": "y"}, ["provisioner"]),
        (CLASS, {}, {"volumeBindingMode": "WaitForFirstConsumer"}, ["volumeBindingMode"]),
        (CLASS, {}, {"allowVolumeExpansion": True}, []),
        (DRIVER, {}, spec(attachRequired=False), ["spec.attachRequired"]),
        (DRIVER, {}, spec(volumeLifecycleModes=["Ephemeral"]), ["spec.volumeLifecycleModes"]),
        (DRIVER, {}, spec(podInfoOnMount=True, requiresRepublish=True), []),
        (CAPACITY, {}, {"storageClassName": "y"}, ["storageClassName"]),
        (CAPACITY, {}, {"nodeTopology": {"matchLabels": {"a": "b"}}}, ["nodeTopology"]),
        (CAPACITY, {}, {"capacity": "5"}, []),
        (ATTACHMENT, {}, spec(nodeName="m"), ["spec"]),
        (RANGE, {}, spec(cidrs=["10.77.0.0/24", "fd00::/64"]), []),
        (RANGE, {}, spec(cidrs=["10.78.0.0/24"]), ["spec.cidrs[0]"]),
    ],
)
def test_what_may_change(
    kind: str, before: dict[str, Any], after: dict[str, Any], wrong: list[str]
) -> None:
    assert fields(wrong_with_change(kind, before, after)) == wrong


@pytest.mark.parametrize(
    ("status", "size", "wrong"),
    [
        ({"phase": "Bound"}, "4Gi", []),
        ({"phase": "Bound"}, "2Gi", ["spec.resources.requests.storage"]),
        ({"phase": "Bound", "capacity": {"storage": "1Gi"}}, "2Gi", []),
        ({"phase": "Bound", "capacity": {"storage": "1Gi"}}, "1Gi", []),
        ({"phase": "Bound", "capacity": {"storage": "1Gi"}}, "1023Mi", ["spec.resources.requests.storage"]),
        ({"phase": "Pending"}, "4Gi", ["spec"]),
        ({"phase": "Lost"}, "2Gi", ["spec"]),
    ],
)  # fmt: skip
def test_how_a_claim_of_three_gigabytes_changes(
    status: dict[str, Any], size: str, wrong: list[str]
) -> None:
    """It may take back what it has asked for and not been given."""
    asked = spec(resources={"requests": {"storage": "3Gi"}})
    old = built(SERVED[CLAIM], {**asked, "status": status})
    new = built(SERVED[CLAIM], spec(resources={"requests": {"storage": size}}))
    violations = STRATEGIES.of(SERVED[CLAIM]).validate_update(new, old)
    assert [error.field for error in violations] == wrong


# --- defaults ---


@each_row(
    [
        (VOLUME, {}, {"volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/x", "type": ""}}),
        (VOLUME, spec(volumeMode="Block", persistentVolumeReclaimPolicy="Delete"), {"volumeMode": "Block", "persistentVolumeReclaimPolicy": "Delete"}),
        (VOLUME, spec(hostPath={"path": "/x", "type": "File"}), {"hostPath": {"path": "/x", "type": "File"}}),
        (CLAIM, {}, {"volumeMode": "Filesystem", "dataSource": None, "dataSourceRef": None}),
        (CLAIM, spec(volumeMode="Block"), {"volumeMode": "Block"}),
        (CLAIM, source(apiGroup="g.io"), {"dataSourceRef": {"apiGroup": "g.io", "kind": "PersistentVolumeClaim", "name": "x"}}),
        (CLAIM, reference(), {"dataSource": {"apiGroup": "g.io", "kind": "K", "name": "x"}}),
        (CLAIM, reference(namespace="n"), {"dataSource": None}),
        (DRIVER, {}, {"attachRequired": True, "podInfoOnMount": False, "storageCapacity": False, "requiresRepublish": False, "seLinuxMount": False, "fsGroupPolicy": "ReadWriteOnceWithFSType", "volumeLifecycleModes": ["Persistent"]}),
        (DRIVER, spec(attachRequired=False, podInfoOnMount=True, fsGroupPolicy="None", volumeLifecycleModes=["Ephemeral"]), {"attachRequired": False, "podInfoOnMount": True, "fsGroupPolicy": "None", "volumeLifecycleModes": ["Ephemeral"]}),
    ],
)  # fmt: skip
def test_what_is_not_said(kind: str, parts: dict[str, Any], after: dict[str, Any]) -> None:
    made = to_builtins(built(SERVED[kind], parts).spec)
    assert {name: made.get(name) for name in after} == after


def test_a_class_deletes_and_binds_at_once() -> None:
    made = built(SERVED[CLASS], {})
    assert (made.reclaim_policy, made.volume_binding_mode) == ("Delete", "Immediate")
    said = {"reclaimPolicy": "Retain", "volumeBindingMode": "WaitForFirstConsumer"}
    made = built(SERVED[CLASS], said)
    assert (made.reclaim_policy, made.volume_binding_mode) == ("Retain", "WaitForFirstConsumer")


OPTIONS = "volume.beta.kubernetes.io/mount-options"


@pytest.mark.parametrize(
    ("parts", "beginnings"),
    [
        ({}, []),
        ({"metadata": {"annotations": {OPTIONS: "x"}}}, [f"metadata.annotations[{OPTIONS}]: deprecated since v1.31"]),
        (spec(persistentVolumeReclaimPolicy="Recycle"), ["spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated"]),
        (spec(nodeAffinity={"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "beta.kubernetes.io/os"}]}]}}), ["spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key"]),
    ],
)  # fmt: skip
def test_warnings_of_volumes(parts: dict[str, Any], beginnings: list[str]) -> None:
    told = list(STRATEGIES.of(SERVED[VOLUME]).warnings(built(SERVED[VOLUME], parts), None))
    assert len(told) == len(beginnings)
    assert all(text.startswith(start) for text, start in zip(told, beginnings, strict=True))
