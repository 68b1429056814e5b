"""Which objects a list or a watch is about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tiphys.machinery.selectors import EVERYTHING, Requirement, Selector
from tiphys.store.entries import Entry
from tiphys.store.history import Event

Source = Literal["field", "label"]


class Filter:
    """The objects whose key starts with `prefix` and that both selectors match."""

    __slots__ = ("fields", "labels", "matches_all", "prefix")

    def __init__(
        self, prefix: str, labels: Selector = EVERYTHING, fields: Selector = EVERYTHING
    ) -> None:
        self.prefix = prefix
        self.labels = labels
        self.fields = fields
        self.matches_all = not labels.requirements and not fields.requirements

    @property
    def stored(self) -> Filter:
        """The part of the filter that can be decided on stored bytes. The cache goes by that; a
        subclass whose objects are converted before they are compared decides on the rest."""
        return self

    def matches(self, entry: Entry) -> bool:
        if not entry.key.startswith(self.prefix):
            return False
        if self.matches_all:
            return True
        return self.labels.matches(entry.labels) and self.fields.matches(entry.fields)

    def kind(self, event: Event) -> str | None:
        """The type of an event in this view: ADDED, MODIFIED or DELETED; None if it is not about an
        object of it.

        An object can enter or leave the view without being created or deleted: upstream's watch
        cache sends ADDED and DELETED then, too.
        """
        entry = event.entry
        previous = event.previous
        matches = entry is not None
        matched = previous is not None
        if self.matches_all:  # most watches; one comparison of the key decides
            if not (entry or previous).key.startswith(self.prefix):  # type: ignore[union-attr]
                return None
        else:
            matches = matches and self.matches(entry)  # type: ignore[arg-type]
            matched = matched and self.matches(previous)  # type: ignore[arg-type]
        if matches:
            return "MODIFIED" if matched else "ADDED"
        return "DELETED" if matched else None

    def indexable(self) -> Iterator[tuple[Source, Requirement]]:
        """The requirements that an index can answer, each with where its key is looked up.

        Names and namespaces are left out: the key's prefix answers for them.
        """
        selectors: tuple[tuple[Source, Selector], ...] = (
            ("field", self.fields),
            ("label", self.labels),
        )
        for source, selector in selectors:
            for requirement in selector.requirements:
                if requirement.operator not in ("=", "in"):
                    continue
                if requirement.key not in ("metadata.name", "metadata.namespace"):
                    yield source, requirement
