"""The objects of metrics.k8s.io, made of pods, nodes and their samples. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tiphys.addons.metrics.sampling import Sample
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.api.metrics_v1beta1 import ContainerMetrics, NodeMetrics, PodMetrics
from tiphys.machinery import timestamps


def pod_metrics(pod: core_v1.Pod, samples: Mapping[str, Sample]) -> PodMetrics | None:
    """None of a pod of which nothing is known."""
    if not samples:
        return None
    latest = max(samples.values(), key=lambda sample: sample.since)
    taken_at = timestamps.rfc3339(latest.since)
    meta = pod.metadata
    return PodMetrics(
        metadata=ObjectMeta(
            name=meta.name,
            namespace=meta.namespace,
            labels=dict(meta.labels),
            creation_timestamp=taken_at,
        ),
        timestamp=taken_at,
        window=_window(latest),
        containers=[
            ContainerMetrics(name=name, usage=sample.usage())
            for name, sample in sorted(samples.items())
        ],
    )


def node_metrics(node: core_v1.Node, sample: Sample) -> NodeMetrics:
    taken_at = timestamps.rfc3339(sample.since)
    return NodeMetrics(
        metadata=ObjectMeta(
            name=node.metadata.name,
            labels=dict(node.metadata.labels),
            creation_timestamp=taken_at,
        ),
        timestamp=taken_at,
        window=_window(sample),
        usage=sample.usage(),
    )


def _window(sample: Sample) -> str:
    return f"{sample.window:.3f}s"
