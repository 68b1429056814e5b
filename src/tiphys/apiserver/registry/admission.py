"""What admission is to the registry: plugins that are shown every write, to change it and to judge
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tiphys.api.catalog import Resource
from tiphys.apiserver.eventloop.aside import Unanswered
from tiphys.apiserver.http.request import User


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


class Admission:
    """The plugins in their order. Which of them care about a resource is worked out once."""

    def __init__(self, plugins: list[Plugin]) -> None:
        self._plugins = plugins
        self._chains: dict[str, tuple[list[Plugin], list[Plugin]]] = {}

    def _chain(self, name: str) -> tuple[list[Plugin], list[Plugin]]:
        chain = self._chains.get(name)
        if chain is None:
            caring = [
                plugin
                for plugin in self._plugins
                if not plugin.resources or name in plugin.resources
            ]
            mutating = [p for p in caring if getattr(type(p), "mutate", None) is not Base.mutate]
            validating = [
                p for p in caring if getattr(type(p), "validate", None) is not Base.validate
            ]
            chain = self._chains[name] = (mutating, validating)
        return chain

    async def mutate(self, attributes: Attributes) -> None:
        chain = self._chain(attributes.resource.group_resource)[0]
        for plugin in chain:
            await plugin.mutate(attributes)
        if attributes.changed:
            attributes.second = True
            for plugin in chain:
                await plugin.mutate(attributes)

    async def validate(self, attributes: Attributes) -> None:
        for plugin in self._chain(attributes.resource.group_resource)[1]:
            try:
                await plugin.validate(attributes)
            except Unanswered as question:
                await _validate_again(plugin, attributes, question)


async def _validate_again(plugin: Plugin, attributes: Attributes, question: Unanswered) -> None:
    """Lets a plugin go on that wants to know what a user may do, which another server decides. It
    begins anew: judging changes nothing."""
    while True:
        await question.ask()
        try:
            return await plugin.validate(attributes)
        except Unanswered as another:
            question = another
