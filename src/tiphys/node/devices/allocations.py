"""Which containers have which devices of device plugins. Pure, but for the file it is kept in."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec

from tiphys.node.devices.checkpoint import Checkpoint


class AllocationError(Exception):
    """A container cannot have its devices, in upstream's words."""


class Grant(msgspec.Struct):
    """The devices of one resource that one container has. `response` is what the plugin answered: a
    ContainerAllocateResponse in protobuf."""

    devices: list[str]
    response: bytes = b""


# uid of a pod -> name of a container -> resource -> what it has
_Grants = dict[str, dict[str, dict[str, Grant]]]


class _Remembered(msgspec.Struct):
    """`resources` are those that plugins had registered."""

    pods: _Grants = {}
    resources: list[str] = []


class Allocations:
    """Of all containers of the node; read from `file`, which is written with each `save`."""

    def __init__(self, file: Path) -> None:
        self._checkpoint: Checkpoint[_Remembered] = Checkpoint(file, _Remembered)
        remembered = self._checkpoint.read() or _Remembered()
        self._pods = remembered.pods
        self.resources = remembered.resources

    async def save(self, resources: Iterable[str]) -> None:
        """Raises OSError."""
        await self._checkpoint.write(_Remembered(self._pods, sorted(resources)))

    def of(self, uid: str, container: str) -> dict[str, Grant]:
        """By resource."""
        return self._pods.get(uid, {}).get(container, {})

    def put(self, uid: str, container: str, resource: str, grant: Grant) -> None:
        self._pods.setdefault(uid, {}).setdefault(container, {})[resource] = grant

    def in_use(self, resource: str) -> set[str]:
        return {device for grant in self._grants_of(resource) for device in grant.devices}

    def has(self, resource: str) -> bool:
        """Whether any container has devices of it."""
        return any(True for _ in self._grants_of(resource))

    def _grants_of(self, resource: str) -> Iterator[Grant]:
        """Of all containers. Copies what it goes through: pods are placed on a thread, while others
        come and go."""
        for containers in list(self._pods.values()):
            for grants in list(containers.values()):
                if (grant := grants.get(resource)) is not None:
                    yield grant

    def free(self, uid: str) -> bool:
        """Takes back what a pod had; whether that was anything."""
        return self._pods.pop(uid, None) is not None

    def keep(self, active: Collection[str]) -> bool:
        """Takes back what all pods had but those of the uids `active`; whether that was
        anything."""
        ended = [uid for uid in self._pods if uid not in active]
        for uid in ended:
            del self._pods[uid]
        return bool(ended)

    def pods_with(self, resource: str) -> set[str]:
        """Uids."""
        return {
            uid
            for uid, containers in self._pods.items()
            if any(resource in grants for grants in containers.values())
        }


def check_present(
    owner: tuple[str, str], resource: str, held: Collection[str] | None, required: int
) -> int:
    """How many devices a container still needs. `held` are those that it has, None if it was never
    given any; `owner` is (pod uid, container). Raises AllocationError."""
    if held is None:
        return required
    if len(held) != required:
        uid, container = owner
        raise AllocationError(
            f'pod "{uid}" container "{container}" changed request for resource "{resource}" '
            f"from {len(held)} to {required}"
        )
    return 0


def check_health(resource: str, healthy: set[str] | None, held: Collection[str]) -> None:
    """`healthy` is None for a resource that no plugin has. Raises AllocationError."""
    if healthy is None:
        raise AllocationError(f"cannot allocate unregistered device {resource}")
    if not healthy:
        raise AllocationError(
            f"no healthy devices present; cannot allocate unhealthy devices {resource}"
        )
    if not healthy.issuperset(held):
        raise AllocationError(
            "previously allocated devices are no longer healthy; "
            f"cannot allocate unhealthy devices {resource}"
        )


def check_room(resource: str, needed: int, available: Collection[str]) -> None:
    """Raises AllocationError."""
    if len(available) < needed:
        raise AllocationError(
            f"requested number of devices unavailable for {resource}. "
            f"Requested: {needed}, Available: {len(available)}"
        )


def pick(needed: int, *groups: Collection[str]) -> list[str]:
    """The first `needed` devices of groups, the preferred one first."""
    ordered = [device for group in groups for device in sorted(group, key=_natural)]
    return list(dict.fromkeys(ordered))[:needed]


@functools.lru_cache(4096)
def _natural(name: str) -> tuple[int, str]:
    """gpu-2 comes before gpu-10."""
    return len(name), name
