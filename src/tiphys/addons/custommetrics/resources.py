"""What the cluster serves, by the words that rules, labels and paths use for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from tiphys.client.client import Client

_ACCEPT = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
)


class Resource(NamedTuple):
    group: str
    version: str
    plural: str
    singular: str
    kind: str
    is_namespaced: bool

    @property
    def name(self) -> str:
        """As in paths of the metrics API: ``pods``, ``ingresses.networking.k8s.io``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


class Resources:
    """The first resource of a name is the one that is meant, as in discovery."""

    def __init__(self, rows: Iterable[Resource]) -> None:
        self._by_word: dict[tuple[str, str], Resource] = {}
        self._anywhere: dict[str, Resource] = {}
        for row in rows:
            for word in (row.plural, row.singular):
                self._by_word.setdefault((row.group, word), row)
                self._anywhere.setdefault(word, row)

    def find(self, group: str, word: str) -> Resource | None:
        """By plural or singular, in a group."""
        return self._by_word.get((group, word.lower()))

    def find_anywhere(self, word: str) -> Resource | None:
        """By plural or singular, in the first group that has it: the core group comes first."""
        return self._anywhere.get(word.lower())

    def named(self, name: str) -> Resource | None:
        """By its name in a path."""
        plural, _, group = name.partition(".")
        return self._by_word.get((group, plural))


async def discovered(client: Client) -> Resources:
    """Raises StatusError and Unreachable."""
    rows: list[Resource] = []
    for path in ("/api", "/apis"):
        body = await client.request("GET", path, accept=_ACCEPT)
        rows += _rows(msgspec.json.decode(body))
    return Resources(rows)


def _rows(document: Any) -> Iterable[Resource]:
    for group in document.get("items", ()):
        for version in group.get("versions", ()):
            for row in version.get("resources", ()):
                kind = row.get("responseKind", {}).get("kind", "")
                yield Resource(
                    group["metadata"].get("name", ""),
                    version["version"],
                    row["resource"],
                    row.get("singularResource") or kind.lower(),
                    kind,
                    row.get("scope") == "Namespaced",
                )
