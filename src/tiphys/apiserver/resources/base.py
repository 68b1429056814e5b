"""A resource's slice: its own rules. Everything else is the generic registry's, and that
of `http/`.

Hooks run in this order. Create: default, (mutating admission), prepare_for_create, validate,
(validating admission), reserve, commit. Update: default, (mutating admission), prepare_for_update,
validate, validate_update, (validating admission), commit. Hooks up to and including prepare_* may
change the new object; nothing may change the old one.

Rules return the list of what they find wrong (`FieldError`), with the path of each field from the
object's root. Parts of rules are functions of a value and its `path`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from tiphys.api.base import to_builtins
from tiphys.apiserver.eventloop.workers import Workers
from tiphys.apiserver.resources.actions import Action
from tiphys.apiserver.resources.columns import CREATED, NAME, Column
from tiphys.apiserver.resources.lookups import Allocator, Objects
from tiphys.apiserver.resources.scaleviews import ScaleView
from tiphys.apiserver.resources.subresources import Subresources
from tiphys.machinery.errors import FieldError, invalid_value
from tiphys.machinery.names import dns_subdomain_errors
from tiphys.store.cache import Selectable

IMMUTABLE = "field is immutable"
_DEFAULT_SERVICE_CIDR = ipaddress.IPv4Network("10.96.0.0/16")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator of a server decides that strategies go by."""

    service_cidrs: tuple[Network, ...] = (_DEFAULT_SERVICE_CIDR,)
    """The ranges of services' addresses, one for each family that the cluster has."""

    @property
    def service_families(self) -> list[str]:
        return [f"IPv{network.version}" for network in self.service_cidrs]


class Strategy(Generic[T]):
    """The slice of a resource whose objects are `T`. The default: any DNS subdomain as a name,
    nothing defaulted, nothing validated beyond metadata.

    Class attributes are facts, the same in every server. An instance belongs to one server
    (`Strategies`).
    """

    name_errors: Callable[[str], list[str]] = staticmethod(dns_subdomain_errors)
    """Problems of a name."""
    fields: tuple[Selectable, ...] = ()
    """What field selectors may name beside metadata.name and metadata.namespace."""
    columns: ClassVar[tuple[Column, ...]] = (NAME, CREATED)
    """Its table, as `kubectl get` prints it."""
    table_of_metadata: ClassVar[bool] = False
    """Whether `columns` need nothing but the metadata, and the rest is long to read."""
    subresources: ClassVar[Subresources] = {}
    """The paths below an object, beside `status` and `scale`."""
    scale: ScaleView[T] | None = None
    """What the `scale` subresource shows."""
    action: ClassVar[Action[Any] | None] = None
    """What POST does, of a resource that is not stored."""
    deprecation: ClassVar[str] = ""
    """The warning that every request for the resource is answered with."""
    generation = False
    """Whether metadata.generation counts the changes of what the user wants."""
    status_alone = False
    """Whether the status path leaves labels, annotations, finalizers and owners as they are."""
    create_on_update = False
    """Whether PUT of an object that does not exist creates it."""
    unconditional_update = True
    """Whether PUT without a resourceVersion is allowed."""
    lifetime = 0
    """Seconds after its last change at which an object ends by itself; 0: never."""
    orphans_dependents = False
    """Whether a deletion without a propagation policy orphans the dependents."""
    returns_deleted = False
    """Whether a deletion that removes the object answers with it. Most answer with a Status."""
    costly = False
    """Whether validation has turned out to take long, whatever the size of the object."""
    slow = False
    """Whether `deliberate` has something to do."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    # --- defaults and validation ---

    def default(self, obj: T) -> None:
        """Fills in what the user left out. Idempotent."""

    def prepare_for_create(self, obj: T) -> None:
        """Takes out what only the system may set: the status, by default."""
        if hasattr(obj, "status"):
            obj.status = type(obj.status)()

    def prepare_for_update(self, new: T, old: T) -> None:
        """Keeps what this path may not change: the status, by default."""
        if hasattr(new, "status"):
            new.status = old.status  # type: ignore[attr-defined]

    def prepare_for_status(self, new: T, old: T) -> None:
        """Keeps what the status path may not change: the spec, by default."""
        if hasattr(new, "spec"):
            new.spec = old.spec  # type: ignore[attr-defined]
        if self.status_alone:
            meta: Any = new.metadata  # type: ignore[attr-defined]
            before: Any = old.metadata  # type: ignore[attr-defined]
            meta.labels = before.labels
            meta.annotations = before.annotations
            meta.finalizers = before.finalizers
            meta.owner_references = before.owner_references

    # --- rules ---

    async def deliberate(self, new: T, old: T | None, workers: Workers) -> None:
        """Has the `workers` do what of the validation that comes next would hold the event loop."""

    def validate(self, obj: T) -> list[FieldError]:
        """The rules that hold at any time."""
        return []

    def validate_update(self, new: T, old: T) -> list[FieldError]:
        """The rules of what may change."""
        return []

    def validate_new(self, obj: T, objects: Objects) -> list[FieldError]:
        """Every rule for an object that is to be created; `objects` are those that it may refer
        to."""
        return self.validate(obj)

    def validate_change(self, new: T, old: T) -> list[FieldError]:
        """Every rule for an object that was `old` before."""
        return self.validate(new) + self.validate_update(new, old)

    def validate_part(self, new: T, old: T, subresource: str) -> list[FieldError]:
        """Every rule for an object that was `old` before and is changed through a subresource
        other than its status."""
        return self.validate(new)

    def validate_status(self, new: T, old: T) -> list[FieldError]:
        """Every rule for an object that was `old` before and is changed through its status
        subresource."""
        return []

    def warnings(self, new: T, old: T | None) -> Iterable[str]:
        """What is allowed, and is not what its author is likely to want; `old` is None for an
        object that is created."""
        return ()

    def desired(self, obj: T) -> Any:
        """What counts for metadata.generation."""
        return obj.spec  # type: ignore[attr-defined]

    # --- deletion ---

    def grace(self, obj: T, requested: int | None) -> int | None:
        """Seconds the object stays, marked as being deleted; None: it goes at once."""
        return None

    def held(self, obj: T) -> bool:
        """Whether something beside finalizers and grace keeps a deleted object."""
        return False

    def mark_deleted(self, obj: T) -> None:
        """Shows in the object that it is being deleted."""

    # --- what an object takes of the cluster ---

    async def reserve(
        self, objects: Allocator, new: T, old: T | None
    ) -> Callable[[], Awaitable[None]] | None:
        """Takes cluster-wide things the object needs (addresses, ports). Returns what gives them
        back on failure."""
        return None

    async def after_update(self, objects: Allocator, new: T, old: T) -> None:
        """Gives back what `reserve` took for `old` and `new` does not need."""

    async def after_delete(self, objects: Allocator, obj: T) -> None:
        """Gives back what `reserve` took."""


def immutable(path: str, new: Any, old: Any) -> list[FieldError]:
    """The error of a field that was changed and must not be."""
    if new == old:
        return []
    return [invalid_value(path, to_builtins(new), IMMUTABLE)]
