"""The definitions are those of the original, and say what nobody may ask for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.addons.inference.originals import digests
from tests.addons.inference.world import endpoint, s3_source
from tiphys.addons.inference import definitions
from tiphys.api.base import encode
from tiphys.machinery.errors import StatusError
from tiphys.operator.run import install
from tiphys.testing import LocalCluster

ORIGINALS = {
    "InferenceEndpointConfig.v1.spec.InitialReplicaCount": "327721927726",
    "InferenceEndpointConfig.v1.spec.autoScalingSpec": "d39131782ce1",
    "InferenceEndpointConfig.v1.spec.dataCapture": "fccaabea9e18",
    "InferenceEndpointConfig.v1.spec.dnsConfig": "7b63778e133a",
    "InferenceEndpointConfig.v1.spec.endpointName": "fe19cd671b0b",
    "InferenceEndpointConfig.v1.spec.instanceType": "91c7395ef977",
    "InferenceEndpointConfig.v1.spec.instanceTypes": "5ae4696da017",
    "InferenceEndpointConfig.v1.spec.intelligentRoutingSpec": "347f30c4a417",
    "InferenceEndpointConfig.v1.spec.invocationEndpoint": "3f3de7ba24e2",
    "InferenceEndpointConfig.v1.spec.kubernetes": "654d0157b861",
    "InferenceEndpointConfig.v1.spec.kvCacheSpec": "9c26debf645b",
    "InferenceEndpointConfig.v1.spec.loadBalancer": "34b87fa29dee",
    "InferenceEndpointConfig.v1.spec.maxDeployTimeInSeconds": "f3e081ea11d2",
    "InferenceEndpointConfig.v1.spec.metrics": "510957fa1528",
    "InferenceEndpointConfig.v1.spec.modelName": "2eb9205b59d9",
    "InferenceEndpointConfig.v1.spec.modelSourceConfig": "d6a1228bdb27",
    "InferenceEndpointConfig.v1.spec.modelVersion": "81322b227650",
    "InferenceEndpointConfig.v1.spec.nodeAffinity": "bf614e293aee",
    "InferenceEndpointConfig.v1.spec.pdSpec": "0d0c8eab8776",
    "InferenceEndpointConfig.v1.spec.replicas": "4925b22edb1b",
    "InferenceEndpointConfig.v1.spec.tags": "6deaac41e268",
    "InferenceEndpointConfig.v1.spec.tlsConfig": "f3c0afa7e700",
    "InferenceEndpointConfig.v1.spec.worker": "66ff61f94747",
    "InferenceEndpointConfig.v1.spec.": "f1e2a0dd2b1e",
    "InferenceEndpointConfig.v1.status.conditions": "aaa0713d5707",
    "InferenceEndpointConfig.v1.status.dataCaptureStatus": "88b290488da1",
    "InferenceEndpointConfig.v1.status.deploymentStatus": "66e9826eaf8b",
    "InferenceEndpointConfig.v1.status.dnsStatus": "9f355fd58baa",
    "InferenceEndpointConfig.v1.status.endpoints": "78953dbdf4ea",
    "InferenceEndpointConfig.v1.status.metricsStatus": "73aa3e797a62",
    "InferenceEndpointConfig.v1.status.observedGeneration": "55f84d884940",
    "InferenceEndpointConfig.v1.status.replicas": "327721927726",
    "InferenceEndpointConfig.v1.status.selector": "81322b227650",
    "InferenceEndpointConfig.v1.status.state": "4dea31325283",
    "InferenceEndpointConfig.v1.status.tlsCertificate": "b006340ccfa1",
    "InferenceEndpointConfig.v1.status.": "b4b8bf78e9ad",
    "InferenceEndpointConfig.v1alpha1.spec.InitialReplicaCount": "327721927726",
    "InferenceEndpointConfig.v1alpha1.spec.autoScalingSpec": "6fafc0970d0b",
    "InferenceEndpointConfig.v1alpha1.spec.endpointName": "fe19cd671b0b",
    "InferenceEndpointConfig.v1alpha1.spec.instanceType": "91c7395ef977",
    "InferenceEndpointConfig.v1alpha1.spec.invocationEndpoint": "3f3de7ba24e2",
    "InferenceEndpointConfig.v1alpha1.spec.loadBalancer": "34b87fa29dee",
    "InferenceEndpointConfig.v1alpha1.spec.metrics": "510957fa1528",
    "InferenceEndpointConfig.v1alpha1.spec.modelName": "2eb9205b59d9",
    "InferenceEndpointConfig.v1alpha1.spec.modelSourceConfig": "9627d934558e",
    "InferenceEndpointConfig.v1alpha1.spec.modelVersion": "81322b227650",
    "InferenceEndpointConfig.v1alpha1.spec.replicas": "4925b22edb1b",
    "InferenceEndpointConfig.v1alpha1.spec.tags": "6deaac41e268",
    "InferenceEndpointConfig.v1alpha1.spec.tlsConfig": "c48ce9e3f997",
    "InferenceEndpointConfig.v1alpha1.spec.worker": "371ab7ff1dfb",
    "InferenceEndpointConfig.v1alpha1.spec.": "e5cc47a607da",
    "InferenceEndpointConfig.v1alpha1.status.conditions": "aaa0713d5707",
    "InferenceEndpointConfig.v1alpha1.status.deploymentStatus": "66e9826eaf8b",
    "InferenceEndpointConfig.v1alpha1.status.endpoints": "78953dbdf4ea",
    "InferenceEndpointConfig.v1alpha1.status.metricsStatus": "73aa3e797a62",
    "InferenceEndpointConfig.v1alpha1.status.observedGeneration": "55f84d884940",
    "InferenceEndpointConfig.v1alpha1.status.replicas": "327721927726",
    "InferenceEndpointConfig.v1alpha1.status.selector": "81322b227650",
    "InferenceEndpointConfig.v1alpha1.status.state": "4dea31325283",
    "InferenceEndpointConfig.v1alpha1.status.tlsCertificate": "b006340ccfa1",
    "InferenceEndpointConfig.v1alpha1.status.": "b4b8bf78e9ad",
    "JumpStartModel.v1.spec.autoScalingSpec": "d39131782ce1",
    "JumpStartModel.v1.spec.dataCapture": "fccaabea9e18",
    "JumpStartModel.v1.spec.dnsConfig": "7b63778e133a",
    "JumpStartModel.v1.spec.environmentVariables": "0d4fcad0974d",
    "JumpStartModel.v1.spec.intelligentRoutingSpec": "347f30c4a417",
    "JumpStartModel.v1.spec.kvCacheSpec": "9c26debf645b",
    "JumpStartModel.v1.spec.loadBalancer": "34b87fa29dee",
    "JumpStartModel.v1.spec.maxDeployTimeInSeconds": "f3e081ea11d2",
    "JumpStartModel.v1.spec.metrics": "510957fa1528",
    "JumpStartModel.v1.spec.model": "0ecb9c770768",
    "JumpStartModel.v1.spec.replicas": "4925b22edb1b",
    "JumpStartModel.v1.spec.sageMakerEndpoint": "046d55fb8b53",
    "JumpStartModel.v1.spec.server": "ce1b6e236687",
    "JumpStartModel.v1.spec.tlsConfig": "f3c0afa7e700",
    "JumpStartModel.v1.spec.": "2031818f0759",
    "JumpStartModel.v1.status.conditions": "aaa0713d5707",
    "JumpStartModel.v1.status.dataCaptureStatus": "88b290488da1",
    "JumpStartModel.v1.status.deploymentStatus": "66e9826eaf8b",
    "JumpStartModel.v1.status.dnsStatus": "9f355fd58baa",
    "JumpStartModel.v1.status.endpoints": "78953dbdf4ea",
    "JumpStartModel.v1.status.metricsStatus": "73aa3e797a62",
    "JumpStartModel.v1.status.observedGeneration": "55f84d884940",
    "JumpStartModel.v1.status.replicas": "327721927726",
    "JumpStartModel.v1.status.selector": "81322b227650",
    "JumpStartModel.v1.status.state": "4dea31325283",
    "JumpStartModel.v1.status.tlsCertificate": "b006340ccfa1",
    "JumpStartModel.v1.status.": "b4b8bf78e9ad",
    "JumpStartModel.v1alpha1.spec.autoScalingSpec": "6fafc0970d0b",
    "JumpStartModel.v1alpha1.spec.environmentVariables": "0d4fcad0974d",
    "JumpStartModel.v1alpha1.spec.loadBalancer": "34b87fa29dee",
    "JumpStartModel.v1alpha1.spec.maxDeployTimeInSeconds": "f3e081ea11d2",
    "JumpStartModel.v1alpha1.spec.metrics": "510957fa1528",
    "JumpStartModel.v1alpha1.spec.model": "0ecb9c770768",
    "JumpStartModel.v1alpha1.spec.replicas": "4925b22edb1b",
    "JumpStartModel.v1alpha1.spec.sageMakerEndpoint": "046d55fb8b53",
    "JumpStartModel.v1alpha1.spec.server": "d913f7a29cba",
    "JumpStartModel.v1alpha1.spec.tlsConfig": "c48ce9e3f997",
    "JumpStartModel.v1alpha1.spec.": "2031818f0759",
    "JumpStartModel.v1alpha1.status.conditions": "aaa0713d5707",
    "JumpStartModel.v1alpha1.status.deploymentStatus": "66e9826eaf8b",
    "JumpStartModel.v1alpha1.status.endpoints": "78953dbdf4ea",
    "JumpStartModel.v1alpha1.status.metricsStatus": "73aa3e797a62",
    "JumpStartModel.v1alpha1.status.observedGeneration": "55f84d884940",
    "JumpStartModel.v1alpha1.status.replicas": "327721927726",
    "JumpStartModel.v1alpha1.status.selector": "81322b227650",
    "JumpStartModel.v1alpha1.status.state": "4dea31325283",
    "JumpStartModel.v1alpha1.status.tlsCertificate": "b006340ccfa1",
    "JumpStartModel.v1alpha1.status.": "b4b8bf78e9ad",
    "SageMakerEndpointRegistration.v1.spec.eksClusterDetails": "1e476097fec3",
    "SageMakerEndpointRegistration.v1.spec.executionRole": "8b6100f612d1",
    "SageMakerEndpointRegistration.v1.spec.imageUri": "0db142bf9596",
    "SageMakerEndpointRegistration.v1.spec.instanceType": "81322b227650",
    "SageMakerEndpointRegistration.v1.spec.invocationEndpoint": "3f3de7ba24e2",
    "SageMakerEndpointRegistration.v1.spec.loadBalancerHostName": "81322b227650",
    "SageMakerEndpointRegistration.v1.spec.name": "2eb9205b59d9",
    "SageMakerEndpointRegistration.v1.spec.restApiId": "81322b227650",
    "SageMakerEndpointRegistration.v1.spec.sageMakerEndpointDataCaptureConfig": "61da536c915a",
    "SageMakerEndpointRegistration.v1.spec.tags": "6deaac41e268",
    "SageMakerEndpointRegistration.v1.spec.tlsConfig": "7c993081999f",
    "SageMakerEndpointRegistration.v1.spec.": "c9270339532a",
    "SageMakerEndpointRegistration.v1.status.conditions": "aaa0713d5707",
    "SageMakerEndpointRegistration.v1.status.endpoint": "78a1c16ac266",
    "SageMakerEndpointRegistration.v1.status.loadBalancer": "418a4da814c9",
    "SageMakerEndpointRegistration.v1.status.observedGeneration": "55f84d884940",
    "SageMakerEndpointRegistration.v1.status.state": "66753678e35f",
    "SageMakerEndpointRegistration.v1.status.": "6d3a8a80a32c",
    "SageMakerEndpointRegistration.v1alpha1.spec.eksClusterDetails": "1e476097fec3",
    "SageMakerEndpointRegistration.v1alpha1.spec.executionRole": "8b6100f612d1",
    "SageMakerEndpointRegistration.v1alpha1.spec.imageUri": "0db142bf9596",
    "SageMakerEndpointRegistration.v1alpha1.spec.instanceType": "81322b227650",
    "SageMakerEndpointRegistration.v1alpha1.spec.invocationEndpoint": "3f3de7ba24e2",
    "SageMakerEndpointRegistration.v1alpha1.spec.loadBalancerHostName": "81322b227650",
    "SageMakerEndpointRegistration.v1alpha1.spec.name": "2eb9205b59d9",
    "SageMakerEndpointRegistration.v1alpha1.spec.restApiId": "81322b227650",
    "SageMakerEndpointRegistration.v1alpha1.spec.tags": "6deaac41e268",
    "SageMakerEndpointRegistration.v1alpha1.spec.tlsConfig": "7c993081999f",
    "SageMakerEndpointRegistration.v1alpha1.spec.": "c9270339532a",
    "SageMakerEndpointRegistration.v1alpha1.status.conditions": "aaa0713d5707",
    "SageMakerEndpointRegistration.v1alpha1.status.endpoint": "78a1c16ac266",
    "SageMakerEndpointRegistration.v1alpha1.status.loadBalancer": "418a4da814c9",
    "SageMakerEndpointRegistration.v1alpha1.status.observedGeneration": "55f84d884940",
    "SageMakerEndpointRegistration.v1alpha1.status.state": "66753678e35f",
    "SageMakerEndpointRegistration.v1alpha1.status.": "6d3a8a80a32c",
}
OURS = {
    field: digest
    for definition in definitions()
    for field, digest in digests(json.loads(encode(definition)))
}


def test_no_field_is_missing_and_none_is_our_own() -> None:
    assert sorted(OURS) == sorted(ORIGINALS)


def test_every_field_says_what_the_original_says() -> None:
    assert {field for field in ORIGINALS if OURS[field] != ORIGINALS[field]} == set()


AFFINITY = {"preferredDuringSchedulingIgnoredDuringExecution": []}
REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    (
        {"instanceType": "ml.p4d.24xlarge", "instanceTypes": ["ml.g5.8xlarge"]},
        "instanceType and instanceTypes are mutually exclusive",
    ),
    (
        {"instanceTypes": ["ml.g5.8xlarge"], "nodeAffinity": AFFINITY},
        "nodeAffinity is mutually exclusive with instanceType and instanceTypes",
    ),
    ({"instanceType": "g5.8xlarge"}, "spec.instanceType"),
    ({"tlsConfig": {"tlsCertificateOutputS3Uri": "https://b/c"}}, "tlsCertificateOutputS3Uri"),
    ({"modelSourceConfig": {"modelSourceType": "s3"}}, "s3Storage is required"),
    ({"modelSourceConfig": s3_source(modelSourceType="gcs")}, "modelSourceType"),
    ({"dnsConfig": {"hostedZoneId": "Z1"}}, "requires tlsConfig.customCertificateConfig"),
    ({"intelligentRoutingSpec": {"routingStrategy": "magic"}}, "routingStrategy"),
    ({"modelName": "-"}, "spec.modelName"),
)


async def test_what_makes_no_sense_is_refused(server: LocalCluster) -> None:
    await install(server.client, definitions(), "test")
    for spec, words in REFUSED:
        with pytest.raises(StatusError) as refused:
            await server.client.create(endpoint(**spec))
        assert refused.value.code == 422 and words in str(refused.value), str(refused.value)
    made = await server.client.create(endpoint(instanceTypes=["ml.g5.8xlarge"], nodeAffinity=None))
    assert made["spec"]["invocationEndpoint"] == "invocations"
