"""The checks of the level restricted, which follows the practice of hardening pods: baseline's, and
stricter ones."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.machinery.podsecurity import baseline
from tiphys.machinery.podsecurity.subjects import (
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
    unless_windows,
    users,
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
    names = []
    types = set()
    for volume in pod.spec.volumes:
        type_ = _forbidden_type(volume)
        if type_:
            names.append(volume.name)
            types.add(type_)
    if not names:
        return None
    noun = plural("restricted volume type", len(types))
    detail = f"{users('volume', names)} {noun} {quoted(sorted(types))}"
    return Violation("restricted volume types", detail)


def _forbidden_type(volume: core_v1.Volume) -> str:
    """ "" where it is allowed, `unknown` where the volume has no type."""
    sources = {
        attribute: json_name
        for attribute, json_name in zip(
            volume.__struct_fields__, volume.__struct_encode_fields__, strict=True
        )
        if attribute != "name" and getattr(volume, attribute) is not None
    }
    if sources.keys() & _VOLUME_TYPES:
        return ""
    return next(iter(sources.values()), "unknown")


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
    violation = baseline.seccomp(pod)
    unset = names_where(pod, lambda context: context.seccomp_profile is None)
    if violation is not None or pod_context_of(pod).seccomp_profile is not None or not unset:
        return violation
    detail = (
        f"pod or {named('container', unset)} must set securityContext.seccompProfile.type"
        ' to "RuntimeDefault" or "Localhost"'
    )
    return Violation("seccompProfile", detail)


RULES: tuple[Rule, ...] = (
    Rule(
        "allowPrivilegeEscalation",
        ((8, privilege_escalation), (25, unless_windows(privilege_escalation))),
    ),
    Rule(
        "capabilities_restricted",
        ((22, capabilities), (25, unless_windows(capabilities))),
        replaces="capabilities_baseline",
    ),
    Rule("procMount_restricted", ((35, baseline.proc_mount),), replaces="procMount"),
    Rule("restrictedVolumes", ((0, volume_types),), replaces="hostPathVolumes"),
    Rule("runAsNonRoot", ((0, run_as_non_root), (35, unless_in_user_namespace(run_as_non_root)))),
    Rule("runAsUser", ((23, run_as_user), (35, unless_in_user_namespace(run_as_user)))),
    Rule(
        "seccompProfile_restricted",
        ((19, seccomp), (25, unless_windows(seccomp))),
        replaces="seccompProfile_baseline",
    ),
)
"""In upstream's order, which is that of their names."""
