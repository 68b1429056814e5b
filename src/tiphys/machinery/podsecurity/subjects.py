"""What checks look at, and how they name what breaks a rule."""

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


def subjects(pod_breaks: bool, containers: list[str]) -> list[str]:
    """What breaks a rule: the pod itself, some of its containers, or both."""
    result = ["pod"] if pod_breaks else []
    if containers:
        result.append(named("container", containers))
    return result
