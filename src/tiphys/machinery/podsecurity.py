"""The pod security standards: what the levels baseline and restricted ask of a pod, check by check.

Source: the published Pod Security Standards; reasons and details are worded as upstream words them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tiphys.api import core_v1

LEVELS = ("privileged", "baseline", "restricted")


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong in a few words, and where."""

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


Check = Callable[[core_v1.Pod], "Violation | None"]


def violations(pod: core_v1.Pod, level: str) -> list[Violation]:
    """Everything a level forbids of a pod (its template counts as one)."""
    if level == "privileged":
        return []
    checks = _BASELINE if level == "baseline" else _RESTRICTED
    return [found for check in checks if (found := check(pod)) is not None]


def containers(pod: core_v1.Pod) -> list[Any]:
    spec = pod.spec
    return [*spec.init_containers, *spec.containers, *spec.ephemeral_containers]


def _named(noun: str, names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(f'"{name}"' for name in listed)
    return f"{noun}{'s' if len(listed) > 1 else ''} {shown}"


def _context(container: Any) -> core_v1.SecurityContext:
    return container.security_context or core_v1.SecurityContext()


def _pod_context(pod: core_v1.Pod) -> core_v1.PodSecurityContext:
    return pod.spec.security_context or core_v1.PodSecurityContext()


def _must(names: list[str]) -> str:
    return _named("container", names)


# --- baseline -----------------------------------------------------------------------------------------------------


def _host_namespaces(pod: core_v1.Pod) -> Violation | None:
    spec = pod.spec
    used = [
        n
        for n, on in (
            ("hostNetwork=true", spec.host_network),
            ("hostPID=true", spec.host_pid),
            ("hostIPC=true", spec.host_ipc),
        )
        if on
    ]
    return Violation("host namespaces", ", ".join(used)) if used else None


def _privileged(pod: core_v1.Pod) -> Violation | None:
    bad = [c.name for c in containers(pod) if _context(c).privileged]
    return (
        Violation("privileged", f"{_must(bad)} must not set securityContext.privileged=true")
        if bad
        else None
    )


_BASE_CAPABILITIES = frozenset(
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


def _added(container: Any) -> list[str]:
    capabilities = _context(container).capabilities
    return list(capabilities.add) if capabilities is not None else []


def _capabilities(pod: core_v1.Pod) -> Violation | None:
    bad = {c.name: [n for n in _added(c) if n not in _BASE_CAPABILITIES] for c in containers(pod)}
    names = [name for name, added in bad.items() if added]
    if not names:
        return None
    shown = ", ".join(f'"{n}"' for n in sorted({n for added in bad.values() for n in added}))
    return Violation(
        "non-default capabilities",
        f"{_must(names)} must not include {shown} in securityContext.capabilities.add",
    )


def _host_paths(pod: core_v1.Pod) -> Violation | None:
    bad = [v.name for v in pod.spec.volumes if v.host_path is not None]
    return Violation("hostPath volumes", _named("volume", bad)) if bad else None


def _host_ports(pod: core_v1.Pod) -> Violation | None:
    bad = {c.name: [p.host_port for p in c.ports if p.host_port] for c in containers(pod)}
    names = [name for name, ports in bad.items() if ports]
    if not names:
        return None
    ports = ", ".join(str(p) for p in sorted({p for found in bad.values() for p in found}))
    plural = "s" if "," in ports else ""
    return Violation(
        "hostPort", f"{_must(names)} use{'s' if len(names) == 1 else ''} hostPort{plural} {ports}"
    )


def _proc_mount(pod: core_v1.Pod) -> Violation | None:
    bad = [c.name for c in containers(pod) if _context(c).proc_mount not in (None, "", "Default")]
    return (
        Violation("procMount", f"{_must(bad)} must not set securityContext.procMount")
        if bad
        else None
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


def _sysctls(pod: core_v1.Pod) -> Violation | None:
    bad = [s.name for s in _pod_context(pod).sysctls if s.name not in _SYSCTLS]
    return Violation("forbidden sysctls", ", ".join(bad)) if bad else None


def _selinux(pod: core_v1.Pod) -> Violation | None:
    options = [
        _pod_context(pod).se_linux_options,
        *(_context(c).se_linux_options for c in containers(pod)),
    ]
    types = sorted(
        {
            o.type
            for o in options
            if o is not None
            and o.type
            not in ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
        }
    )
    users = sorted({o.user for o in options if o is not None and o.user})
    roles = sorted({o.role for o in options if o is not None and o.role})
    told = [
        f"type {_quoted(types)}" if types else "",
        f"user {_quoted(users)}" if users else "",
        f"role {_quoted(roles)}" if roles else "",
    ]
    return (
        Violation("seLinuxOptions", "; ".join(filter(None, told)))
        if types or users or roles
        else None
    )


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _seccomp_baseline(pod: core_v1.Pod) -> Violation | None:
    where = []
    profile = _pod_context(pod).seccomp_profile
    if profile is not None and profile.type == "Unconfined":
        where.append("pod")
    bad = [
        c.name
        for c in containers(pod)
        if (p := _context(c).seccomp_profile) is not None and p.type == "Unconfined"
    ]
    if bad:
        where.append(_must(bad))
    return (
        Violation(
            "seccompProfile",
            f'{" and ".join(where)} must not set securityContext.seccompProfile.type to "Unconfined"',
        )
        if where
        else None
    )


def _apparmor(pod: core_v1.Pod) -> Violation | None:
    where = []
    profile = _pod_context(pod).app_armor_profile
    if profile is not None and profile.type == "Unconfined":
        where.append("pod")
    bad = [
        c.name
        for c in containers(pod)
        if (p := _context(c).app_armor_profile) is not None and p.type == "Unconfined"
    ]
    if bad:
        where.append(_must(bad))
    prefix = "container.apparmor.security.beta.kubernetes.io/"
    noted = [
        k
        for k, v in pod.metadata.annotations.items()
        if k.startswith(prefix)
        and v not in ("", "runtime/default")
        and not v.startswith("localhost/")
    ]
    if not where and not noted:
        return None
    return Violation(
        "forbidden AppArmor profile" + ("s" if len(where) + len(noted) > 1 else ""),
        ", ".join(
            [*noted, *(f'{w} must not set AppArmor profile type to "Unconfined"' for w in where)]
        ),
    )


def _host_probes(pod: core_v1.Pod) -> Violation | None:
    bad = []
    for container in containers(pod):
        handlers = [
            getattr(container, name, None)
            for name in ("liveness_probe", "readiness_probe", "startup_probe")
        ]
        if getattr(container, "lifecycle", None) is not None:
            handlers += [container.lifecycle.post_start, container.lifecycle.pre_stop]
        for handler in handlers:
            for action in (
                getattr(handler, "http_get", None),
                getattr(handler, "tcp_socket", None),
            ):
                if action is not None and action.host not in ("", "127.0.0.1", "::1"):
                    bad.append(container.name)
    names = list(dict.fromkeys(bad))
    return (
        Violation(
            "probe or lifecycle host",
            f"{_must(names)} must not set a host in probes or lifecycle handlers",
        )
        if names
        else None
    )


def _windows(pod: core_v1.Pod) -> Violation | None:
    where = []
    options = _pod_context(pod).windows_options
    if options is not None and options.host_process:
        where.append("pod")
    bad = [
        c.name
        for c in containers(pod)
        if (o := _context(c).windows_options) is not None and o.host_process
    ]
    if bad:
        where.append(_must(bad))
    return (
        Violation(
            "hostProcess",
            f"{' and '.join(where)} must not set securityContext.windowsOptions.hostProcess=true",
        )
        if where
        else None
    )


# --- restricted ---------------------------------------------------------------------------------------------------


def _escalation(pod: core_v1.Pod) -> Violation | None:
    bad = [c.name for c in containers(pod) if _context(c).allow_privilege_escalation is not False]
    return (
        Violation(
            "allowPrivilegeEscalation != false",
            f"{_must(bad)} must set securityContext.allowPrivilegeEscalation=false",
        )
        if bad
        else None
    )


def _dropped(pod: core_v1.Pod) -> Violation | None:
    silent = [
        c.name
        for c in containers(pod)
        if (k := _context(c).capabilities) is None or "ALL" not in k.drop
    ]
    more = {c.name: [n for n in _added(c) if n != "NET_BIND_SERVICE"] for c in containers(pod)}
    adding = [name for name, added in more.items() if added]
    told = []
    if silent:
        told.append(f'{_must(silent)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        told.append(
            f"{_must(adding)} must not include {_quoted(sorted({n for a in more.values() for n in a}))} in securityContext.capabilities.add"
        )
    return Violation("unrestricted capabilities", "; ".join(told)) if told else None


_VOLUMES = (
    "config_map",
    "csi",
    "downward_api",
    "empty_dir",
    "ephemeral",
    "persistent_volume_claim",
    "projected",
    "secret",
)


def _volumes(pod: core_v1.Pod) -> Violation | None:
    kinds: dict[str, list[str]] = {}
    for volume in pod.spec.volumes:
        for name, shown in zip(
            volume.__struct_fields__, volume.__struct_encode_fields__, strict=True
        ):
            if (
                name != "name"
                and getattr(volume, name) is not None
                and name not in (*_VOLUMES, "image")
            ):
                kinds.setdefault(shown, []).append(volume.name)
    if not kinds:
        return None
    names = [name for found in kinds.values() for name in found]
    uses = "uses" if len(names) == 1 else "use"
    return Violation(
        "restricted volume types",
        f"{_named('volume', names)} {uses} restricted volume type{'s' if len(kinds) > 1 else ''} {_quoted(sorted(kinds))}",
    )


def _non_root(pod: core_v1.Pod) -> Violation | None:
    of_pod = _pod_context(pod).run_as_non_root
    wrong = [c.name for c in containers(pod) if _context(c).run_as_non_root is False]
    if of_pod is False or wrong:
        where = (["pod"] if of_pod is False else []) + ([_must(wrong)] if wrong else [])
        return Violation(
            "runAsNonRoot != true",
            f"{' and '.join(where)} must not set securityContext.runAsNonRoot=false",
        )
    silent = [c.name for c in containers(pod) if _context(c).run_as_non_root is None]
    if of_pod or not silent:
        return None
    return Violation(
        "runAsNonRoot != true", f"pod or {_must(silent)} must set securityContext.runAsNonRoot=true"
    )


def _user(pod: core_v1.Pod) -> Violation | None:
    where = ["pod"] if _pod_context(pod).run_as_user == 0 else []
    bad = [c.name for c in containers(pod) if _context(c).run_as_user == 0]
    if bad:
        where.append(_must(bad))
    return (
        Violation("runAsUser=0", f"{' and '.join(where)} must not set runAsUser=0")
        if where
        else None
    )


def _seccomp(pod: core_v1.Pod) -> Violation | None:
    good = ("RuntimeDefault", "Localhost")
    of_pod = _pod_context(pod).seccomp_profile
    profiles = {c.name: _context(c).seccomp_profile for c in containers(pod)}
    wrong = [name for name, p in profiles.items() if p is not None and p.type not in good]
    if (of_pod is not None and of_pod.type not in good) or wrong:
        where = (["pod"] if of_pod is not None and of_pod.type not in good else []) + (
            [_must(wrong)] if wrong else []
        )
        return Violation(
            "seccompProfile",
            f'{" and ".join(where)} must not set securityContext.seccompProfile.type to "Unconfined"',
        )
    silent = [name for name, p in profiles.items() if p is None]
    if of_pod is not None or not silent:
        return None
    return Violation(
        "seccompProfile",
        f'pod or {_must(silent)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"',
    )


_BASELINE: tuple[Check, ...] = (
    _apparmor,
    _capabilities,
    _host_namespaces,
    _host_paths,
    _host_ports,
    _host_probes,
    _privileged,
    _proc_mount,
    _seccomp_baseline,
    _selinux,
    _sysctls,
    _windows,
)
_RESTRICTED: tuple[Check, ...] = (
    _escalation,
    _apparmor,
    _dropped,
    _host_namespaces,
    _host_paths,
    _host_ports,
    _host_probes,
    _privileged,
    _proc_mount,
    _volumes,
    _non_root,
    _user,
    _seccomp,
    _selinux,
    _sysctls,
    _windows,
)
