"""What a pod names of other objects: nodes may read exactly that."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tiphys.machinery.podrefs import first_reference, references


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
