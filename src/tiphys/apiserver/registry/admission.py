"""What admission is to the registry: plugins that are shown every write, to change it and to
validate it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from prometheus_client import CollectorRegistry

from tiphys.api.catalog import Resource
from tiphys.apiserver.eventloop.aside import Unanswered
from tiphys.apiserver.http.request import User
from tiphys.apiserver.registry.admissionmetrics import AdmissionMetrics
from tiphys.client.exposition import Tally
from tiphys.machinery.errors import StatusError


@dataclass(slots=True)
class Attributes:
    """What a plugin sees.

    `obj` is None for a deletion; for a stream (operation CONNECT) it is the stream's options.
    `kind` (``group/version/Kind``) is what `obj` is when it is not of the resource's own kind.
    `options` are those of a deletion, or of a stream.
    """

    resource: Resource
    operation: str
    namespace: str
    name: str
    obj: Any
    old: Any
    user: User
    dry_run: bool = False
    subresource: str = ""
    kind: str = ""
    options: Any = None
    changed: bool = False
    """Set by a webhook or policy that changed the object: every plugin that changes objects sees it
    once more.
    """
    second: bool = False
    """Whether this is that second pass."""
    notes: dict[Any, Any] = field(default_factory=dict)
    """What a plugin keeps from the first pass for the second."""
    requested: Resource | None = None
    """The row of the version that the client speaks, where that is not `resource`, whose version
    `obj` and `old` are of."""
    verb: str = "update"
    """Of an update: as which the request was authorized."""

    @property
    def asked_as(self) -> Resource:
        return self.requested or self.resource


class Plugin(Protocol):
    """One rule. `resources` names the group resources it applies to; empty: all."""

    resources: frozenset[str]

    async def mutate(self, attributes: Attributes) -> None:
        """May change `attributes.obj`; raises StatusError to refuse."""
        ...

    async def validate(self, attributes: Attributes) -> None:
        """Raises StatusError to refuse."""
        ...


class Base:
    """A plugin for every resource that refuses nothing."""

    resources: frozenset[str] = frozenset()

    async def mutate(self, attributes: Attributes) -> None: ...

    async def validate(self, attributes: Attributes) -> None: ...


class Asking(Base):
    """A plugin that asks the registry for other objects; `registry` gives it, once there is one."""

    def __init__(self, registry: Callable[[], Any]) -> None:
        self._registry = registry


class _Link(NamedTuple):
    """A plugin in a chain. `tally` has the seconds of each call that did not refuse."""

    plugin: Plugin
    name: str
    tally: Tally


class Admission:
    """The plugins in their order. Which of them care about an operation on a resource is worked out
    once. `names` are those of plugins, by their identity, where they are not their classes'."""

    def __init__(self, plugins: list[Plugin], names: dict[int, str] | None = None) -> None:
        self._plugins = plugins
        self._names = names or {}
        # (mutating, validating) by resource and operation
        self._chains: dict[tuple[str, str], tuple[list[_Link], list[_Link]]] = {}
        self.metrics = AdmissionMetrics(CollectorRegistry())

    def count_in(self, metrics: AdmissionMetrics) -> None:
        """Sets where the plugins' durations are observed."""
        self.metrics = metrics
        self._chains.clear()

    def _chain(self, attributes: Attributes) -> tuple[list[_Link], list[_Link]]:
        key = (attributes.resource.group_resource, attributes.operation)
        chain = self._chains.get(key)
        if chain is None:
            chain = self._chains[key] = (
                self._links(*key, "mutate", "admit"),
                self._links(*key, "validate", "validate"),
            )
        return chain

    def _links(self, resource: str, operation: str, method: str, kind: str) -> list[_Link]:
        """The plugins that apply to a resource and implement the method."""
        links = []
        for plugin in self._plugins:
            cares = not plugin.resources or resource in plugin.resources
            if cares and getattr(type(plugin), method, None) is not getattr(Base, method):
                name = self._names.get(id(plugin), type(plugin).__name__)
                tally = self.metrics.plugin(name, kind, operation)
                links.append(_Link(plugin, name, tally))
        return links

    async def mutate(self, attributes: Attributes) -> None:
        chain = self._chain(attributes)[0]
        began = time.perf_counter()
        try:
            await self._mutate(chain, attributes, began)
            if attributes.changed:
                attributes.second = True
                await self._mutate(chain, attributes, time.perf_counter())
        except StatusError:
            self._took("admit", attributes, began, rejected=True)
            raise
        self._took("admit", attributes, began)

    async def _mutate(self, chain: list[_Link], attributes: Attributes, before: float) -> None:
        clock = time.perf_counter
        for plugin, name, tally in chain:
            try:
                await plugin.mutate(attributes)
            except StatusError:
                self._refused(name, "admit", attributes, before)
                raise
            now = clock()
            seconds = now - before
            before = now
            if seconds <= tally.first:  # `tally.observe` written out: twenty plugins pass here
                tally.counts[0] += 1
                tally.sum += seconds
            else:
                tally.observe(seconds)

    async def validate(self, attributes: Attributes) -> None:
        clock = time.perf_counter
        began = before = clock()
        for plugin, name, tally in self._chain(attributes)[1]:
            try:
                await plugin.validate(attributes)
            except Unanswered as question:
                await _validate_again(plugin, attributes, question)
            except StatusError:
                self._refused(name, "validate", attributes, before)
                self._took("validate", attributes, began, rejected=True)
                raise
            now = clock()
            seconds = now - before
            before = now
            if seconds <= tally.first:  # `tally.observe` written out: twenty plugins pass here
                tally.counts[0] += 1
                tally.sum += seconds
            else:
                tally.observe(seconds)
        self._took("validate", attributes, began)

    def _refused(self, name: str, kind: str, attributes: Attributes, began: float) -> None:
        tally = self.metrics.plugin(name, kind, attributes.operation, rejected=True)
        tally.observe(time.perf_counter() - began)

    def _took(
        self, kind: str, attributes: Attributes, began: float, rejected: bool = False
    ) -> None:
        tally = self.metrics.step(kind, attributes.operation, rejected)
        tally.observe(time.perf_counter() - began)


async def _validate_again(plugin: Plugin, attributes: Attributes, question: Unanswered) -> None:
    """Lets a plugin go on that wants to know what a user may do, which another server decides. It
    starts again: validation changes nothing."""
    while True:
        await question.ask()
        try:
            return await plugin.validate(attributes)
        except Unanswered as another:
            question = another
