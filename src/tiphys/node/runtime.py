"""What the node needs of a runtime, and how it describes what it sees. Two keep it: `cri.runtime` and `hollow`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tiphys.api import core_v1

CREATED, RUNNING, EXITED = "created", "running", "exited"


@dataclass(frozen=True, slots=True)
class Usage:
    """What has been used: CPU in nanoseconds since the start, memory in bytes, page faults since the start. Zero where it
    is not known."""

    cpu: int = 0
    working_set: int = 0
    usage: int = 0
    rss: int = 0
    faults: int = 0
    major: int = 0
    available: int = 0
    disk: int = 0  # bytes that a container wrote beside its image

    def counts(self) -> tuple[int, int, int, int, int, int]:
        """What can be added up over containers."""
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
    sandbox: str = ""  # the id of the one it was made in, where the runtime tells


@dataclass(slots=True)
class SandboxState:
    id: str
    attempt: int
    ready: bool
    ip: str = ""
    created_at: float = 0.0
    pid: int = 0


@dataclass(slots=True)
class PodState:
    """All of one pod: `sandbox` is the newest, `containers` the newest attempt of each, by name."""

    uid: str
    name: str = ""
    namespace: str = ""
    sandbox: SandboxState | None = None
    containers: dict[str, ContainerState] = field(default_factory=dict)
    previous: dict[str, ContainerState] = field(default_factory=dict)
    old: list[ContainerState] = field(default_factory=list)
    old_sandboxes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Mount:
    host: str
    path: str
    read_only: bool = False
    propagation: int = 0


@dataclass(slots=True)
class ContainerPlan:
    """Everything a container is made from, resolved: no references left."""

    container: core_v1.Container
    attempt: int
    image: str
    command: list[str]
    args: list[str]
    env: dict[str, str]
    mounts: list[Mount]
    target: str = ""  # the id of the container whose processes it sees


class RuntimeFault(Exception):
    """The runtime could not do it; `reason` is what the pod's status shows. `image` is one of a volume that was not to be had."""

    def __init__(self, reason: str, message: str, image: str = "") -> None:
        super().__init__(message)
        self.reason, self.image = reason, image


class Runtime(Protocol):
    name: str
    """As nodes report it: ``containerd://1.6.20``."""
    gives_devices: bool
    """Whether containers get the devices that claims of their pods were given."""

    async def start(self, wake: Callable[[str], None]) -> None:
        """Connects. `wake` is called with a container's id, or "", when something may have changed."""
        ...

    async def close(self) -> None: ...

    async def pods(self) -> dict[str, PodState]:
        """Everything that this node has made, by pod uid."""
        ...

    async def pod(self, uid: str) -> PodState:
        """The same for one pod, read anew."""
        ...

    async def container(self, known: ContainerState) -> ContainerState:
        """One container, read anew."""
        ...

    async def has_image(self, image: str) -> bool: ...

    async def image_user(self, image: str) -> tuple[int | None, str]:
        """Whom an image that is here runs as: a number, or a name, or neither."""
        ...

    async def image_size(self, image: str) -> int:
        """Bytes of an image that is here; 0 if that is not known."""
        ...

    async def pull(self, image: str, auth: dict[str, str] | None) -> None: ...

    async def mount_image(self, image: str, uid: str, volume: str, place: Path) -> None:
        """Shows the files of an image that is here at a folder, for a pod's volume, to be read only. Raises RuntimeFault."""
        ...

    async def release_images(self, uid: str) -> None:
        """Nothing shows the images of a pod's volumes any more."""
        ...

    async def run_sandbox(
        self,
        pod: core_v1.Pod,
        attempt: int,
        dns: tuple[list[str], list[str], list[str]],
        hostname: str,
    ) -> SandboxState: ...

    async def start_container(
        self, pod: core_v1.Pod, sandbox: SandboxState, plan: ContainerPlan
    ) -> ContainerState: ...

    async def resize_container(
        self, pod: core_v1.Pod, container: core_v1.Container, id: str
    ) -> None:
        """Gives a running container the resources of `container`."""
        ...

    async def stop_container(self, id: str, grace: float) -> None: ...

    async def remove_container(self, id: str) -> None: ...

    async def stop_sandbox(self, id: str) -> None: ...

    async def remove_sandbox(self, id: str) -> None: ...

    async def exec(self, id: str, command: list[str], timeout: float) -> tuple[int, bytes]:
        """(exit code, output). Raises TimeoutError."""
        ...

    async def exec_url(
        self, id: str, command: list[str], stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> str: ...

    async def attach_url(
        self, id: str, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> str: ...

    def open_log(self, namespace: str, pod: str, uid: str, container: str, attempt: int) -> int:
        """A handle of the file that a container's log is written to. Raises OSError."""
        ...

    def log_folder(self, namespace: str, pod: str, uid: str) -> Path | None:
        """Where the logs of a pod's containers are, a folder for each; None if there are none."""
        ...

    async def rotate_log(
        self, namespace: str, pod: str, uid: str, container: ContainerState
    ) -> None:
        """Begins a new log for a running container whose log has become too long. Raises OSError, RuntimeFault."""
        ...

    def remove_log(self, namespace: str, pod: str, uid: str, container: ContainerState) -> None:
        """Of a container that is gone."""
        ...

    def log_folders(self) -> set[str]:
        """The uids of pods that have logs."""
        ...

    def remove_logs(self, uid: str) -> None:
        """Of a pod that is gone. Raises OSError."""
        ...

    def forget(self, uid: str) -> None:
        """The pod is gone: what only its life needed goes, too."""
        ...

    async def images(self) -> list[tuple[list[str], int]]:
        """(names, bytes) of each image."""
        ...

    async def usage(self) -> dict[str, dict[str, Usage]]:
        """By pod uid and container name."""
        ...
