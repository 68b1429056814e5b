"""What the node asks of a container runtime. `cri.runtime` and `hollow` implement it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tiphys.api import core_v1
from tiphys.node.abilities import IdRange, RuntimeAbilities
from tiphys.node.drivervolumes import DriverVolumes, Growth
from tiphys.node.naming import Resolver
from tiphys.node.profiles import UNCONFINED, Profile
from tiphys.node.references import References
from tiphys.node.states import ContainerState, PodIdentity, PodState, SandboxState, Usage


@dataclass(slots=True)
class Mount:
    """A path of the node that a container sees. `propagation` is CRI's number: 0 private,
    1 host to container, 2 bidirectional."""

    host: str
    path: str
    read_only: bool = False
    propagation: int = 0
    name: str = ""  # of the volume
    recursion: str = ""  # the spec's `recursiveReadOnly`
    recursive_read_only: bool = False  # mounts below it, too


class Confinement(NamedTuple):
    """Where a container runs.

    cpus:         as ``0-3``; "" on all
    memory_nodes: NUMA nodes that it has its memory from, in the same way
    is_alone:     it has its CPUs exclusively: they are its limit, and the scheduler of the kernel
                  need not hold it back (upstream's gate DisableCPUQuotaWithExclusiveCPUs)
    """

    cpus: str = ""
    memory_nodes: str = ""
    is_alone: bool = False


@dataclass(slots=True)
class DeviceNode:
    """A device file of the node that a container may use: `permissions` are some of ``rwm``."""

    host: str
    path: str
    permissions: str = "rwm"


@dataclass(slots=True)
class ContainerPlan:
    """Everything that a container is created from, with all references resolved. `cdi` are
    qualified names of devices that the runtime looks up itself."""

    container: core_v1.Container
    attempt: int
    image: str
    command: list[str]
    args: list[str]
    env: dict[str, str]
    mounts: list[Mount]
    target: str = ""  # id of the container whose process namespace it joins
    devices: list[DeviceNode] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    cdi: list[str] = field(default_factory=list)
    confinement: Confinement = field(default_factory=Confinement)
    seccomp: Profile = field(default_factory=lambda: Profile(UNCONFINED))
    users: IdRange | None = None  # of a pod with users of its own


class Streams(NamedTuple):
    """Which streams of a command a client asks for. With a terminal, stderr comes on stdout."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


class RuntimeFault(Exception):
    """The runtime could not do what it was asked for.

    reason: what the container's status or the pod's event shows
    image: the image that could not be had, when it is not the container's own but a volume's
    """

    def __init__(self, reason: str, message: str, image: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.image = image


class PodVolumes(Protocol):
    """The volumes of all pods of a node. Methods that prepare something raise VolumeError."""

    refresh_every: float | None
    """Seconds between two times `refresh` is called for a pod; None if it need not be."""

    def folder(self, uid: str) -> Path:
        """The pod's own folder on the node."""
        ...

    def path(self, pod: core_v1.Pod, volume: core_v1.Volume) -> Path:
        """Where a volume that lies in the pod's folder is."""
        ...

    async def set_up(self, pod: core_v1.Pod) -> dict[str, str]:
        """Prepares every volume: volume name -> host path."""
        ...

    async def refresh(self, pod: core_v1.Pod) -> None:
        """Writes again what is projected from objects that may have changed."""
        ...

    def mounts(
        self,
        pod: core_v1.Pod,
        container: Any,
        paths: dict[str, str],
        env: dict[str, str],
        attempt: int,
    ) -> list[Mount]:
        """The mounts of one container. `paths` comes from `set_up`, `env` expands subPathExpr."""
        ...

    def write_hosts(self, pod: core_v1.Pod, ips: Sequence[str], hostname: str, domain: str) -> None:
        """Writes the pod's /etc/hosts."""
        ...

    def pod_uids(self) -> set[str]:
        """The uids of pods that have something on disk."""
        ...

    async def give_back(self, uid: str) -> None:
        """Gives volumes of drivers back, once no container of the pod runs. Raises VolumeError
        while a driver refuses."""
        ...

    def devices(self, container: Any, paths: dict[str, str]) -> list[DeviceNode]:
        """The block volumes of one container. `paths` comes from `set_up`. Raises VolumeError."""
        ...

    def release(self, uid: str) -> None:
        """Removes the volumes of a pod that has ended. Its object is still there."""
        ...

    def tear_down(self, uid: str) -> None:
        """Removes everything that the pod has on disk."""
        ...


class Runtime(Protocol):
    """A container runtime and what its node has for pods.

    Methods that talk to the runtime raise RuntimeFault, or TimeoutError if it does not answer.
    """

    name: str
    """As the node's status shows it: ``containerd://1.6.20``."""

    runs_processes: bool
    """Whether containers are processes of this machine: what has logs, disks, streams and probes
    that can fail."""

    applies_cdi: bool
    """Whether it looks up the names of devices (CDI) that a container is to have."""

    abilities: RuntimeAbilities
    """What it can do beyond what every runtime can; known after `start`."""

    parallel_starts: int
    """How many sandboxes and containers may be started at the same time."""

    def capacity(self, disk: Path) -> dict[str, Any]:
        """The node's resources, in canonical quantities. `disk` lies on the file system of pods."""
        ...

    def volumes(
        self,
        root: Path,
        references: References,
        allocatable: dict[str, str],
        drivers: DriverVolumes,
        growth: Growth,
    ) -> PodVolumes:
        """The volumes of pods that run here, below the folder `root`."""
        ...

    async def start(self, wake: Callable[[str], None]) -> None:
        """Connects. `wake` is called with a container's id when it changed, or with "" when any
        container may have."""
        ...

    async def close(self) -> None: ...

    async def pods(self) -> dict[str, PodState]:
        """Everything that runs or ran on this node, by pod uid."""
        ...

    async def pod(self, uid: str) -> PodState:
        """One pod, read from the runtime with the status of each container."""
        ...

    async def container(self, known: ContainerState) -> ContainerState:
        """The container as it is now; `known` itself if the runtime does not know it."""
        ...

    async def has_image(self, image: str) -> bool: ...

    async def image_id(self, image: str) -> str:
        """What the image is, by name or by itself; "" if it is not on the node."""
        ...

    async def image_user(self, image: str) -> tuple[int | None, str]:
        """The user that an image on the node runs as: (number, ""), (None, name) or (None, "")."""
        ...

    async def image_size(self, image: str) -> int:
        """Bytes of an image that is on the node; 0 if that is not known."""
        ...

    async def pull(self, image: str, auth: dict[str, str] | None) -> None: ...

    async def remove_image(self, image: str) -> None:
        """Removes an image of the node, by one of its names, with all of its names."""
        ...

    async def mount_image(self, image: str, uid: str, volume: str, place: Path) -> None:
        """Mounts the files of an image on the node, read-only, at the folder `place`, for the
        volume of a pod."""
        ...

    async def release_images(self, uid: str) -> None:
        """Releases the images that volumes of the pod were mounted from."""
        ...

    async def reserve(self, pod: core_v1.Pod, spec: core_v1.PodSpec, growing: bool = False) -> None:
        """Gives the pod as a whole what `spec` asks for: its own, with the resources that it was
        granted. Before its sandbox is made, and around a resize of its containers; `growing`:
        nothing is taken from it yet."""
        ...

    async def run_sandbox(
        self,
        pod: core_v1.Pod,
        attempt: int,
        resolver: Resolver,
        hostname: str,
        handler: str = "",
        users: IdRange | None = None,
    ) -> SandboxState:
        """`handler` is what the pod's RuntimeClass calls the runtime; "" is the usual one. `users`
        are those of a pod that has its own."""
        ...

    async def start_container(
        self, pod: core_v1.Pod, sandbox: SandboxState, plan: ContainerPlan
    ) -> ContainerState: ...

    async def resize_container(
        self, pod: core_v1.Pod, container: core_v1.Container, id: str
    ) -> None:
        """Gives the running container `id` the resources of `container`."""
        ...

    async def pin_container(self, id: str, cpus: str) -> None:
        """Has the running container `id` run on these CPUs, as ``0-3``."""
        ...

    async def stop_container(
        self, container: ContainerState, grace: float, signal: str = ""
    ) -> None:
        """Ends a container with `signal`, or its image's; by force after `grace` seconds."""
        ...

    async def ended(self, container: ContainerState) -> ContainerState:
        """As the runtime knows a container that was stopped, once it knows of its end; as it is
        where that takes too long."""
        ...

    async def remove_container(self, id: str) -> None: ...

    async def stop_sandbox(self, id: str) -> None: ...

    async def remove_sandbox(self, id: str) -> None: ...

    async def exec(self, id: str, command: list[str], timeout: float) -> tuple[int, bytes]:
        """(exit code, output) of a command in a container."""
        ...

    async def exec_url(self, id: str, command: list[str], streams: Streams) -> str:
        """Where the runtime's streaming server serves a command."""
        ...

    async def attach_url(self, id: str, streams: Streams) -> str: ...

    async def port_forward_url(self, sandbox: str, ports: list[int]) -> str: ...

    def open_log(self, pod: PodIdentity, container: str, attempt: int) -> int:
        """A file descriptor of a container's log. Raises OSError."""
        ...

    def log_folder(self, pod: PodIdentity) -> Path | None:
        """The folder with a folder of logs for each container; None if there are no logs."""
        ...

    async def rotate_log(self, pod: PodIdentity, container: ContainerState) -> None:
        """Starts a new log for a running container whose log is too long. Raises OSError."""
        ...

    def remove_log(self, pod: PodIdentity, container: ContainerState) -> None:
        """Removes the log of a container that was removed."""
        ...

    def pods_with_logs(self) -> set[str]:
        """The uids of pods that have logs."""
        ...

    def remove_logs(self, uid: str) -> None:
        """Removes the logs of a pod that is gone. Raises OSError."""
        ...

    def forget(self, uid: str) -> None:
        """Releases what was kept for a pod that is gone."""
        ...

    async def images(self) -> list[tuple[list[str], int]]:
        """(names, bytes) of each image on the node."""
        ...

    async def processes(self, pod: core_v1.Pod) -> int:
        """How many processes and threads the pod has; 0 where that is not known."""
        ...

    async def usage(self) -> dict[str, dict[str, Usage]]:
        """By pod uid and container name."""
        ...
