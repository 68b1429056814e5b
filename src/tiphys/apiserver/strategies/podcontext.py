"""The rules of what surrounds a pod's containers: names and addresses, identity and privileges."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.apiserver.strategies.checks import address, given, named, one_of, within
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_subdomain_errors, label_key_errors

_SECCOMP = ("Localhost", "RuntimeDefault", "Unconfined")
_MOST = 2**31 - 1


def validate_surroundings(spec: v1.PodSpec, path: str) -> list[FieldError]:
    found = _dns(spec, path)
    for index, alias in enumerate(spec.host_aliases):
        at = f"{path}.hostAliases[{index}]"
        found += address(alias.ip, f"{at}.ip")
        for number, name in enumerate(alias.hostnames):
            found += named(name, dns_subdomain_errors, f"{at}.hostnames[{number}]")
    for index, secret in enumerate(spec.image_pull_secrets):
        found += given(secret.name, f"{path}.imagePullSecrets[{index}].name")
    for index, gate in enumerate(spec.readiness_gates):
        found += named(gate.condition_type, label_key_errors, f"{path}.readinessGates[{index}].conditionType")
    found += _gates(spec.scheduling_gates, f"{path}.schedulingGates")
    if spec.os is not None:
        found += given(spec.os.name, f"{path}.os.name") + one_of(spec.os.name, ("linux", "windows"), f"{path}.os.name")
    if spec.share_process_namespace and spec.host_pid:
        why = "ShareProcessNamespace and HostPID cannot both be enabled"
        found.append(errors.invalid_value(f"{path}.shareProcessNamespace", True, why))
    found += named(spec.priority_class_name, dns_subdomain_errors, f"{path}.priorityClassName")
    found += named(spec.runtime_class_name or "", dns_subdomain_errors, f"{path}.runtimeClassName")
    found += one_of(spec.preemption_policy, ("Never", "PreemptLowerPriority"), f"{path}.preemptionPolicy")
    if (context := spec.security_context) is not None:
        found += _identity(context, f"{path}.securityContext")
        at = f"{path}.securityContext"
        found += within(context.fs_group, 0, _MOST, f"{at}.fsGroup")
        found += one_of(context.fs_group_change_policy, ("Always", "OnRootMismatch"), f"{at}.fsGroupChangePolicy")
        found += one_of(context.supplemental_groups_policy, ("Merge", "Strict"), f"{at}.supplementalGroupsPolicy")
        for index, group in enumerate(context.supplemental_groups):
            found += within(group, 0, _MOST, f"{path}.securityContext.supplementalGroups[{index}]")
    return found


def _dns(spec: v1.PodSpec, path: str) -> list[FieldError]:
    config, found = spec.dns_config, list[FieldError]()
    if spec.dns_policy == "None":
        if config is None:
            return [errors.required(f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.nameservers:
            why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            found.append(errors.required(f"{path}.dnsConfig.nameservers", why))
    if config is None:
        return found
    at = f"{path}.dnsConfig"
    if len(config.nameservers) > 3:
        why = "must not have more than 3 nameservers"
        found.append(errors.invalid_value(f"{at}.nameservers", config.nameservers, why))
    for index, server in enumerate(config.nameservers):
        found += address(server, f"{at}.nameservers[{index}]")
    if len(config.searches) > 32:
        found.append(errors.invalid_value(f"{at}.searches", config.searches, "must not have more than 32 search paths"))
    for index, option in enumerate(config.options):
        found += given(option.name, f"{at}.options[{index}]", "must not be empty")
    return found


def _gates(gates: list[v1.PodSchedulingGate], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        found += named(gate.name, label_key_errors, f"{path}[{index}]")
        if gate.name in seen:
            found.append(errors.duplicate(f"{path}[{index}]", gate.name))
        seen.add(gate.name)
    return found


def _identity(context: Any, at: str) -> list[FieldError]:
    """What pods and containers have in common."""
    found = within(context.run_as_user, 0, _MOST, f"{at}.runAsUser")
    found += within(context.run_as_group, 0, _MOST, f"{at}.runAsGroup")
    if (profile := context.seccomp_profile) is not None:
        found += one_of(profile.type, _SECCOMP, f"{at}.seccompProfile.type")
        found += given(profile.type, f"{at}.seccompProfile.type", "type is required when seccompProfile is set")
        where = f"{at}.seccompProfile.localhostProfile"
        if profile.type == "Localhost":
            found += given(profile.localhost_profile, where, "must be set when seccomp type is Localhost")
        elif profile.localhost_profile:
            why = "can only be set when seccomp type is Localhost"
            found.append(errors.invalid_value(where, profile.localhost_profile, why))
    if (armor := context.app_armor_profile) is not None:
        found += one_of(armor.type, _SECCOMP, f"{at}.appArmorProfile.type")
        found += given(armor.type, f"{at}.appArmorProfile.type", "type is required when appArmorProfile is set")
        where = f"{at}.appArmorProfile.localhostProfile"
        if armor.type == "Localhost":
            found += given(armor.localhost_profile, where, "must be set when AppArmor type is Localhost")
        elif armor.localhost_profile is not None:
            why = "can only be set when AppArmor type is Localhost"
            found.append(errors.invalid_value(where, armor.localhost_profile, why))
    return found


def validate_security(context: v1.SecurityContext, at: str) -> list[FieldError]:
    """Of one container."""
    found = _identity(context, at) + one_of(context.proc_mount, ("Default", "Unmasked"), f"{at}.procMount")
    if context.allow_privilege_escalation is False and context.privileged:
        why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        found.append(errors.invalid_value(at, context, why))
    return found
