"""Which profiles of seccomp and AppArmor a container runs under. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tiphys.api import core_v1

RUNTIME_DEFAULT, UNCONFINED, LOCALHOST = "RuntimeDefault", "Unconfined", "Localhost"


class Profile(NamedTuple):
    """`name`: of a profile of AppArmor that is loaded on the machine, or the path there of a file
    of seccomp; for Localhost alone."""

    type: str
    name: str = ""


def seccomp_of(
    spec: core_v1.PodSpec, container: Any, default: str, place: Callable[[str], str]
) -> Profile:
    """`default` is the type where none is set, `place` gives the path of a profile's file.
    Raises ValueError, and OSError where the path leads out of the folder of profiles."""
    chosen = _own(container).seccomp_profile or _shared(spec).seccomp_profile
    if chosen is None:
        return Profile(default)
    if chosen.type != LOCALHOST:
        return Profile(chosen.type)
    if not chosen.localhost_profile:
        raise ValueError("localhostProfile must be set if seccompProfile type is Localhost.")
    return Profile(LOCALHOST, place(chosen.localhost_profile))


def app_armor_of(spec: core_v1.PodSpec, container: Any) -> Profile | None:
    """None where none is set."""
    chosen = _own(container).app_armor_profile or _shared(spec).app_armor_profile
    return Profile(chosen.type, chosen.localhost_profile or "") if chosen is not None else None


def needs_app_armor(spec: core_v1.PodSpec) -> bool:
    containers = (*spec.init_containers, *spec.containers, *spec.ephemeral_containers)
    profiles = (app_armor_of(spec, container) for container in containers)
    return any(profile is not None and profile.type != UNCONFINED for profile in profiles)


def _own(container: Any) -> core_v1.SecurityContext:
    return container.security_context or core_v1.SecurityContext()


def _shared(spec: core_v1.PodSpec) -> core_v1.PodSecurityContext:
    return spec.security_context or core_v1.PodSecurityContext()
