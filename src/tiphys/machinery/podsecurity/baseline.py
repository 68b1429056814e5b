"""The checks of the level baseline, which prevents known privilege escalations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.api import core_v1
from tiphys.machinery.podsecurity.subjects import (
    Check,
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
)

_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
_LOCAL_HOSTS = ("", "127.0.0.1", "::1")
_SELINUX_TYPES = (
    "",
    "container_t",
    "container_init_t",
    "container_kvm_t",
    "container_engine_t",
)
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
_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    )
)


def is_unconfined(profile: core_v1.SeccompProfile | core_v1.AppArmorProfile | None) -> bool:
    return profile is not None and profile.type == "Unconfined"


def apparmor(pod: core_v1.Pod) -> Violation | None:
    unconfined = names_where(pod, lambda context: is_unconfined(context.app_armor_profile))
    of_pod = is_unconfined(pod_context_of(pod).app_armor_profile)
    where = subjects(of_pod, unconfined)
    annotations = [
        key
        for key, value in pod.metadata.annotations.items()
        if key.startswith(_APPARMOR_ANNOTATION)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    ]
    if not where and not annotations:
        return None
    reason = plural("forbidden AppArmor profile", len(where) + len(annotations))
    fields = [f'{subject} must not set AppArmor profile type to "Unconfined"' for subject in where]
    return Violation(reason, ", ".join([*annotations, *fields]))


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
    ports: set[int] = set()
    for container in containers_of(pod):
        used = {port.host_port for port in container.ports if port.host_port}
        if used:
            names.append(container.name)
            ports |= used
    if not names:
        return None
    verb = "uses" if len(names) == 1 else "use"
    numbers = ", ".join(str(port) for port in sorted(ports))
    detail = f"{named('container', names)} {verb} {plural('hostPort', len(ports))} {numbers}"
    return Violation("hostPort", detail)


def host_probes(pod: core_v1.Pod) -> Violation | None:
    names = []
    for container in containers_of(pod):
        hosts = [action.host for action in _network_actions(container)]
        if any(host not in _LOCAL_HOSTS for host in hosts):
            names.append(container.name)
    if not names:
        return None
    detail = f"{named('container', names)} must not set a host in probes or lifecycle handlers"
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
    names = names_where(pod, lambda context: context.proc_mount not in (None, "", "Default"))
    if not names:
        return None
    detail = f"{named('container', names)} must not set securityContext.procMount"
    return Violation("procMount", detail)


def seccomp(pod: core_v1.Pod) -> Violation | None:
    unconfined = names_where(pod, lambda context: is_unconfined(context.seccomp_profile))
    where = subjects(is_unconfined(pod_context_of(pod).seccomp_profile), unconfined)
    return seccomp_violation(where) if where else None


def seccomp_violation(where: list[str]) -> Violation:
    """Of the subjects whose profile is forbidden."""
    detail = (
        f'{" and ".join(where)} must not set securityContext.seccompProfile.type to "Unconfined"'
    )
    return Violation("seccompProfile", detail)


def selinux(pod: core_v1.Pod) -> Violation | None:
    contexts = [context_of(container) for container in containers_of(pod)]
    all_options = [pod_context_of(pod).se_linux_options]
    all_options += [context.se_linux_options for context in contexts]
    options = [option for option in all_options if option is not None]
    forbidden = {
        "type": {option.type for option in options if option.type not in _SELINUX_TYPES},
        "user": {option.user for option in options if option.user},
        "role": {option.role for option in options if option.role},
    }
    details = [f"{name} {quoted(sorted(values))}" for name, values in forbidden.items() if values]
    return Violation("seLinuxOptions", "; ".join(details)) if details else None


def sysctls(pod: core_v1.Pod) -> Violation | None:
    names = [row.name for row in pod_context_of(pod).sysctls if row.name not in _SYSCTLS]
    return Violation("forbidden sysctls", ", ".join(names)) if names else None


def windows_host_process(pod: core_v1.Pod) -> Violation | None:
    names = names_where(pod, lambda context: _is_host_process(context.windows_options))
    where = subjects(_is_host_process(pod_context_of(pod).windows_options), names)
    if not where:
        return None
    detail = f"{' and '.join(where)} must not set securityContext.windowsOptions.hostProcess=true"
    return Violation("hostProcess", detail)


def _is_host_process(options: core_v1.WindowsSecurityContextOptions | None) -> bool:
    return options is not None and bool(options.host_process)


CHECKS: tuple[Check, ...] = (
    apparmor,
    capabilities,
    host_namespaces,
    host_paths,
    host_ports,
    host_probes,
    privileged,
    proc_mount,
    seccomp,
    selinux,
    sysctls,
    windows_host_process,
)
