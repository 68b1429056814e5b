"""What the API takes and nodes of ours do not carry out: its writer is told, for an object that does nothing is a trap.

A node that carries one of them out takes its line away. Volumes of kinds that nodes do not know, unsafe sysctls, users of the
pod's own and the like are not here: nodes refuse such pods, and say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tiphys.api import core_v1 as v1

_NOT = "is not carried out by nodes of Tiphys"
_HOLLOW = b'"containerRuntimeVersion":"hollow'


def of_spec(spec: v1.PodSpec, path: str) -> Iterator[str]:
    """Of a pod, or of a template of pods."""
    if spec.runtime_class_name:
        yield f"{path}.runtimeClassName: {_NOT}: every pod runs on the same runtime"
    if spec.security_context is not None:
        yield from _security(spec.security_context, f"{path}.securityContext")
    for index, volume in enumerate(spec.volumes):
        if volume.empty_dir is not None:
            yield from _empty_dir(volume.empty_dir, f"{path}.volumes[{index}].emptyDir")
    for kind, containers in (
        ("initContainers", spec.init_containers),
        ("containers", spec.containers),
    ):
        for index, container in enumerate(containers):
            if not _is_plain(container):
                yield from _container(container, f"{path}.{kind}[{index}]")


def _security(context: Any, at: str) -> Iterator[str]:
    """Of a pod or a container."""
    if context.se_linux_options is not None:
        yield f"{at}.seLinuxOptions: {_NOT}"
    if context.app_armor_profile is not None and context.app_armor_profile.type != "Unconfined":
        yield f"{at}.appArmorProfile: {_NOT}"
    if context.seccomp_profile is not None and context.seccomp_profile.type == "Localhost":
        yield f"{at}.seccompProfile: Localhost {_NOT}: RuntimeDefault is, instead"


def _empty_dir(source: v1.EmptyDirVolumeSource, at: str) -> Iterator[str]:
    if source.medium.startswith("HugePages"):
        yield f"{at}.medium: {source.medium} {_NOT}"


def _is_plain(container: Any) -> bool:
    """Whether there is nothing to say, as of nearly all: asked of every container that is made."""
    if container.security_context is not None or container.lifecycle is not None:
        return False
    return not (container.volume_devices or container.restart_policy_rules)


def _container(container: Any, at: str) -> Iterator[str]:
    context = container.security_context
    if context is not None:
        yield from _security(context, f"{at}.securityContext")
        if context.proc_mount == "Unmasked":
            yield f"{at}.securityContext.procMount: Unmasked {_NOT}"
    if container.volume_devices:
        yield f"{at}.volumeDevices: {_NOT}: the container has no such device"
    if any(rule.action == "RestartAllContainers" for rule in container.restart_policy_rules):
        yield f"{at}.restartPolicyRules: RestartAllContainers {_NOT}: the container alone is started again"
    if container.lifecycle is not None and container.lifecycle.stop_signal:
        yield f"{at}.lifecycle.stopSignal: {_NOT}: the image's signal is sent"


def of_service(spec: v1.ServiceSpec) -> Iterator[str]:
    if spec.traffic_distribution:
        yield f"spec.trafficDistribution: {_NOT}: every endpoint is as near as the others"
    if "IPv6" in spec.ip_families or spec.ip_family_policy == "RequireDualStack":
        yield f"spec.ipFamilies: IPv6 {_NOT}"


def of_policy(nodes: Iterable[bytes]) -> Iterator[str]:
    """Of a network policy; `nodes` are the bytes of the nodes that there are."""
    if any(_HOLLOW in data for data in nodes):
        yield "network policies are not enforced on hollow nodes: their pods have no network"
