"""What a resource may say for itself. Everything else is the generic registry's.

Hooks run in this order. Create: default, (mutating admission), prepare_for_create, validate, (validating admission),
reserve, commit. Update: default, (mutating admission), prepare_for_update, validate, validate_update, (validating
admission), commit. Hooks up to and including prepare_* may change the new object; nothing may change the old one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.machinery.errors import FieldError, invalid_value
from tiphys.machinery.names import dns_subdomain_errors
from tiphys.store.cache import Selectable

IMMUTABLE = "field is immutable"


class Strategy:
    """The default: any DNS subdomain as a name, nothing defaulted, nothing validated beyond metadata."""

    name_errors: Callable[[str], list[str]] = staticmethod(dns_subdomain_errors)
    """Problems of a name."""
    fields: tuple[Selectable, ...] = ()
    """What field selectors may name beside metadata.name and metadata.namespace."""
    generation = False
    """Whether metadata.generation counts the changes of what the user wants."""
    status_alone = False
    """Whether the status path leaves labels, annotations, finalizers and owners as they are."""
    create_on_update = False
    """Whether PUT of an object that does not exist makes it."""
    lifetime = 0
    """Seconds after its last change at which an object ends by itself; 0: never."""
    orphans = False
    """Whether a deletion that does not say what becomes of the dependents leaves them."""
    unconditional_update = True
    """Whether PUT without a resourceVersion is allowed."""

    def default(self, obj: Any) -> None:
        """Fills in what the user left out. Idempotent."""

    def prepare_for_create(self, obj: Any) -> None:
        """Takes out what only the system may set."""
        if hasattr(obj, "status"):
            obj.status = type(obj.status)()

    def prepare_for_update(self, new: Any, old: Any) -> None:
        """Keeps what this path may not change: the status, by default."""
        if hasattr(new, "status"):
            new.status = old.status

    def prepare_for_status(self, new: Any, old: Any) -> None:
        """Keeps what the status path may not change: the spec, by default."""
        if hasattr(new, "spec"):
            new.spec = old.spec
        if self.status_alone:
            now, before = new.metadata, old.metadata
            now.labels, now.annotations = before.labels, before.annotations
            now.finalizers, now.owner_references = before.finalizers, before.owner_references

    costly = (
        False  # whether validation has turned out to take long, whatever the size of the object
    )
    slow = False  # whether `deliberate` has something to do

    async def deliberate(self, new: Any, old: Any | None, workers: Any) -> None:
        """What of the validation that comes next would hold the event loop, done by the `workers` beforehand."""

    def validate(self, obj: Any) -> list[FieldError]:
        return []

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return []

    def validate_new(self, obj: Any, registry: Any) -> list[FieldError]:
        """Every rule for an object that is to be made; `registry` has what else there is."""
        return self.validate(obj)

    def validate_change(self, new: Any, old: Any) -> list[FieldError]:
        """Every rule for an object that was `old` before."""
        return self.validate(new) + self.validate_update(new, old)

    def validate_part(self, new: Any, old: Any, subresource: str) -> list[FieldError]:
        """Every rule for an object that was `old` before and is changed through a subresource other than its status."""
        return self.validate(new)

    def validate_status(self, new: Any, old: Any) -> list[FieldError]:
        return []

    def desired(self, obj: Any) -> Any:
        """What counts for metadata.generation."""
        return obj.spec

    def grace(self, obj: Any, asked: int | None) -> int | None:
        """Seconds the object stays, marked as being deleted; None: it goes at once."""
        return None

    def held(self, obj: Any) -> bool:
        """Whether something beside finalizers and grace keeps a deleted object."""
        return False

    def mark_deleted(self, obj: Any) -> None:
        """Shows in the object that it is being deleted."""

    async def reserve(self, registry: Any, new: Any, old: Any | None) -> Callable[[], Any] | None:
        """Takes cluster-wide things the object needs (addresses, ports). Returns what gives them back on failure."""
        return None

    async def after_update(self, registry: Any, new: Any, old: Any) -> None:
        """Gives back what `reserve` took for `old` and `new` does not need."""

    async def after_delete(self, registry: Any, obj: Any) -> None:
        """Gives back what `reserve` took."""


def immutable(path: str, new: Any, old: Any) -> list[FieldError]:
    from tiphys.api.base import to_builtins

    return [] if new == old else [invalid_value(path, to_builtins(new), IMMUTABLE)]
