"""What admission is to the registry: plugins that are shown every write, to change it and to judge
it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from tiphys.api.catalog import Resource
from tiphys.apiserver.eventloop.aside import Unanswered
from tiphys.apiserver.http.request import User
from tiphys.apiserver.registry.admissionmetrics import AdmissionMetrics
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


class Plugin(Protocol):
    """One rule. `resources` names the group resources it looks at; empty: all."""

    resources: frozenset[str]

    async def mutate(self, attributes: Attributes) -> None:
        """May change `attributes.obj`; raises StatusError to refuse."""
        ...

    async def validate(self, attributes: Attributes) -> None:
        """Raises StatusError to refuse."""
        ...


class Base:
    """A plugin that looks at everything and objects to nothing."""

    resources: frozenset[str] = frozenset()

    async def mutate(self, attributes: Attributes) -> None: ...

    async def validate(self, attributes: Attributes) -> None: ...


class Asking(Base):
    """A plugin that asks the registry for other objects; `registry` gives it, once there is one."""

    def __init__(self, registry: Callable[[], Any]) -> None:
        self._registry = registry


Chain = list[tuple[str, Plugin]]


class Admission:
    """The plugins in their order. Which of them care about a resource is worked out once. `names`
    are those of plugins, by their identity, where they are not their classes'."""

    def __init__(self, plugins: list[Plugin], names: dict[int, str] | None = None) -> None:
        self._plugins = plugins
        self._names = names or {}
        self._chains: dict[str, tuple[Chain, Chain]] = {}
        self.metrics = AdmissionMetrics(CollectorRegistry())

    def _chain(self, name: str) -> tuple[Chain, Chain]:
        chain = self._chains.get(name)
        if chain is None:
            caring = [
                (self._names.get(id(plugin), type(plugin).__name__), plugin)
                for plugin in self._plugins
                if not plugin.resources or name in plugin.resources
            ]
            chain = self._chains[name] = (_with(caring, "mutate"), _with(caring, "validate"))
        return chain

    async def mutate(self, attributes: Attributes) -> None:
        chain = self._chain(attributes.resource.group_resource)[0]
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

    async def _mutate(self, chain: Chain, attributes: Attributes, before: float) -> None:
        operation = attributes.operation
        plugin_metrics = self.metrics.plugin
        for name, plugin in chain:
            try:
                await plugin.mutate(attributes)
            except StatusError:
                spent = time.perf_counter() - before
                plugin_metrics(name, "admit", operation, True).observe(spent)
                raise
            now = time.perf_counter()
            plugin_metrics(name, "admit", operation).observe(now - before)
            before = now

    async def validate(self, attributes: Attributes) -> None:
        operation = attributes.operation
        plugin_metrics = self.metrics.plugin
        began = before = time.perf_counter()
        for name, plugin in self._chain(attributes.resource.group_resource)[1]:
            try:
                await plugin.validate(attributes)
            except Unanswered as question:
                await _validate_again(plugin, attributes, question)
            except StatusError:
                spent = time.perf_counter() - before
                plugin_metrics(name, "validate", operation, True).observe(spent)
                self._took("validate", attributes, began, rejected=True)
                raise
            now = time.perf_counter()
            plugin_metrics(name, "validate", operation).observe(now - before)
            before = now
        self._took("validate", attributes, began)

    def _took(
        self, kind: str, attributes: Attributes, began: float, rejected: bool = False
    ) -> None:
        tally = self.metrics.step(kind, attributes.operation, rejected)
        tally.observe(time.perf_counter() - began)


def _with(chain: Chain, method: str) -> Chain:
    """The plugins that have a method of their own."""
    return [
        (name, plugin)
        for name, plugin in chain
        if getattr(type(plugin), method, None) is not getattr(Base, method)
    ]


async def _validate_again(plugin: Plugin, attributes: Attributes, question: Unanswered) -> None:
    """Lets a plugin go on that wants to know what a user may do, which another server decides. It
    begins anew: judging changes nothing."""
    while True:
        await question.ask()
        try:
            return await plugin.validate(attributes)
        except Unanswered as another:
            question = another
