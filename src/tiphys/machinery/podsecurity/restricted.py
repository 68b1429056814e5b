"""The checks of the level restricted, which follows the practice of hardening pods: baseline's, and
stricter ones."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.machinery.podsecurity import baseline
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

_VOLUME_TYPES = frozenset(
    (
        "config_map",
        "csi",
        "downward_api",
        "empty_dir",
        "ephemeral",
        "image",
        "persistent_volume_claim",
        "projected",
        "secret",
    )
)
_SECCOMP_TYPES = ("RuntimeDefault", "Localhost")


def privilege_escalation(pod: core_v1.Pod) -> Violation | None:
    names = names_where(pod, lambda context: context.allow_privilege_escalation is not False)
    if not names:
        return None
    detail = f"{named('container', names)} must set securityContext.allowPrivilegeEscalation=false"
    return Violation("allowPrivilegeEscalation != false", detail)


def capabilities(pod: core_v1.Pod) -> Violation | None:
    keeping = []
    adding = []
    added: set[str] = set()
    for container in containers_of(pod):
        dropped = context_of(container).capabilities
        if dropped is None or "ALL" not in dropped.drop:
            keeping.append(container.name)
        forbidden = set(added_capabilities(container)) - {"NET_BIND_SERVICE"}
        if forbidden:
            adding.append(container.name)
            added |= forbidden
    details = []
    if keeping:
        details.append(
            f'{named("container", keeping)} must set securityContext.capabilities.drop=["ALL"]'
        )
    if adding:
        details.append(
            f"{named('container', adding)} must not include {quoted(sorted(added))}"
            " in securityContext.capabilities.add"
        )
    return Violation("unrestricted capabilities", "; ".join(details)) if details else None


def volume_types(pod: core_v1.Pod) -> Violation | None:
    names_by_type: dict[str, list[str]] = {}
    for volume in pod.spec.volumes:
        fields = zip(volume.__struct_fields__, volume.__struct_encode_fields__, strict=True)
        for attribute, json_name in fields:
            if attribute == "name" or attribute in _VOLUME_TYPES:
                continue
            if getattr(volume, attribute) is not None:
                names_by_type.setdefault(json_name, []).append(volume.name)
    if not names_by_type:
        return None
    names = [name for volumes in names_by_type.values() for name in volumes]
    verb = "uses" if len(names) == 1 else "use"
    types = f"{plural('volume type', len(names_by_type))} {quoted(sorted(names_by_type))}"
    detail = f"{named('volume', names)} {verb} restricted {types}"
    return Violation("restricted volume types", detail)


def run_as_non_root(pod: core_v1.Pod) -> Violation | None:
    reason = "runAsNonRoot != true"
    of_pod = pod_context_of(pod).run_as_non_root
    forbidden = names_where(pod, lambda context: context.run_as_non_root is False)
    where = subjects(of_pod is False, forbidden)
    if where:
        detail = f"{' and '.join(where)} must not set securityContext.runAsNonRoot=false"
        return Violation(reason, detail)
    unset = names_where(pod, lambda context: context.run_as_non_root is None)
    if of_pod or not unset:
        return None
    detail = f"pod or {named('container', unset)} must set securityContext.runAsNonRoot=true"
    return Violation(reason, detail)


def run_as_user(pod: core_v1.Pod) -> Violation | None:
    names = names_where(pod, lambda context: context.run_as_user == 0)
    where = subjects(pod_context_of(pod).run_as_user == 0, names)
    if not where:
        return None
    return Violation("runAsUser=0", f"{' and '.join(where)} must not set runAsUser=0")


def seccomp(pod: core_v1.Pod) -> Violation | None:
    of_pod = pod_context_of(pod).seccomp_profile
    forbidden = names_where(pod, lambda context: _is_forbidden(context.seccomp_profile))
    where = subjects(_is_forbidden(of_pod), forbidden)
    if where:
        return baseline.seccomp_violation(where)
    unset = names_where(pod, lambda context: context.seccomp_profile is None)
    if of_pod is not None or not unset:
        return None
    detail = (
        f"pod or {named('container', unset)} must set securityContext.seccompProfile.type"
        ' to "RuntimeDefault" or "Localhost"'
    )
    return Violation("seccompProfile", detail)


def _is_forbidden(profile: core_v1.SeccompProfile | None) -> bool:
    return profile is not None and profile.type not in _SECCOMP_TYPES


CHECKS: tuple[Check, ...] = (
    privilege_escalation,
    baseline.apparmor,
    capabilities,
    baseline.host_namespaces,
    baseline.host_paths,
    baseline.host_ports,
    baseline.host_probes,
    baseline.privileged,
    baseline.proc_mount,
    volume_types,
    run_as_non_root,
    run_as_user,
    seccomp,
    baseline.selinux,
    baseline.sysctls,
    baseline.windows_host_process,
)
