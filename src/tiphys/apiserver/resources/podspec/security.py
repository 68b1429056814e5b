"""The identity and the privileges of pods and containers."""

from __future__ import annotations

import re

from tiphys.api.core_v1 import (
    AppArmorProfile,
    PodSecurityContext,
    PodSpec,
    SeccompProfile,
    SecurityContext,
    Sysctl,
    WindowsSecurityContextOptions,
)
from tiphys.apiserver.resources import checks
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_subdomain_errors

_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_LARGEST_ID = 2**31 - 1

_SYSCTL_PATTERN = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = re.compile(_SYSCTL_PATTERN + r"\Z")
_LONGEST_SYSCTL = 253
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")

_LARGEST_GMSA_SPEC = 64 * 1024  # characters
_WINDOWS_USER_CHARACTERS = re.compile(r'["/\\:;|=,+*?<>@\[\]]')


def validate_security(context: SecurityContext, path: str) -> list[FieldError]:
    """Of one container."""
    violations = _identity(context, path)
    violations += checks.one_of(context.proc_mount, ("Default", "Unmasked"), f"{path}.procMount")
    if context.allow_privilege_escalation is False and context.privileged:
        detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        violations.append(errors.invalid_value(path, context, detail))
    return violations


def validate_pod_security(spec: PodSpec, path: str) -> list[FieldError]:
    """Of a pod as a whole."""
    context = spec.security_context
    if context is None:
        return []
    violations = _identity(context, path)
    violations += checks.within(context.fs_group, 0, _LARGEST_ID, f"{path}.fsGroup")
    policy = context.fs_group_change_policy
    allowed = ("Always", "OnRootMismatch")
    violations += checks.one_of(policy, allowed, f"{path}.fsGroupChangePolicy")
    policy = context.supplemental_groups_policy
    violations += checks.one_of(policy, ("Merge", "Strict"), f"{path}.supplementalGroupsPolicy")
    policy = context.se_linux_change_policy
    allowed = ("MountOption", "Recursive")
    violations += checks.one_of(policy, allowed, f"{path}.seLinuxChangePolicy")
    violations += _sysctls(context.sysctls, spec, f"{path}.sysctls")
    for index, group in enumerate(context.supplemental_groups):
        field = f"{path}.supplementalGroups[{index}]"
        violations += checks.within(group, 0, _LARGEST_ID, field)
    return violations


def _identity(context: SecurityContext | PodSecurityContext, path: str) -> list[FieldError]:
    """What pods and containers have in common."""
    violations = checks.within(context.run_as_user, 0, _LARGEST_ID, f"{path}.runAsUser")
    violations += checks.within(context.run_as_group, 0, _LARGEST_ID, f"{path}.runAsGroup")
    if context.seccomp_profile is not None:
        violations += _seccomp(context.seccomp_profile, f"{path}.seccompProfile")
    if context.windows_options is not None:
        violations += _windows(context.windows_options, f"{path}.windowsOptions")
    if context.app_armor_profile is not None:
        violations += _app_armor(context.app_armor_profile, f"{path}.appArmorProfile")
    return violations


def _seccomp(profile: SeccompProfile, path: str) -> list[FieldError]:
    violations = checks.one_of(profile.type, _PROFILES, f"{path}.type")
    detail = "type is required when seccompProfile is set"
    violations += checks.required(profile.type, f"{path}.type", detail)
    field = f"{path}.localhostProfile"
    name = profile.localhost_profile
    if profile.type == "Localhost":
        detail = "must be set when seccomp type is Localhost"
        violations += checks.required(name, field, detail)
    elif name:
        detail = "can only be set when seccomp type is Localhost"
        violations.append(errors.invalid_value(field, name, detail))
    return violations


def _app_armor(profile: AppArmorProfile, path: str) -> list[FieldError]:
    violations = checks.one_of(profile.type, _PROFILES, f"{path}.type")
    detail = "type is required when appArmorProfile is set"
    violations += checks.required(profile.type, f"{path}.type", detail)
    field = f"{path}.localhostProfile"
    name = profile.localhost_profile
    if profile.type == "Localhost":
        detail = "must be set when AppArmor type is Localhost"
        violations += checks.required(name, field, detail)
    elif name is not None:
        detail = "can only be set when AppArmor type is Localhost"
        violations.append(errors.invalid_value(field, name, detail))
    return violations


def _windows(options: WindowsSecurityContextOptions, path: str) -> list[FieldError]:
    violations = []
    name = options.gmsa_credential_spec_name
    if name is not None:
        violations += checks.obeys(name, dns_subdomain_errors, f"{path}.gmsaCredentialSpecName")
    credentials = options.gmsa_credential_spec
    field = f"{path}.gmsaCredentialSpec"
    if credentials == "":
        detail = "gmsaCredentialSpec cannot be an empty string"
        violations.append(errors.invalid_value(field, credentials, detail))
    elif credentials is not None and len(credentials) > _LARGEST_GMSA_SPEC:
        detail = "gmsaCredentialSpec size must be under 64 KiB"
        violations.append(errors.invalid_value(field, credentials, detail))
    user = options.run_as_user_name
    if user is not None and (detail := _windows_user_detail(user)):
        violations.append(errors.invalid_value(f"{path}.runAsUserName", user, detail))
    return violations


def _windows_user_detail(user: str) -> str:
    """What is wrong with the name of a user, ``DOMAIN\\USER``; "" when nothing is."""
    if not user:
        return "runAsUserName cannot be an empty string"
    if any(ord(character) < 32 or ord(character) == 127 for character in user):
        return "runAsUserName cannot contain control characters"
    if user.count("\\") > 1:
        return "runAsUserName cannot contain more than one backslash"
    name = user.rpartition("\\")[2]
    if not name:
        return "runAsUserName's User cannot be empty"
    if _WINDOWS_USER_CHARACTERS.search(name):
        characters = r'"/\:;|=,+*?<>@[]'
        return f"runAsUserName's User cannot contain the following characters: {characters}"
    return ""


def _sysctls(settings: list[Sysctl], spec: PodSpec, path: str) -> list[FieldError]:
    """Settings of the kernel. Those of a namespace that the pod shares with the node are the
    node's."""
    violations = []
    seen: set[str] = set()
    for index, setting in enumerate(settings):
        field = f"{path}[{index}].name"
        name = setting.name.replace("/", ".")
        if not setting.name:
            violations.append(errors.required(field))
        elif len(setting.name) > _LONGEST_SYSCTL or not _SYSCTL.match(setting.name):
            detail = f"must have at most 253 characters and match regex {_SYSCTL_PATTERN}"
            violations.append(errors.invalid_value(field, setting.name, detail))
        elif name in seen:
            violations.append(errors.duplicate(field, setting.name))
        seen.add(name)
        if spec.host_network and name.startswith("net."):
            detail = "may not be specified when 'hostNetwork' is true"
            violations.append(errors.invalid_value(field, setting.name, detail))
        if spec.host_ipc and name.startswith(_IPC_SYSCTLS):
            detail = "may not be specified when 'hostIPC' is true"
            violations.append(errors.invalid_value(field, setting.name, detail))
    return violations
