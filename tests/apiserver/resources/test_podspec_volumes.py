"""Volumes of pods and what containers do with them, on both sides of each rule."""

from __future__ import annotations

from typing import Any

from tests.apiserver.kit import spec
from tests.apiserver.rules import fields, wrong_with
from tests.apiserver.tables import each_row
from tiphys.api.core_v1 import VolumeSource

MODE = 0o777


def volume(**source: Any) -> dict[str, Any]:
    return spec(volumes=[{"name": "v", **source}])


def projected(*sources: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return volume(projected={"sources": list(sources), **parts})


def token(path: str = "t", seconds: int | None = None) -> dict[str, Any]:
    lifetime = {"expirationSeconds": seconds} if seconds is not None else {}
    return {"serviceAccountToken": {"path": path, **lifetime}}


def facts(*items: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return volume(downwardAPI={"items": list(items), **parts})


def fact(field: str = "metadata.name", **parts: Any) -> dict[str, Any]:
    return {"path": "p", "fieldRef": {"fieldPath": field}, **parts}


def item(**parts: Any) -> dict[str, Any]:
    return {"key": "k", "path": "p", **parts}


CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
TEMPLATE = "[0].ephemeral.volumeClaimTemplate"


def ephemeral(metadata: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    template = {"metadata": metadata or {}, "spec": {**CLAIM, **parts}}
    return volume(ephemeral={"volumeClaimTemplate": template})


AMOUNT = {"resourceFieldRef": {"resource": "limits.cpu", "containerName": "c"}}


@each_row(
    [
        (spec(volumes=[{"name": "A", "emptyDir": {}}] * 2), ["[0].name", "[1].name"]),
        (volume(emptyDir={"sizeLimit": "0"}), []),
        (volume(ephemeral={}), [TEMPLATE]),
        (ephemeral({"labels": {"a": "b"}, "annotations": {"a/b": "c d"}}), []),
        (ephemeral({"labels": {"a b": "c"}, "annotations": {"-": ""}}), [f"{TEMPLATE}.metadata.annotations", f"{TEMPLATE}.metadata.labels"]),
        (ephemeral({"name": "x", "uid": "u", "finalizers": ["a/b"]}), [f"{TEMPLATE}.metadata.{name}" for name in ("name", "uID", "finalizers")]),
        (ephemeral(accessModes=[]), [f"{TEMPLATE}.spec.accessModes"]),
        (ephemeral(accessModes=["Sometimes"]), [f"{TEMPLATE}.spec.accessModes"]),
        (ephemeral(volumeMode="Tape"), [f"{TEMPLATE}.spec.volumeMode"]),
        (ephemeral(resources={}), [f"{TEMPLATE}.spec.resources[storage]"]),
        (ephemeral(storageClassName="A"), [f"{TEMPLATE}.spec.storageClassName"]),
        (ephemeral(dataSource={"kind": "Other", "name": "x"}), [f"{TEMPLATE}.spec.dataSource"]),
        (volume(emptyDir={"sizeLimit": "1Gi"}), []),
        (volume(emptyDir={}, configMap={"name": "c"}, secret={"secretName": ""}), ["[0].secret", "[0].configMap"]),
        (volume(hostPath={"path": ""}, emptyDir={}), ["[0].hostPath"]),
        (volume(hostPath={"path": "", "type": "x"}), ["[0].hostPath.path"]),
        (volume(hostPath={"path": "/a/..b"}), []),
        (volume(hostPath={"path": "/a", "type": "Socket"}), []),
        (volume(nfs={"server": "s", "path": "/p"}), []),
        (volume(nfs={"server": "s", "path": ""}), ["[0].nfs.path"]),
        (volume(secret={"secretName": "s", "defaultMode": MODE}), []),
        (volume(secret={"secretName": "s", "defaultMode": MODE + 1}), ["[0].secret.defaultMode"]),
        (volume(secret={"secretName": "s", "items": [item(mode=-1)]}), ["[0].secret.items[0].mode"]),
        (volume(configMap={"name": "c", "defaultMode": -1}), ["[0].configMap.defaultMode"]),
        (volume(configMap={"name": "c", "items": [item(), item(path="")]}), ["[0].configMap.items[1].path"]),
        (volume(configMap={"name": "c", "items": [item(path="a/..b", mode=0)]}), []),
        (volume(persistentVolumeClaim={"claimName": "c"}), []),
        (volume(csi={"driver": "d"}), []),
        (volume(image={"reference": "r", "pullPolicy": "Never"}), []),
        (facts(fact(), fact("metadata.labels['a']"), {"path": "q", **AMOUNT}), []),
        (facts(fact(mode=MODE)), []),
        (facts(fact(mode=MODE + 1)), ["[0].downwardAPI.mode"]),
        (facts(defaultMode=MODE + 1), ["[0].downwardAPI.defaultMode"]),
        (facts(fact(path="..p")), ["[0].downwardAPI.path"]),
        (facts({**fact(), **AMOUNT}), ["[0].downwardAPI"]),
        (projected(), []),
        (projected(defaultMode=MODE + 1), ["[0].projected.defaultMode"]),
        (projected(token(seconds=600)), []),
        (projected(token(seconds=599)), ["[0].projected.sources[0].serviceAccountToken.expirationSeconds"]),
        (projected(token(seconds=1 << 32)), []),
        (projected(token(seconds=(1 << 32) + 1)), ["[0].projected.sources[0].serviceAccountToken.expirationSeconds"]),
        (projected({"secret": {"name": "s", "items": [item()]}}), []),
        (projected({"secret": {"name": ""}}), ["[0].projected.sources[0].secret.name"]),
        (projected({"secret": {"name": "s", "items": [item(key="")]}}), ["[0].projected.sources[0].secret.items[0].key"]),
        (projected({"configMap": {"name": "c", "items": [item(path="/p")]}}), ["[0].projected.sources[0].configMap.items[0].path"]),
        (projected({"downwardAPI": {"items": [fact()]}}), []),
        (projected({"downwardAPI": {"items": [{"path": "p"}]}}), ["[0].projected.sources[0].downwardAPI"]),
    ],
)  # fmt: skip
def test_volumes(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with("pods", parts)) == [f"spec.volumes{end}" for end in wrong]


def test_every_source_has_its_place_among_several() -> None:
    """Of two sources one is forbidden, whichever they are."""
    names = VolumeSource.__struct_encode_fields__
    others = [{"emptyDir": {}, name: {}} for name in names if name != "emptyDir"]
    for sources in others:
        [field] = fields(wrong_with("pods", volume(**sources)))
        assert field in [f"spec.volumes[0].{name}" for name in sources], sources


# --- in containers ---


def using(*mounts: dict[str, Any], devices: list[dict[str, Any]] | None = None, **more: Any) -> Any:
    one = {"name": "c", "image": "i", "volumeMounts": list(mounts), **more}
    claim = {"persistentVolumeClaim": {"claimName": "c"}}
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "p", **claim}, {"name": "e", **EPHEMERAL}]
    return spec(containers=[{**one, "volumeDevices": devices or []}], volumes=volumes)


EPHEMERAL = {"ephemeral": {"volumeClaimTemplate": {"spec": CLAIM}}}


def mount(path: str = "/v", **parts: Any) -> dict[str, Any]:
    return {"name": "v", "mountPath": path, **parts}


def device(name: str = "p", path: str = "/dev/x") -> dict[str, Any]:
    return {"name": name, "devicePath": path}


PRIVILEGED = {"privileged": True}
DEVICES = "volumeDevices"


@each_row(
    [
        (using(mount(), mount("/w")), []),
        (using(mount(), mount()), ["volumeMounts[1].mountPath"]),
        (using(mount(name="")), ["volumeMounts[0].name"]),
        (using(mount(subPath="a/..b")), []),
        (using(mount(subPathExpr="$(A)")), []),
        (using(mount(subPath="a", subPathExpr="b")), ["volumeMounts[0].subPathExpr"]),
        (using(mount(subPathExpr="/a")), ["volumeMounts.subPathExpr"]),
        (using(mount(subPathExpr="a/..")), ["volumeMounts.subPathExpr"]),
        (using(mount(mountPropagation="HostToContainer")), []),
        (using(mount(mountPropagation="Sideways")), ["volumeMounts.mountPropagation"]),
        (using(mount(mountPropagation="Bidirectional")), ["volumeMounts.mountPropagation"]),
        (using(mount(mountPropagation="Bidirectional"), securityContext={}), ["volumeMounts.mountPropagation"]),
        (using(mount(mountPropagation="Bidirectional"), securityContext=PRIVILEGED), []),
        (using(mount(), devices=[device()]), []),
        (using(devices=[device(), device("e", "/dev/y")]), []),
        (using(mount("/dev/x"), devices=[device()]), ["volumeMounts[0].mountPath", f"{DEVICES}[0].devicePath"]),
        (using(mount(name="p"), devices=[device()]), ["volumeMounts[0].name", f"{DEVICES}[0].name"]),
        (using(devices=[device(), device()]), [f"{DEVICES}[1].name"]),
        (using(devices=[device("")]), [f"{DEVICES}[0].name"]),
        (using(devices=[device("v")]), [f"{DEVICES}[0].name"]),
        (using(devices=[device(path="")]), [f"{DEVICES}[0].devicePath"]),
        (using(devices=[device(path="/dev/..x")]), []),
        (using(devices=[device(path="/dev/../x")]), [f"{DEVICES}[0].devicePath"]),
    ],
)  # fmt: skip
def test_mounts_and_devices(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with("pods", parts)) == [f"spec.containers[0].{end}" for end in wrong]
