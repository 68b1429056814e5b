"""The checks of the level baseline, which prevents known privilege escalations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tiphys.api import core_v1
from tiphys.machinery import goformat
from tiphys.machinery.podsecurity.subjects import (
    Check,
    Rule,
    Violation,
    added_capabilities,
    containers_of,
    context_of,
    named,
    names_where,
    plural,
    pod_context_of,
    quoted,
    subjects,
    unless_in_user_namespace,
    users,
)

_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_OF_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_OF_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_PROFILES = ("RuntimeDefault", "Localhost")
_CAPABILITIES = frozenset(
    (
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    )
)
# Sysctls and types of SELinux that later releases call safe as well.
_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
    )
)
_SYSCTLS_27 = _SYSCTLS | {"net.ipv4.ip_local_reserved_ports"}
_SYSCTLS_29 = _SYSCTLS_27 | {
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
_SYSCTLS_32 = _SYSCTLS_29 | {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}
_SELINUX_TYPES = frozenset(("", "container_t", "container_init_t", "container_kvm_t"))
_SELINUX_TYPES_31 = _SELINUX_TYPES | {"container_engine_t"}

Profile = core_v1.SeccompProfile | core_v1.AppArmorProfile


def forbidden_type(profile: Profile | None) -> str | None:
    """The type of a profile that the standards forbid."""
    return None if profile is None or profile.type in _PROFILES else profile.type


def apparmor(pod: core_v1.Pod) -> Violation | None:
    of_pod = forbidden_type(pod_context_of(pod).app_armor_profile)
    of_containers = _types_by_container(pod, lambda context: context.app_armor_profile)
    annotations = sorted(
        f"{key}={goformat.quoted(value)}"
        for key, value in pod.metadata.annotations.items()
        if key.startswith(_APPARMOR_ANNOTATION)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    where = subjects(of_pod is not None, list(of_containers))
    if annotations:
        where.append(plural("annotation", len(annotations)))
    if not where:
        return None
    types = {*of_containers.values()} | ({of_pod} if of_pod is not None else set())
    values = [*sorted(types), *annotations]
    detail = f"{' and '.join(where)} must not set AppArmor profile type to {quoted(values)}"
    return Violation(plural("forbidden AppArmor profile", len(values)), detail)


def _types_by_container(
    pod: core_v1.Pod, profile_of: Callable[[core_v1.SecurityContext], Profile | None]
) -> dict[str, str]:
    """Container → the forbidden type of its profile."""
    types = {c.name: forbidden_type(profile_of(context_of(c))) for c in containers_of(pod)}
    return {name: type_ for name, type_ in types.items() if type_ is not None}


def capabilities(pod: core_v1.Pod) -> Violation | None:
    names = []
    forbidden: set[str] = set()
    for container in containers_of(pod):
        added = set(added_capabilities(container)) - _CAPABILITIES
        if added:
            names.append(container.name)
            forbidden |= added
    if not names:
        return None
    detail = (
        f"{named('container', names)} must not include {quoted(sorted(forbidden))}"
        " in securityContext.capabilities.add"
    )
    return Violation("non-default capabilities", detail)


def host_namespaces(pod: core_v1.Pod) -> Violation | None:
    spec = pod.spec
    shared = {
        "hostNetwork=true": spec.host_network,
        "hostPID=true": spec.host_pid,
        "hostIPC=true": spec.host_ipc,
    }
    settings = [setting for setting, is_set in shared.items() if is_set]
    return Violation("host namespaces", ", ".join(settings)) if settings else None


def host_paths(pod: core_v1.Pod) -> Violation | None:
    volumes = [volume.name for volume in pod.spec.volumes if volume.host_path is not None]
    return Violation("hostPath volumes", named("volume", volumes)) if volumes else None


def host_ports(pod: core_v1.Pod) -> Violation | None:
    names = []
    ports: set[str] = set()
    for container in containers_of(pod):
        used = {str(port.host_port) for port in container.ports if port.host_port}
        if used:
            names.append(container.name)
            ports |= used
    if not names:
        return None
    noun = plural("hostPort", len(ports))
    detail = f"{users('container', names)} {noun} {', '.join(sorted(ports))}"
    return Violation("hostPort", detail)


def host_probes(pod: core_v1.Pod) -> Violation | None:
    """A probe is the node's request: with a host, it could go to any server."""
    names = set()
    hosts: set[str] = set()
    for container in containers_of(pod):
        asked = {action.host for action in _network_actions(container) if action.host}
        if asked:
            names.add(container.name)
            hosts |= asked
    if not names:
        return None
    noun = plural("probe or lifecycle host", len(hosts))
    detail = f"{users('container', sorted(names))} {noun} {quoted(sorted(hosts))}"
    return Violation("probe or lifecycle host", detail)


def _network_actions(container: Any) -> Iterator[core_v1.HTTPGetAction | core_v1.TCPSocketAction]:
    """Requests that the kubelet makes for a container."""
    handlers: list[Any] = [
        container.liveness_probe,
        container.readiness_probe,
        container.startup_probe,
    ]
    if container.lifecycle is not None:
        handlers += [container.lifecycle.post_start, container.lifecycle.pre_stop]
    for handler in handlers:
        if handler is None:
            continue
        if handler.http_get is not None:
            yield handler.http_get
        if handler.tcp_socket is not None:
            yield handler.tcp_socket


def privileged(pod: core_v1.Pod) -> Violation | None:
    names = names_where(pod, lambda context: bool(context.privileged))
    if not names:
        return None
    detail = f"{named('container', names)} must not set securityContext.privileged=true"
    return Violation("privileged", detail)


def proc_mount(pod: core_v1.Pod) -> Violation | None:
    types = {c.name: context_of(c).proc_mount for c in containers_of(pod)}
    forbidden = {name: type_ for name, type_ in types.items() if type_ not in (None, "Default")}
    if not forbidden:
        return None
    values = quoted(sorted({type_ or "" for type_ in forbidden.values()}))
    detail = f"{named('container', list(forbidden))} must not set securityContext.procMount to"
    return Violation("procMount", f"{detail} {values}")


def seccomp_annotations(pod: core_v1.Pod) -> Violation | None:
    """Before there was a field."""
    keys = [_SECCOMP_OF_POD]
    keys += [f"{_SECCOMP_OF_CONTAINER}{container.name}" for container in containers_of(pod)]
    annotations = pod.metadata.annotations
    forbidden = sorted(
        f"{key}={goformat.quoted(annotations[key])}"
        for key in keys
        if key in annotations and not _is_known_annotation(annotations[key])
    )
    if not forbidden:
        return None
    noun = plural("annotation", len(forbidden))
    return Violation("seccompProfile", f"forbidden {noun} {', '.join(forbidden)}")


def _is_known_annotation(value: str) -> bool:
    return value in ("runtime/default", "docker/default") or value.startswith("localhost/")


def seccomp(pod: core_v1.Pod) -> Violation | None:
    of_pod = forbidden_type(pod_context_of(pod).seccomp_profile)
    of_containers = _types_by_container(pod, lambda context: context.seccomp_profile)
    where = subjects(of_pod is not None, list(of_containers))
    if not where:
        return None
    types = {*of_containers.values()} | ({of_pod} if of_pod is not None else set())
    detail = f"{' and '.join(where)} must not set securityContext.seccompProfile.type to"
    return Violation("seccompProfile", f"{detail} {quoted(sorted(types))}")


def selinux_beside(allowed: frozenset[str]) -> Check:
    """Forbids types that are not among those, and to name a user or a role."""

    def is_forbidden(options: core_v1.SELinuxOptions | None) -> bool:
        if options is None:
            return False
        return options.type not in allowed or bool(options.user or options.role)

    def selinux(pod: core_v1.Pod) -> Violation | None:
        of_pod = pod_context_of(pod).se_linux_options
        names = names_where(pod, lambda context: is_forbidden(context.se_linux_options))
        where = subjects(is_forbidden(of_pod), names)
        if not where:
            return None
        every = [of_pod, *(context_of(c).se_linux_options for c in containers_of(pod))]
        options = [option for option in every if option is not None]
        types = sorted({option.type for option in options} - allowed)
        faults = [f"{plural('type', len(types))} {quoted(types)}"] if types else []
        if any(option.user for option in options):
            faults.append("user may not be set")
        if any(option.role for option in options):
            faults.append("role may not be set")
        detail = f"{' and '.join(where)} set forbidden securityContext.seLinuxOptions:"
        return Violation("seLinuxOptions", f"{detail} {'; '.join(faults)}")

    return selinux


def sysctls_beside(allowed: frozenset[str]) -> Check:
    """Forbids sysctls that are not among those."""

    def sysctls(pod: core_v1.Pod) -> Violation | None:
        names = [row.name for row in pod_context_of(pod).sysctls if row.name not in allowed]
        return Violation("forbidden sysctls", ", ".join(names)) if names else None

    return sysctls


def windows_host_process(pod: core_v1.Pod) -> Violation | None:
    names = names_where(pod, lambda context: _is_host_process(context.windows_options))
    where = subjects(_is_host_process(pod_context_of(pod).windows_options), names)
    if not where:
        return None
    detail = f"{' and '.join(where)} must not set securityContext.windowsOptions.hostProcess=true"
    return Violation("hostProcess", detail)


def _is_host_process(options: core_v1.WindowsSecurityContextOptions | None) -> bool:
    return options is not None and bool(options.host_process)


RULES: tuple[Rule, ...] = (
    Rule("appArmorProfile", ((0, apparmor),)),
    Rule("capabilities_baseline", ((0, capabilities),)),
    Rule("hostNamespaces", ((0, host_namespaces),)),
    Rule("hostPathVolumes", ((0, host_paths),)),
    Rule("hostPorts", ((0, host_ports),)),
    Rule("hostProbesAndHostLifecycle", ((34, host_probes),)),
    Rule("privileged", ((0, privileged),)),
    Rule("procMount", ((0, proc_mount), (35, unless_in_user_namespace(proc_mount)))),
    Rule(
        "seLinuxOptions",
        ((0, selinux_beside(_SELINUX_TYPES)), (31, selinux_beside(_SELINUX_TYPES_31))),
    ),
    Rule("seccompProfile_baseline", ((0, seccomp_annotations), (19, seccomp))),
    Rule(
        "sysctls",
        (
            (0, sysctls_beside(_SYSCTLS)),
            (27, sysctls_beside(_SYSCTLS_27)),
            (29, sysctls_beside(_SYSCTLS_29)),
            (32, sysctls_beside(_SYSCTLS_32)),
        ),
    ),
    Rule("windowsHostProcess", ((0, windows_host_process),)),
)
"""In upstream's order, which is that of their names."""
