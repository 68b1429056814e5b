"""The generic registry: create, update, delete and collection delete of any resource, written once.

Objects come in typed, are prepared, admitted and validated, and leave as bytes. Reads are not
here: they are bytes from the cache (see `http.reading`). The steps of each verb stand in order in
`creating`, `updating` and `deleting`.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.meta_v1 import DeleteOptions
from tiphys.apiserver.registry import creating, deleting, updating
from tiphys.apiserver.registry.changes import Change
from tiphys.apiserver.registry.objects import Objects
from tiphys.apiserver.registry.writes import Deleted, Write, Written
from tiphys.store.cache import Entry, Filter


class Registry(Objects):
    """Every stored resource's look-ups and writes. All writes raise StatusError."""

    async def create(self, write: Write, obj: Any) -> Entry:
        """Creates the object and returns its entry."""
        return await creating.create(self, write, obj)

    async def update(self, write: Write, change: Change) -> Written:
        """Replaces, patches or applies an object, according to the change."""
        return await updating.update(self, write, change)

    async def delete(self, write: Write, options: DeleteOptions) -> Deleted:
        """Deletes the object, or marks it as being deleted."""
        return await deleting.delete(self, write, options)

    async def delete_corrupt(self, write: Write) -> None:
        """Removes what cannot be read, whatever it may have been."""
        await deleting.delete_corrupt(self, write)

    async def delete_collection(
        self, write: Write, view: Filter, options: DeleteOptions
    ) -> list[Entry]:
        """Deletes every object of the view and returns what was deleted."""
        return await deleting.delete_collection(self, write, view, options)
