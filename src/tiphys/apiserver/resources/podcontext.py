"""The rules of what surrounds a pod's containers: names and addresses, identity and privileges."""

from __future__ import annotations

import re
from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.apiserver.resources.checks import address, amounts, given, named, one_of, within
from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors, dns_subdomain_errors, label_key_errors

_SECCOMP = ("Localhost", "RuntimeDefault", "Unconfined")
_MOST = 2**31 - 1
_SEARCH_PART = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SEARCH_PATTERN = rf"{_SEARCH_PART}(\.{_SEARCH_PART})*"
_SEARCH = re.compile(_SEARCH_PATTERN + r"\Z")
_SEARCH_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end"
    f" with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SEARCH_PATTERN}')"
)


def validate_surroundings(spec: v1.PodSpec, path: str) -> list[FieldError]:
    found = _dns(spec, path)
    for index, alias in enumerate(spec.host_aliases):
        at = f"{path}.hostAliases[{index}]"
        found += address(alias.ip, f"{at}.ip")
        for number, name in enumerate(alias.hostnames):
            found += named(name, dns_subdomain_errors, f"{at}.hostnames[{number}]")
    for index, gate in enumerate(spec.readiness_gates):
        found += named(
            gate.condition_type, label_key_errors, f"{path}.readinessGates[{index}].conditionType"
        )
    found += _gates(spec.scheduling_gates, f"{path}.schedulingGates")
    if spec.os is not None:
        found += given(spec.os.name, f"{path}.os.name") + one_of(
            spec.os.name, ("linux", "windows"), f"{path}.os.name"
        )
    if spec.host_users is False:
        for name, wanted in (
            ("hostNetwork", spec.host_network),
            ("hostPID", spec.host_pid),
            ("hostIPC", spec.host_ipc),
        ):
            if wanted:
                found.append(
                    errors.forbidden_field(f"{path}.{name}", "when `pod.Spec.HostUsers` is false")
                )
    found += _override(spec, path) + _claims(spec, f"{path}.resourceClaims")
    if spec.resources is not None:
        found += _whole(spec, f"{path}.resources")
    if spec.share_process_namespace and spec.host_pid:
        why = "ShareProcessNamespace and HostPID cannot both be enabled"
        found.append(
            errors.invalid_value(f"{path}.securityContext.shareProcessNamespace", True, why)
        )
    found += named(spec.priority_class_name, dns_subdomain_errors, f"{path}.priorityClassName")
    found += named(spec.runtime_class_name or "", dns_subdomain_errors, f"{path}.runtimeClassName")
    found += one_of(
        spec.preemption_policy, ("Never", "PreemptLowerPriority"), f"{path}.preemptionPolicy"
    )
    if (context := spec.security_context) is not None:
        found += _identity(context, f"{path}.securityContext")
        at = f"{path}.securityContext"
        found += within(context.fs_group, 0, _MOST, f"{at}.fsGroup")
        found += one_of(
            context.fs_group_change_policy,
            ("Always", "OnRootMismatch"),
            f"{at}.fsGroupChangePolicy",
        )
        found += one_of(
            context.supplemental_groups_policy,
            ("Merge", "Strict"),
            f"{at}.supplementalGroupsPolicy",
        )
        found += one_of(
            context.se_linux_change_policy,
            ("MountOption", "Recursive"),
            f"{at}.seLinuxChangePolicy",
        )
        found += _sysctls(context.sysctls, spec, f"{at}.sysctls")
        for index, group in enumerate(context.supplemental_groups):
            found += within(group, 0, _MOST, f"{path}.securityContext.supplementalGroups[{index}]")
    return found


def _override(spec: v1.PodSpec, path: str) -> list[FieldError]:
    name, at, found = spec.hostname_override, f"{path}.hostnameOverride", list[FieldError]()
    if name is None:
        return found
    if spec.set_hostname_as_fqdn:
        found.append(
            errors.forbidden_field(at, "may not be specified when `setHostnameAsFQDN` is true")
        )
    if spec.host_network:
        found.append(errors.forbidden_field(at, "may not be specified when `hostNetwork` is true"))
    if len(name) > 64:
        found.append(errors.invalid_value(at, name, "must be no more than 64 characters"))
    return found + [errors.invalid_value(at, name, why) for why in dns_subdomain_errors(name)]


def _claims(spec: v1.PodSpec, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, claim in enumerate(spec.resource_claims):
        at = f"{path}[{index}]"
        found += given(claim.name, f"{at}.name") + named(claim.name, dns_label_errors, f"{at}.name")
        if claim.name in seen:
            found.append(errors.duplicate(f"{at}.name", claim.name))
        seen.add(claim.name)
        sources = {
            "resourceClaimName": claim.resource_claim_name,
            "resourceClaimTemplateName": claim.resource_claim_template_name,
        }
        told = {name: value for name, value in sources.items() if value is not None}
        if len(told) > 1:
            why = (
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            )
            found.append(errors.invalid_value(at, claim, why))
        elif not told:
            why = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            found.append(errors.invalid_value(at, claim, why))
        for name, value in told.items():
            found += [
                errors.invalid_value(f"{at}.{name}", value, why)
                for why in dns_subdomain_errors(value)
            ]
    return found


def claim_names(claims: list[v1.ResourceClaim], spec: v1.PodSpec, at: str) -> list[FieldError]:
    """Claims of the pod that a container, or the pod as a whole, uses."""
    found: list[FieldError] = []
    known, seen = {claim.name for claim in spec.resource_claims}, set()
    for index, claim in enumerate(claims):
        where = f"{at}[{index}]"
        if not claim.name:
            found.append(errors.required(where))
            continue
        key = f"{claim.name}/{claim.request}" if claim.request else claim.name
        if key in seen or claim.name in seen:
            found.append(errors.duplicate(where, key))
        seen.add(key)
        found += named(claim.request, dns_label_errors, f"{where}.request")
        if claim.name not in known:
            choice = f": {', '.join(sorted(known))}" if known else " which is empty"
            error = errors.field_not_found(where, claim.name)
            detail = f"{error.detail}:  must be one of the names in pod.spec.resourceClaims{choice}"
            found.append(FieldError(error.reason, error.field, detail))
    return found


def _whole(spec: v1.PodSpec, at: str) -> list[FieldError]:
    """What a pod as a whole asks for: never less than its containers together."""
    resources, found = spec.resources, list[FieldError]()
    assert resources is not None
    for kind, values in (("limits", resources.limits), ("requests", resources.requests)):
        found += amounts(values, f"{at}.{kind}")
        for name in values:
            if name not in ("cpu", "memory") and not name.startswith("hugepages-"):
                found.append(
                    errors.not_supported(
                        f"{at}.{kind}[{name}]", name, ("cpu", "hugepages-", "memory")
                    )
                )
    together = quantity.total(container.resources.requests for container in spec.containers)
    for name, value in resources.requests.items():
        limit = resources.limits.get(name)
        if limit is not None and quantity.nano(value) > quantity.nano(limit):
            why = f"must be less than or equal to {name} limit of {limit}"
            found.append(errors.invalid_value(f"{at}.requests", value, why))
        if name in together and quantity.nano(together[name]) > quantity.nano(value):
            why = (
                f"must be greater than or equal to aggregate container requests of {together[name]}"
            )
            found.append(errors.invalid_value(f"{at}.requests[{name}]", value, why))
    return found + claim_names(resources.claims, spec, f"{at}.claims")


_SYSCTL_WORDS = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = re.compile(_SYSCTL_WORDS + r"\Z")
_IPC = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


def _sysctls(settings: list[v1.Sysctl], spec: v1.PodSpec, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, setting in enumerate(settings):
        at, name = f"{path}[{index}].name", setting.name.replace("/", ".")
        if not setting.name:
            found.append(errors.required(at))
        elif len(setting.name) > 253 or not _SYSCTL.match(setting.name):
            why = f"must have at most 253 characters and match regex {_SYSCTL_WORDS}"
            found.append(errors.invalid_value(at, setting.name, why))
        elif name in seen:
            found.append(errors.duplicate(at, setting.name))
        seen.add(name)
        if spec.host_network and name.startswith("net."):
            found.append(
                errors.invalid_value(
                    at, setting.name, "may not be specified when 'hostNetwork' is true"
                )
            )
        if spec.host_ipc and name.startswith(_IPC):
            found.append(
                errors.invalid_value(
                    at, setting.name, "may not be specified when 'hostIPC' is true"
                )
            )
    return found


def _dns(spec: v1.PodSpec, path: str) -> list[FieldError]:
    config, found = spec.dns_config, list[FieldError]()
    if spec.dns_policy == "None":
        if config is None:
            return [
                errors.required(
                    f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None"
                )
            ]
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
        found.append(
            errors.invalid_value(
                f"{at}.searches", config.searches, "must not have more than 32 search paths"
            )
        )
    if len(" ".join(config.searches)) > 2048:
        why = "must not have more than 2048 characters (including spaces) in the search list"
        found.append(errors.invalid_value(f"{at}.searches", config.searches, why))
    for index, search in enumerate(config.searches):
        plain = search.removesuffix(".") if search != "." else ""
        if plain and not _SEARCH.match(plain):
            found.append(errors.invalid_value(f"{at}.searches[{index}]", plain, _SEARCH_WORDS))
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
        found += given(
            profile.type, f"{at}.seccompProfile.type", "type is required when seccompProfile is set"
        )
        where = f"{at}.seccompProfile.localhostProfile"
        if profile.type == "Localhost":
            found += given(
                profile.localhost_profile, where, "must be set when seccomp type is Localhost"
            )
        elif profile.localhost_profile:
            why = "can only be set when seccomp type is Localhost"
            found.append(errors.invalid_value(where, profile.localhost_profile, why))
    if (windows := context.windows_options) is not None:
        found += _windows(windows, f"{at}.windowsOptions")
    if (armor := context.app_armor_profile) is not None:
        found += one_of(armor.type, _SECCOMP, f"{at}.appArmorProfile.type")
        found += given(
            armor.type, f"{at}.appArmorProfile.type", "type is required when appArmorProfile is set"
        )
        where = f"{at}.appArmorProfile.localhostProfile"
        if armor.type == "Localhost":
            found += given(
                armor.localhost_profile, where, "must be set when AppArmor type is Localhost"
            )
        elif armor.localhost_profile is not None:
            why = "can only be set when AppArmor type is Localhost"
            found.append(errors.invalid_value(where, armor.localhost_profile, why))
    return found


def _windows(options: v1.WindowsSecurityContextOptions, at: str) -> list[FieldError]:
    name, text, user = (
        options.gmsa_credential_spec_name,
        options.gmsa_credential_spec,
        options.run_as_user_name,
    )
    found: list[FieldError] = []
    if name is not None:
        found += [
            errors.invalid_value(f"{at}.gmsaCredentialSpecName", name, why)
            for why in dns_subdomain_errors(name)
        ]
    where = f"{at}.gmsaCredentialSpec"
    if text == "":
        found.append(
            errors.invalid_value(where, text, "gmsaCredentialSpec cannot be an empty string")
        )
    elif text is not None and len(text) > 64 * 1024:
        found.append(
            errors.invalid_value(where, text, "gmsaCredentialSpec size must be under 64 KiB")
        )
    if user is not None:
        where = f"{at}.runAsUserName"
        if not user:
            found.append(
                errors.invalid_value(where, user, "runAsUserName cannot be an empty string")
            )
        elif any(ord(c) < 32 or ord(c) == 127 for c in user):
            found.append(
                errors.invalid_value(where, user, "runAsUserName cannot contain control characters")
            )
        elif user.count("\\") > 1:
            found.append(
                errors.invalid_value(
                    where, user, "runAsUserName cannot contain more than one backslash"
                )
            )
        elif not user.rpartition("\\")[2]:
            found.append(errors.invalid_value(where, user, "runAsUserName's User cannot be empty"))
        elif re.search(r'["/\\:;|=,+*?<>@\[\]]', user.rpartition("\\")[2]):
            why = r'runAsUserName\'s User cannot contain the following characters: "/\:;|=,+*?<>@[]'
            found.append(errors.invalid_value(where, user, why))
    return found


def validate_security(context: v1.SecurityContext, at: str) -> list[FieldError]:
    """Of one container."""
    found = _identity(context, at) + one_of(
        context.proc_mount, ("Default", "Unmasked"), f"{at}.procMount"
    )
    if context.allow_privilege_escalation is False and context.privileged:
        why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        found.append(errors.invalid_value(at, context, why))
    return found
