"""What a pod names of other objects: nodes may read exactly that."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.machinery.podrefs import first_reference, references, volume_secrets


def of_volume(**source: Any) -> dict[str, Any]:
    return {"volumes": [{"name": "v", **source}]}


def of_container(**fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": "i", **fields}]}


def variable(source: dict[str, Any]) -> dict[str, Any]:
    return of_container(env=[{"name": "E", "valueFrom": source}])


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({}, {}),
        ({"serviceAccountName": "x"}, {"serviceaccounts": {"x"}}),
        ({"imagePullSecrets": [{"name": "x"}]}, {"secrets": {"x"}}),
        (of_container(envFrom=[{"secretRef": {"name": "x"}}]), {"secrets": {"x"}}),
        (of_container(envFrom=[{"configMapRef": {"name": "x"}}]), {"configmaps": {"x"}}),
        (variable({"secretKeyRef": {"name": "x", "key": "k"}}), {"secrets": {"x"}}),
        (variable({"configMapKeyRef": {"name": "x", "key": "k"}}), {"configmaps": {"x"}}),
        (variable({"fieldRef": {"fieldPath": "metadata.name"}}), {}),
        (
            {"initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "x"}}]}]},
            {"secrets": {"x"}},
        ),
        (of_volume(secret={"secretName": "x"}), {"secrets": {"x"}}),
        (of_volume(configMap={"name": "x"}), {"configmaps": {"x"}}),
        (
            of_volume(
                projected={"sources": [{"secret": {"name": "x"}}, {"configMap": {"name": "y"}}]}
            ),
            {"secrets": {"x"}, "configmaps": {"y"}},
        ),
        (of_volume(persistentVolumeClaim={"claimName": "x"}), {"persistentvolumeclaims": {"x"}}),
        (of_volume(ephemeral={}), {"persistentvolumeclaims": {"p-v"}}),
        (
            of_volume(csi={"driver": "d", "nodePublishSecretRef": {"name": "x"}}),
            {"secrets": {"x"}},
        ),
        (of_volume(cephfs={"monitors": ["m"], "secretRef": {"name": "x"}}), {"secrets": {"x"}}),
        (of_volume(azureFile={"secretName": "x", "shareName": "s"}), {"secrets": {"x"}}),
        ({"resourceClaims": [{"name": "r", "resourceClaimName": "x"}]}, {"resourceclaims": {"x"}}),
    ],
)
def test_what_a_pod_names(spec: dict[str, Any], named: dict[str, set[str]]) -> None:
    assert references(pod("p", **spec)) == named


@pytest.mark.parametrize(
    ("spec", "first"),
    [
        ({}, ""),
        (of_volume(hostPath={"path": "/"}), ""),
        (of_volume(secret={"secretName": "x"}), "secrets"),
        (of_volume(persistentVolumeClaim={"claimName": "x"}), "persistentvolumeclaims"),
        (of_volume(ephemeral={}), "persistentvolumeclaims (via ephemeral volumes)"),
        (of_volume(csi={"driver": "d"}), "csidrivers (via CSI volumes)"),
        (
            of_volume(projected={"sources": [{"serviceAccountToken": {"path": "t"}}]}),
            "serviceaccounts (via projected volumes)",
        ),
        ({"resourceClaims": [{"name": "r"}]}, "resourceclaims"),
    ],
)
def test_what_a_mirror_pod_must_not_name(spec: dict[str, Any], first: str) -> None:
    assert first_reference(pod("p", **spec)) == first


# --- volumes ---


def volume(claim: str = "of-claim", **source: Any) -> core_v1.PersistentVolume:
    spec: dict[str, Any] = dict(source)
    if claim:
        spec["claimRef"] = {"namespace": claim, "name": "c"}
    return from_builtins({"metadata": {"name": "v"}, "spec": spec}, core_v1.PersistentVolume)


REF = {"name": "s"}
AWAY = {"name": "s", "namespace": "n"}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ({}, []),
        ({"azureFile": {"shareName": "x", "secretName": "s"}}, [("of-claim", "s")]),
        (
            {"azureFile": {"shareName": "x", "secretName": "s", "secretNamespace": "n"}},
            [("n", "s")],
        ),
        ({"azureFile": {"shareName": "x", "secretName": ""}}, []),
        ({"cephfs": {"monitors": [], "secretRef": REF}}, [("of-claim", "s")]),
        ({"cephfs": {"monitors": [], "secretRef": AWAY}}, [("n", "s")]),
        ({"cephfs": {"monitors": []}}, []),
        ({"rbd": {"image": "i", "monitors": [], "secretRef": {"name": ""}}}, []),
        ({"flexVolume": {"driver": "d", "secretRef": REF}}, [("of-claim", "s")]),
        ({"scaleIO": {"secretRef": REF}}, [("of-claim", "s")]),
        ({"iscsi": {"secretRef": AWAY}}, [("n", "s")]),
        ({"cinder": {"volumeID": "v", "secretRef": AWAY}}, [("n", "s")]),
        ({"cinder": {"volumeID": "v", "secretRef": REF}}, [("", "s")]),
        ({"storageos": {"secretRef": REF}}, [("", "s")]),
        ({"csi": {"driver": "d", "controllerPublishSecretRef": AWAY}}, []),
        (
            {
                "csi": {
                    "driver": "d",
                    "nodePublishSecretRef": {"name": "p", "namespace": "n"},
                    "nodeStageSecretRef": {"name": "t", "namespace": "n"},
                    "nodeExpandSecretRef": {"name": "e"},
                }
            },
            [("n", "p"), ("n", "t"), ("", "e")],
        ),
    ],
)
def test_the_secrets_that_a_volume_names_for_a_nodes_use(
    source: dict[str, Any], names: list[tuple[str, str]]
) -> None:
    assert list(volume_secrets(volume(**source))) == names


def test_a_volume_that_no_claim_has_names_none_of_its() -> None:
    assert list(volume_secrets(volume("", rbd={"secretRef": REF}))) == [("", "s")]
