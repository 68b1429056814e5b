"""What the checks examine, and how they name what violates a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tiphys.api import core_v1

Container = core_v1.Container | core_v1.EphemeralContainer


@dataclass(frozen=True, slots=True)
class Violation:
    """What is forbidden in a few words, and where it is."""

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


Check = Callable[[core_v1.Pod], Violation | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a level, by upstream's name for it."""

    name: str
    releases: tuple[tuple[int, Check], ...]  # from which minor release on, oldest first
    replaces: str = ""  # the rule of baseline whose place it takes

    def check_of(self, minor: int) -> Check | None:
        """The check that was in force with the standards of a release, if there was one."""
        check = None
        for since, candidate in self.releases:
            if since <= minor:
                check = candidate
        return check


def unless_in_user_namespace(check: Check) -> Check:
    """Root of a user namespace has no privileges on the node (KEP-127)."""

    def relaxed(pod: core_v1.Pod) -> Violation | None:
        return None if pod.spec.host_users is False else check(pod)

    return relaxed


def unless_windows(check: Check) -> Check:
    """Validation forbids Windows pods to set the fields that only Linux has."""

    def relaxed(pod: core_v1.Pod) -> Violation | None:
        is_windows = pod.spec.os is not None and pod.spec.os.name == "windows"
        return None if is_windows else check(pod)

    return relaxed


def containers_of(pod: core_v1.Pod) -> list[Container]:
    """All containers, in the order in which upstream visits them."""
    spec = pod.spec
    return [*spec.init_containers, *spec.containers, *spec.ephemeral_containers]


def names_where(pod: core_v1.Pod, breaks: Callable[[core_v1.SecurityContext], bool]) -> list[str]:
    """The containers whose security context breaks a rule."""
    return [c.name for c in containers_of(pod) if breaks(context_of(c))]


def context_of(container: Container) -> core_v1.SecurityContext:
    return container.security_context or core_v1.SecurityContext()


def pod_context_of(pod: core_v1.Pod) -> core_v1.PodSecurityContext:
    return pod.spec.security_context or core_v1.PodSecurityContext()


def added_capabilities(container: Container) -> list[str]:
    capabilities = context_of(container).capabilities
    return capabilities.add if capabilities is not None else []


# --- texts ---


def quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def plural(noun: str, count: int) -> str:
    return f"{noun}s" if count > 1 else noun


def named(noun: str, names: list[str]) -> str:
    """``volume "a"`` or ``volumes "a", "b"``."""
    return f"{plural(noun, len(names))} {quoted(names)}"


def users(noun: str, names: list[str]) -> str:
    """``volume "a" uses`` or ``volumes "a", "b" use``."""
    return f"{named(noun, names)} {'uses' if len(names) == 1 else 'use'}"


def subjects(pod_breaks: bool, containers: list[str]) -> list[str]:
    """What breaks a rule: the pod itself, some of its containers, or both."""
    result = ["pod"] if pod_breaks else []
    if containers:
        result.append(named("container", containers))
    return result
