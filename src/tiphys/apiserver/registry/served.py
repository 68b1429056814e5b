"""The served resources: the rows of `api.catalog`, and after them those declared at run time.

`generation` counts the changes; whatever is derived from the whole (discovery, OpenAPI) is kept
until it moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tiphys.api.catalog import BY_PATH, RESOURCES, GroupVersion, Resource
from tiphys.store.cache import Selectable

_BUILT_IN = frozenset(resource.group for resource in RESOURCES)


# Upstream's groupPriorityMinimum of each group: the order in which clients look for a kind.
PRIORITIES = {
    "apiregistration.k8s.io": 20000,
    "": 18000,
    "apps": 17800,
    "events.k8s.io": 17750,
    "authentication.k8s.io": 17700,
    "authorization.k8s.io": 17600,
    "autoscaling": 17500,
    "batch": 17400,
    "certificates.k8s.io": 17300,
    "networking.k8s.io": 17200,
    "policy": 17100,
    "rbac.authorization.k8s.io": 17000,
    "storage.k8s.io": 16800,
    "apiextensions.k8s.io": 16700,
    "admissionregistration.k8s.io": 16700,
    "scheduling.k8s.io": 16600,
    "coordination.k8s.io": 16500,
    "node.k8s.io": 16300,
    "discovery.k8s.io": 16200,
    "flowcontrol.apiserver.k8s.io": 16100,
    "resource.k8s.io": 16200,
    "metrics.k8s.io": 100,
}
# What field selectors may name of every resource.
NAMES = (Selectable("metadata.name"), Selectable("metadata.namespace"))
CUSTOM_PRIORITY = 1000  # of the groups of custom resources


class ServedResources:
    """The served resources. One belongs to each server."""

    def __init__(self) -> None:
        self._added: tuple[Resource, ...] = ()
        self._by_path: dict[tuple[str, str, str], Resource] = dict(BY_PATH)
        self.generation = 0

    def __iter__(self) -> Iterator[Resource]:
        yield from RESOURCES
        yield from self._added

    @property
    def added(self) -> tuple[Resource, ...]:
        return self._added

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self._by_path.get((group, version, plural))

    @staticmethod
    def has_built_in(group: str) -> bool:
        """Whether there are built-in resources of that group."""
        return group in _BUILT_IN

    def equivalents(self, resource: Resource) -> list[Resource]:
        """The other served versions of a resource: the same objects under other names."""
        return [r for r in self if r.prefix == resource.prefix and r is not resource]

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        return next((r for r in self if r.kind == kind and r.api_version == api_version), None)

    def replace_added(self, rows: Sequence[Resource]) -> None:
        """Serves `rows` beside the built-in resources, and no others."""
        if tuple(rows) == self._added:
            return
        self._added = tuple(rows)
        added = {row.path_key: row for row in rows}
        self._by_path = {**added, **BY_PATH}  # what is built in cannot be declared again
        self.generation += 1

    def group_versions(self) -> dict[str, list[GroupVersion]]:
        """Group → its versions, the preferred one first."""
        groups: dict[str, list[GroupVersion]] = {}
        for resource in self:
            versions = groups.setdefault(resource.group, [])
            if resource.gv not in versions:
                versions.append(resource.gv)
        return groups
