"""What an endpoint asks for and does not get here, though it is served (pure). What it cannot be
served without is refused instead (`endpoint.Unsupported`)."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.addons.inference.types import v1


def omissions_of(spec: v1.InferenceEndpointConfigSpec) -> list[str]:
    """A sentence each, that starts with the field."""
    return [*_amazon(spec), *_capture(spec.data_capture), *_routing(spec), *_caches(spec)]


def _amazon(spec: v1.InferenceEndpointConfigSpec) -> Iterator[str]:
    if spec.dns_config is not None:
        yield "dnsConfig: there is no Route 53"
    if spec.tls_config is not None and spec.tls_config.custom_certificate_config is not None:
        yield "tlsConfig.customCertificateConfig: there is no ACM, the certificate is the add-on's"
    if spec.tags:
        yield "tags: there is nothing of AWS to tag"
    topology = spec.pd_spec.topology_spec if spec.pd_spec is not None else None
    if topology is not None and topology.placement_group:
        yield "pdSpec.topologySpec.placementGroup: there are no placement groups"


def _capture(capture: v1.DataCapture | None) -> Iterator[str]:
    if capture is None:
        return
    if capture.load_balancer is not None and capture.load_balancer.enabled:
        yield "dataCapture.loadBalancer: the router writes no access logs to S3"
    if capture.sagemaker_endpoint is not None and capture.sagemaker_endpoint.enabled:
        yield "dataCapture.sagemakerEndpoint: there is no SageMaker; dataCapture.modelPod records"


def _routing(spec: v1.InferenceEndpointConfigSpec) -> Iterator[str]:
    routing = spec.intelligent_routing_spec
    if routing is None or not routing.enabled:
        return
    if routing.routing_strategy == "kvaware":
        yield "intelligentRoutingSpec.routingStrategy: kvaware is prefixaware here"
    if routing.auto_scaling_spec is not None:
        yield "intelligentRoutingSpec.autoScalingSpec: there is one router for all endpoints"


def _caches(spec: v1.InferenceEndpointConfigSpec) -> Iterator[str]:
    cache = spec.kv_cache_spec
    second = cache.l2_cache_spec if cache is not None and cache.enable_l2_cache else None
    if second is not None and (second.l2_cache_backend or "").lower() == "tieredstorage":
        yield "kvCacheSpec.l2CacheSpec.l2CacheBackend: there is no tiered storage, redis is taken"


def omissions_of_model(spec: v1.JumpStartModelSpec) -> list[str]:
    """Of what only a model of the hub has."""
    omissions = []
    if spec.model.additional_configs:
        omissions.append(
            "model.additionalConfigs: the hub has no configurations beside its entries"
        )
    if spec.model.gated_model_download_role or spec.server.execution_role:
        omissions.append("model.gatedModelDownloadRole, server.executionRole: there is no IAM")
    if spec.server.accelerator_partition_type:
        omissions.append("server.acceleratorPartitionType: instances are not partitioned")
    return omissions
