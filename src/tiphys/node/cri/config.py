"""The CRI configuration of a pod's sandbox and containers, from the pod's spec. Pure."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from tiphys.api import core_v1
from tiphys.machinery import quantity
from tiphys.node.abilities import IdRange
from tiphys.node.cri import messages as m
from tiphys.node.cri.signals import signal_number
from tiphys.node.naming import Resolver
from tiphys.node.profiles import (
    LOCALHOST,
    RUNTIME_DEFAULT,
    UNCONFINED,
    Profile,
    app_armor_of,
)
from tiphys.node.resources import cgroups
from tiphys.node.runtime import ContainerPlan
from tiphys.node.states import PodIdentity

# Labels that upstream's kubelet gives, too: crictl and log collectors read them.
POD_LABEL = "io.kubernetes.pod.name"
NAMESPACE_LABEL = "io.kubernetes.pod.namespace"
UID_LABEL = "io.kubernetes.pod.uid"
CONTAINER_LABEL = "io.kubernetes.container.name"
IMAGE_ANNOTATION = "tiphys.dev/image"  # of containers: as the pod names it

# NamespaceMode of CRI.
_POD_MODE, _CONTAINER_MODE, _NODE_MODE, _TARGET_MODE = range(4)
# SecurityProfile.ProfileType of CRI.
_PROFILES = {RUNTIME_DEFAULT: 0, UNCONFINED: 1, LOCALHOST: 2}

# What upstream hides of /proc and /sys in containers that are not privileged.
_MASKED_PATHS = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
]
_READ_ONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


class SandboxPlace(NamedTuple):
    """Where a sandbox is on its machine: the folder of its logs, the parent of its control groups,
    and its users and groups if they are its own."""

    logs: str
    cgroup: str
    users: IdRange | None = None


def sandbox_config(
    pod: core_v1.Pod, attempt: int, resolver: Resolver, hostname: str, place: SandboxPlace
) -> m.PodSandboxConfig:
    meta = pod.metadata
    spec = pod.spec
    security = m.LinuxSandboxSecurityContext(
        namespace_options=_namespaces(spec, place.users),
        privileged=_has_privileged(spec),
        seccomp=m.SecurityProfile(profile_type=_PROFILES[UNCONFINED]),
    )
    sysctls = spec.security_context.sysctls if spec.security_context is not None else []
    return m.PodSandboxConfig(
        metadata=m.PodSandboxMetadata(
            name=meta.name, uid=meta.uid, namespace=meta.namespace, attempt=attempt
        ),
        hostname="" if spec.host_network else hostname,
        log_directory=place.logs,
        dns_config=m.DNSConfig(
            servers=resolver.servers, searches=resolver.searches, options=resolver.options
        ),
        labels={**meta.labels, **pod_labels(PodIdentity.of(pod))},
        annotations=dict(meta.annotations),
        linux=m.LinuxPodSandboxConfig(
            cgroup_parent=place.cgroup,
            security_context=security,
            sysctls={sysctl.name: sysctl.value for sysctl in sysctls},
        ),
    )


def container_config(pod: core_v1.Pod, plan: ContainerPlan) -> m.ContainerConfig:
    """How a container is created."""
    container = plan.container
    resources = container_resources(pod, container)
    resources.cpuset_cpus = plan.confinement.cpus
    resources.cpuset_mems = plan.confinement.memory_nodes
    if plan.confinement.is_alone:
        resources.cpu_quota = -1
    mounts = [
        m.Mount(
            container_path=mount.path,
            host_path=mount.host,
            readonly=mount.read_only,
            propagation=mount.propagation,
            recursive_read_only=mount.recursive_read_only,
            uidMappings=_mappings(plan.users),
            gidMappings=_mappings(plan.users),
        )
        for mount in plan.mounts
    ]
    return m.ContainerConfig(
        metadata=m.ContainerMetadata(name=container.name, attempt=plan.attempt),
        image=m.ImageSpec(image=plan.image),
        command=plan.command,
        args=plan.args,
        working_dir=container.working_dir,
        envs=[_variable(name, value) for name, value in plan.env.items()],
        mounts=mounts,
        devices=[
            m.Device(
                container_path=device.path,
                host_path=device.host,
                permissions=device.permissions,
            )
            for device in plan.devices
        ],
        CDI_devices=[m.CDIDevice(name=name) for name in plan.cdi],
        annotations={**plan.annotations, IMAGE_ANNOTATION: plan.image},
        labels={**pod_labels(PodIdentity.of(pod)), CONTAINER_LABEL: container.name},
        log_path=f"{container.name}/{plan.attempt}.log",
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
        stop_signal=_stop_signal(container),
        linux=m.LinuxContainerConfig(
            resources=resources,
            security_context=container_security(pod.spec, plan),
        ),
    )


def _stop_signal(container: Any) -> int:
    lifecycle = container.lifecycle
    return signal_number(lifecycle.stop_signal or "") if lifecycle is not None else 0


def _variable(name: str, value: str) -> m.KeyValue:
    """A value from a Secret may be any bytes; those that are no UTF-8 are escaped in the text."""
    return m.KeyValue(key=name, value=value.encode(errors="surrogateescape"))


def pod_labels(pod: PodIdentity) -> dict[str, str]:
    return {POD_LABEL: pod.name, NAMESPACE_LABEL: pod.namespace, UID_LABEL: pod.uid}


def container_resources(pod: core_v1.Pod, container: Any) -> m.LinuxContainerResources:
    """CPU shares follow the request or, without one, the limit; quota and memory the limits."""
    requests = container.resources.requests
    limits = container.resources.limits
    milli_cpu = quantity.milli(requests.get("cpu") or limits.get("cpu", "0"))
    resources = m.LinuxContainerResources(
        cpu_shares=cgroups.shares(milli_cpu),
        oom_score_adj=oom_score(pod, container, _machine_memory()),
    )
    if "cpu" in limits:
        resources.cpu_period = cgroups.CPU_PERIOD
        resources.cpu_quota = cgroups.quota(quantity.milli(limits["cpu"]))
    if "memory" in limits:
        resources.memory_limit_in_bytes = quantity.ceil_units(limits["memory"])
    return resources


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def oom_score(pod: core_v1.Pod, container: Any, memory: int) -> int:
    """Who is killed first when the `memory` of the machine, in bytes, runs out.

    As upstream: best-effort pods first (1000), guaranteed ones last (-997), in between those that
    use more than they asked for.
    """
    if pod.status.qos_class == "Guaranteed":
        return -997
    if pod.status.qos_class == "BestEffort":
        return 1000
    if "memory" not in container.resources.requests:
        return 999
    requested = quantity.ceil_units(container.resources.requests["memory"])
    return min(999, max(3, 1000 - 1000 * requested // memory))


def container_security(
    spec: core_v1.PodSpec, plan: ContainerPlan
) -> m.LinuxContainerSecurityContext:
    """A container's own settings count before the pod's."""
    container = plan.container
    own = container.security_context or core_v1.SecurityContext()
    shared = spec.security_context or core_v1.PodSecurityContext()
    namespaces = _namespaces(spec, plan.users)
    if plan.target:
        namespaces.pid = _TARGET_MODE
        namespaces.target_id = plan.target
    fs_group = [shared.fs_group] if shared.fs_group is not None else []
    security = m.LinuxContainerSecurityContext(
        namespace_options=namespaces,
        privileged=bool(own.privileged),
        readonly_rootfs=bool(own.read_only_root_filesystem),
        no_new_privs=own.allow_privilege_escalation is False,
        supplemental_groups=[*shared.supplemental_groups, *fs_group],
        supplemental_groups_policy=int(shared.supplemental_groups_policy == "Strict"),
        seccomp=_security_profile(plan.seccomp),
    )
    user = own.run_as_user if own.run_as_user is not None else shared.run_as_user
    group = own.run_as_group if own.run_as_group is not None else shared.run_as_group
    if user is not None:
        security.run_as_user = m.Int64Value(value=user)
        # CRI refuses a group without a user.
        security.run_as_group = m.Int64Value(value=group) if group is not None else None
    if own.capabilities is not None:
        security.capabilities = m.Capability(
            add_capabilities=own.capabilities.add, drop_capabilities=own.capabilities.drop
        )
    if (profile := app_armor_of(spec, container)) is not None:
        security.apparmor = _security_profile(profile)
        security.apparmor_profile = _older_profile(profile)
    if not own.privileged and own.proc_mount != "Unmasked":
        security.masked_paths = list(_MASKED_PATHS)
        security.readonly_paths = list(_READ_ONLY_PATHS)
    return security


def _security_profile(profile: Profile) -> m.SecurityProfile:
    return m.SecurityProfile(profile_type=_PROFILES[profile.type], localhost_ref=profile.name)


def _older_profile(profile: Profile) -> str:
    """Of AppArmor, for runtimes that do not know the newer field."""
    if profile.type == LOCALHOST:
        return f"localhost/{profile.name}"
    return "runtime/default" if profile.type == RUNTIME_DEFAULT else "unconfined"


def _has_privileged(spec: core_v1.PodSpec) -> bool:
    return any(
        container.security_context is not None and container.security_context.privileged
        for container in [*spec.containers, *spec.init_containers]
    )


def _mappings(users: IdRange | None) -> list[m.IDMapping]:
    if users is None:
        return []
    return [m.IDMapping(host_id=users.first, container_id=0, length=users.length)]


def _users(users: IdRange | None) -> m.UserNamespace | None:
    if users is None:  # the node's: what runtimes do that do not know the field
        return None
    ranges = _mappings(users)
    return m.UserNamespace(mode=_POD_MODE, uids=ranges, gids=ranges)


def _namespaces(spec: core_v1.PodSpec, users: IdRange | None) -> m.NamespaceOption:
    if spec.host_pid:
        pid = _NODE_MODE
    elif spec.share_process_namespace:
        pid = _POD_MODE
    else:
        pid = _CONTAINER_MODE
    return m.NamespaceOption(
        network=_NODE_MODE if spec.host_network else _POD_MODE,
        pid=pid,
        ipc=_NODE_MODE if spec.host_ipc else _POD_MODE,
        userns_options=_users(users),
    )
