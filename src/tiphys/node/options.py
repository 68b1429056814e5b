"""An agent's options, and how it shows them to clients (`/configz`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiphys.api import core_v1
from tiphys.node.configuration import DEFAULT, KubeletConfiguration
from tiphys.node.managers.settings import shown
from tiphys.node.naming import Resolver
from tiphys.node.resources.pressure import Threshold, binary_text
from tiphys.node.staticpods.manifests import PodReader


@dataclass(frozen=True)
class NodeOptions:
    """`address` is where the node and its streaming server are reached; `port` 0 lets the system
    choose. `resolver` is the machine's own, `images` a folder on the file system of images. A new
    node has `taints` from the start, and `provider_id` as the machine's name in its cloud."""

    name: str
    address: str
    data_dir: Path
    certificate: Path
    key: Path
    ca: Path
    port: int = 10250
    dns_servers: tuple[str, ...] = ()
    domain: str = "cluster.local"
    pod_cidr: str = ""
    labels: dict[str, str] | None = None
    resolver: Resolver = field(default_factory=lambda: Resolver([], [], []))
    images: Path | None = None
    configuration: KubeletConfiguration = DEFAULT
    addresses: tuple[str, ...] = ()  # `address`, and one of the other family; () for it alone
    taints: tuple[core_v1.Taint, ...] = ()
    provider_id: str = ""
    capacity: dict[str, str] | None = None  # None: what the runtime's machine has
    pod_reader: PodReader | None = None  # of static pods, where there may be some


def configuration_of(options: NodeOptions) -> dict[str, Any]:
    """As a KubeletConfiguration of upstream."""
    configuration = options.configuration
    return {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "address": options.address,
        "port": options.port,
        "podCIDR": options.pod_cidr,
        "clusterDomain": options.domain,
        "clusterDNS": list(options.dns_servers),
        "maxPods": configuration.max_pods,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}},
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "containerLogMaxSize": binary_text(configuration.log_bytes),
        "containerLogMaxFiles": configuration.log_files,
        "evictionHard": _written(configuration.eviction_hard),
        "evictionSoft": _written(configuration.eviction_soft),
        "evictionSoftGracePeriod": {
            threshold.signal: f"{threshold.grace:g}s" for threshold in configuration.eviction_soft
        },
        "evictionMaxPodGracePeriod": configuration.eviction_max_grace,
        "shutdownGracePeriodByPodPriority": [
            {"priority": period.priority, "shutdownGracePeriodSeconds": period.seconds}
            for period in configuration.shutdown
        ],
        "serializeImagePulls": False,
        "enableSystemLogQuery": configuration.log_queries,
        "imagePullCredentialsVerificationPolicy": configuration.pulls.policy,
        "preloadedImagesVerificationAllowlist": list(configuration.pulls.allowed),
        "seccompDefault": configuration.seccomp_default,
        "allowedUnsafeSysctls": list(configuration.sysctls),
        "memorySwap": {"swapBehavior": configuration.swap_behavior},
        "staticPodPath": configuration.static_pods,
        **shown(configuration.managers),
    }


def _written(thresholds: Iterable[Threshold]) -> dict[str, str]:
    return {threshold.signal: threshold.written for threshold in thresholds}
