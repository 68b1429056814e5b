"""The definitions, beside those that KEDA publishes (release 2.20): a digest for each field of a
spec or status, of types, limits, patterns, enumerations, defaults, lists, required fields and CEL
rules. Descriptions are our own. ScaledJob's `jobTargetRef` is that of Jobs in this release of the
API, which knows a field more than KEDA's."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tiphys.addons.keda import definitions
from tiphys.api.base import to_builtins

ORIGINALS = {
    "ScaledObject.spec.advanced": "36f156dcae1757b3",
    "ScaledObject.spec.cooldownPeriod": "394035d89b3e9b0b",
    "ScaledObject.spec.fallback": "7f92d9cc8f6a3384",
    "ScaledObject.spec.idleReplicaCount": "394035d89b3e9b0b",
    "ScaledObject.spec.initialCooldownPeriod": "394035d89b3e9b0b",
    "ScaledObject.spec.maxReplicaCount": "174fc0ecd459f465",
    "ScaledObject.spec.minReplicaCount": "394035d89b3e9b0b",
    "ScaledObject.spec.pollingInterval": "174fc0ecd459f465",
    "ScaledObject.spec.scaleTargetRef": "96bf21992fde759c",
    "ScaledObject.spec.triggers": "d17e6682ae442d58",
    "ScaledObject.status.authenticationsTypes": "d89538396b17513e",
    "ScaledObject.status.compositeScalerName": "d89538396b17513e",
    "ScaledObject.status.conditions": "9f1376093fa2834d",
    "ScaledObject.status.externalMetricNames": "1a48647d375a13aa",
    "ScaledObject.status.health": "fb5891b1879af807",
    "ScaledObject.status.hpaName": "d89538396b17513e",
    "ScaledObject.status.lastActiveTime": "bf8ed4ad603fcc7e",
    "ScaledObject.status.originalReplicaCount": "f8c667c844755e3c",
    "ScaledObject.status.pausedReplicaCount": "f8c667c844755e3c",
    "ScaledObject.status.resourceMetricNames": "1a48647d375a13aa",
    "ScaledObject.status.scaleTargetGVKR": "20c7739f7d330b89",
    "ScaledObject.status.scaleTargetKind": "d89538396b17513e",
    "ScaledObject.status.triggersActivity": "c8f2a9ae9cca8f14",
    "ScaledObject.status.triggersTypes": "d89538396b17513e",
    "ScaledJob.spec.envSourceContainerName": "d89538396b17513e",
    "ScaledJob.spec.failedJobsHistoryLimit": "394035d89b3e9b0b",
    "ScaledJob.spec.maxReplicaCount": "174fc0ecd459f465",
    "ScaledJob.spec.minReplicaCount": "394035d89b3e9b0b",
    "ScaledJob.spec.pollingInterval": "174fc0ecd459f465",
    "ScaledJob.spec.rollout": "2034519da864a7fe",
    "ScaledJob.spec.rolloutStrategy": "b68152b2bc8b70bb",
    "ScaledJob.spec.scalingStrategy": "465d0785e9f2bd7c",
    "ScaledJob.spec.successfulJobsHistoryLimit": "394035d89b3e9b0b",
    "ScaledJob.spec.triggers": "d17e6682ae442d58",
    "ScaledJob.status.Paused": "d89538396b17513e",
    "ScaledJob.status.authenticationsTypes": "d89538396b17513e",
    "ScaledJob.status.conditions": "9f1376093fa2834d",
    "ScaledJob.status.externalMetricNames": "1a48647d375a13aa",
    "ScaledJob.status.lastActiveTime": "bf8ed4ad603fcc7e",
    "ScaledJob.status.triggersActivity": "c8f2a9ae9cca8f14",
    "ScaledJob.status.triggersTypes": "d89538396b17513e",
    "TriggerAuthentication.spec.awsSecretManager": "3e6ece037e9ae8ff",
    "TriggerAuthentication.spec.azureKeyVault": "cb18403e146f1988",
    "TriggerAuthentication.spec.boundServiceAccountToken": "27d78cfdfc0713b1",
    "TriggerAuthentication.spec.configMapTargetRef": "4165c02c0678e980",
    "TriggerAuthentication.spec.env": "c771d26dc42da826",
    "TriggerAuthentication.spec.filePath": "d89538396b17513e",
    "TriggerAuthentication.spec.gcpSecretManager": "2f99f494e49c2333",
    "TriggerAuthentication.spec.hashiCorpVault": "cb377fd191c1961a",
    "TriggerAuthentication.spec.oauth2": "418ee3f8cbbec603",
    "TriggerAuthentication.spec.podIdentity": "db73308ff2418ea1",
    "TriggerAuthentication.spec.secretTargetRef": "4165c02c0678e980",
    "TriggerAuthentication.status.scaledjobs": "d89538396b17513e",
    "TriggerAuthentication.status.scaledobjects": "d89538396b17513e",
    "ClusterTriggerAuthentication.spec.awsSecretManager": "3e6ece037e9ae8ff",
    "ClusterTriggerAuthentication.spec.azureKeyVault": "cb18403e146f1988",
    "ClusterTriggerAuthentication.spec.boundServiceAccountToken": "27d78cfdfc0713b1",
    "ClusterTriggerAuthentication.spec.configMapTargetRef": "4165c02c0678e980",
    "ClusterTriggerAuthentication.spec.env": "c771d26dc42da826",
    "ClusterTriggerAuthentication.spec.filePath": "d89538396b17513e",
    "ClusterTriggerAuthentication.spec.gcpSecretManager": "2f99f494e49c2333",
    "ClusterTriggerAuthentication.spec.hashiCorpVault": "cb377fd191c1961a",
    "ClusterTriggerAuthentication.spec.oauth2": "418ee3f8cbbec603",
    "ClusterTriggerAuthentication.spec.podIdentity": "db73308ff2418ea1",
    "ClusterTriggerAuthentication.spec.secretTargetRef": "4165c02c0678e980",
    "ClusterTriggerAuthentication.status.scaledjobs": "d89538396b17513e",
    "ClusterTriggerAuthentication.status.scaledobjects": "d89538396b17513e",
}
_LATER = ("ScaledJob.spec.jobTargetRef",)
COLUMNS = {
    "ScaledObject": "ScaleTargetKind ScaleTargetName Min Max Ready Active Fallback Paused Triggers "
    "Authentications Age",
    "ScaledJob": "Min Max Ready Active Paused Triggers Authentications Age",
    "TriggerAuthentication": "PodIdentity Secret Env VaultAddress ScaledObjects ScaledJobs",
    "ClusterTriggerAuthentication": "PodIdentity Secret Env FilePath VaultAddress ScaledObjects "
    "ScaledJobs",
}


def plain(node: Any) -> Any:
    """A schema without prose, and without an order where none is meant."""
    if isinstance(node, list):
        return [plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {
        key: plain(value)
        for key, value in node.items()
        if not (key == "description" and isinstance(value, str))
    }
    for key in ("required", "enum"):
        if isinstance(found.get(key), list):
            found[key] = sorted(found[key])
    return found


def digests() -> dict[str, str]:
    found = {}
    for one in definitions():
        kind = one.spec.names.kind
        version = to_builtins(one)["spec"]["versions"][0]
        whole = version["schema"]["openAPIV3Schema"]["properties"]
        for part in ("spec", "status"):
            for name, schema in whole[part]["properties"].items():
                text = json.dumps(plain(schema), sort_keys=True)
                digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
                found[f"{kind}.{part}.{name}"] = digest
    return found


OURS = digests()


def test_every_field_is_there_and_no_other() -> None:
    assert set(OURS) - set(_LATER) == set(ORIGINALS)


@pytest.mark.parametrize("name", ORIGINALS)
def test_a_field_is_the_published_one(name: str) -> None:
    assert OURS[name] == ORIGINALS[name]


def test_columns_are_the_published_ones() -> None:
    found = {
        one.spec.names.kind: " ".join(
            column.name for column in one.spec.versions[0].additional_printer_columns
        )
        for one in definitions()
    }
    assert found == COLUMNS
