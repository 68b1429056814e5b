"""What a runtime shows of pods: sandboxes, containers and what they use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.api import core_v1

CREATED, RUNNING, EXITED = "created", "running", "exited"


class PodIdentity(NamedTuple):
    """Names a pod in log paths, labels and messages."""

    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, pod: core_v1.Pod) -> PodIdentity:
        return cls(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)

    def __str__(self) -> str:
        """As upstream's kubelet formats a pod in events and messages."""
        return f"{self.name}_{self.namespace}({self.uid})"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container, a pod or the machine uses. Zero where it is not known.

    cpu: nanoseconds since the start; memory: bytes; page faults: count since the start.
    """

    cpu: int = 0
    working_set: int = 0
    usage: int = 0
    rss: int = 0
    faults: int = 0
    major: int = 0
    available: int = 0
    disk: int = 0  # bytes that a container wrote to its writable layer
    inodes: int = 0  # of the same

    def counts(self) -> tuple[int, int, int, int, int, int]:
        """The fields, in their order, that can be summed over the containers of a pod."""
        return (
            self.cpu,
            self.working_set,
            self.usage or self.working_set,
            self.rss,
            self.faults,
            self.major,
        )


@dataclass(slots=True)
class ContainerState:
    """One container as the runtime knows it. Times are seconds since the epoch."""

    id: str
    name: str
    attempt: int
    state: str = CREATED
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    image: str = ""
    image_ref: str = ""
    sandbox: str = ""  # id of the sandbox it was created in; "" where the runtime does not say
    asked_image: str = ""  # as the pod named it; "" of containers that an older release started

    def is_of(self, image: str) -> bool:
        """Whether it was started from the image that the pod names."""
        return self.asked_image in ("", image)


@dataclass(slots=True)
class SandboxState:
    """One pod sandbox as the runtime knows it."""

    id: str
    attempt: int
    ready: bool
    ip: str = ""
    created_at: float = 0.0
    additional_ips: tuple[str, ...] = ()  # of other families than `ip`

    @property
    def ips(self) -> tuple[str, ...]:
        return (self.ip, *self.additional_ips) if self.ip else ()


@dataclass(slots=True)
class PodState:
    """All that a runtime has of one pod.

    sandbox: the newest one
    containers: the newest attempt of each container, by name
    previous: the attempt before that, by name
    """

    uid: str
    name: str = ""
    namespace: str = ""
    sandbox: SandboxState | None = None
    containers: dict[str, ContainerState] = field(default_factory=dict)
    previous: dict[str, ContainerState] = field(default_factory=dict)
    old_sandboxes: list[str] = field(default_factory=list)

    def add(self, container: ContainerState) -> None:
        """Adds a container that is newer than those already here."""
        current = self.containers.get(container.name)
        if current is not None:
            self.previous[container.name] = current
        self.containers[container.name] = container

    def running(self) -> list[ContainerState]:
        return [container for container in self.containers.values() if container.state == RUNNING]

    def sandbox_ids(self) -> list[str]:
        """Every sandbox of the pod, the newest last."""
        newest = [self.sandbox.id] if self.sandbox is not None else []
        return [*self.old_sandboxes, *newest]

    def differs_from(self, other: PodState | None) -> bool:
        """Whether a container or the sandbox is in another state than in `other`."""
        others = other.containers.values() if other is not None else ()
        if _phases(self.containers.values()) != _phases(others):
            return True
        if self.sandbox is None:
            return False
        sandbox = other.sandbox if other is not None else None
        if sandbox is None:
            return True
        return (self.sandbox.id, self.sandbox.ready) != (sandbox.id, sandbox.ready)


def _phases(containers: Iterable[ContainerState]) -> set[tuple[str, str]]:
    return {(container.id, container.state) for container in containers}


class VolumeUsage(NamedTuple):
    """How full a volume of a pod is. `name` is the volume's in the pod's spec, `claim` (namespace,
    name) if it has one, `at` seconds since the epoch; the others are (total, used, available)."""

    name: str
    claim: tuple[str, str] | None
    measured_at: float
    bytes: tuple[int, int, int] | None = None
    inodes: tuple[int, int, int] | None = None
