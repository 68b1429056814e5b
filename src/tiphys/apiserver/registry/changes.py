"""The ways from the current object to the one to store: each is a value with one method, `new`.

They touch nothing but what they are given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any

from tiphys.api.base import decode, encode, to_builtins
from tiphys.api.catalog import Resource
from tiphys.apiserver.registry import ownership
from tiphys.apiserver.registry.conversion import as_stored, from_storage
from tiphys.apiserver.registry.kinds import FieldValidation, Strict, check_kind
from tiphys.apiserver.registry.metadata import check_identity
from tiphys.apiserver.registry.patches import Patch
from tiphys.apiserver.registry.writes import Write
from tiphys.machinery import decoding, errors, fieldvalidation
from tiphys.machinery.decoding import DecodeError

Part = Callable[[Any, Any], Any]
"""What of a new object a subresource may change: (new, old) to old with just that changed."""


def whole_object(new: Any, old: Any) -> Any:
    """For paths that may change everything, but for what the strategy keeps."""
    return new


class Upsert(Enum):
    """Whether a change may create the object when there is none."""

    NEVER = "never"
    BY_STRATEGY = "where the resource's strategy says so"
    ALWAYS = "always"


class Change(ABC):
    """One way to change an object."""

    upsert = Upsert.NEVER
    insists = False
    """Whether a version in the new object is the client's precondition.

    Where it is not (a patch carries the version it was applied to), a change that lost a race
    is made again.
    """
    manages_fields = False
    """Whether the new object comes with its managed fields."""
    long = True
    """Whether it may take long, and so may be made on a thread."""
    plain_old: dict[str, Any] | None = None
    """The object that `new` was last given, as plain data, where that was made anyway."""

    @abstractmethod
    def new(self, old: Any | None, stamp: str) -> Any:
        """The object to store. It is called again after a conflicting write.

        `old` is None when there is no object (see `upsert`); `stamp` is the time, as objects
        carry it. Raises StatusError.
        """


class Mutation(Change):
    """A change that the server makes itself: a function from old to new."""

    long = False

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def new(self, old: Any | None, stamp: str) -> Any:
        return self._function(old)


class LongMutation(Mutation):
    """A change that the server makes itself, of an object that may be large."""

    long = True


class Replace(Change):
    """PUT: the object as the client wants it. `part` is what the path may change of it."""

    upsert = Upsert.BY_STRATEGY
    insists = True

    def __init__(self, obj: Any, part: Part) -> None:
        # A copy each time: the steps of a write change the object they are given.
        self._data = encode(obj)
        self._type = type(obj)
        self._part = part

    def new(self, old: Any | None, stamp: str) -> Any:
        obj = decode(self._data, self._type)
        return obj if old is None else self._part(obj, old)


class Patched(Change):
    """PATCH: a patch applied to the object as this version shows it."""

    def __init__(
        self,
        write: Write,
        patch: Patch,
        part: Part,
        validation: FieldValidation,
        problems: list[str],
    ) -> None:
        """`problems` are those of the patch as it was sent: duplicate fields."""
        self._write = write
        self._patch = patch
        self._part = part
        self._validation = validation
        self._problems = problems

    def new(self, old: Any | None, stamp: str) -> Any:
        resource = self._write.requested
        before = to_builtins(old)
        # parts of custom objects are shared with the new one, and defaults may change them
        self.plain_old = before if resource.built_in else None
        if not resource.is_storage_version:
            before = from_storage(resource, before)
        after = self._patch.patched(before)
        try:
            obj = self._typed(after)
        except (DecodeError, Strict) as error:
            raise errors.invalid("", "", "", [self._patch.misfit(after, error)]) from None
        check_identity(obj.metadata, resource, self._write.namespace, self._write.name)
        return self._part(as_stored(resource, obj), old)

    def _typed(self, plain: Any) -> Any:
        """Raises DecodeError or Strict."""
        resource = self._write.requested
        obj = decoding.convert(plain, resource.type)
        if not self._validation.ignored:
            unknown = fieldvalidation.field_problems(b"", plain, resource.type, resource.schema)
            self._validation.report(self._problems + unknown)
        check_kind(obj, resource.type)
        return obj


_NO_SUCH_UID = (
    "uid mismatch: the provided object specified uid {}, and no existing object was found"
)


class Apply(Change):
    """Server-side apply of a configuration: plain data, in the stored version."""

    upsert = Upsert.ALWAYS
    manages_fields = True

    def __init__(
        self,
        resource: Resource,
        config: dict[str, Any],
        author: ownership.Author,
        part: Part | None = None,
    ) -> None:
        """`part` takes of the merged object what the path may change."""
        self._resource = resource
        self._config = config
        self._author = author
        self._part = part
        self.insists = "resourceVersion" in config["metadata"]

    def new(self, old: Any | None, stamp: str) -> Any:
        applied = ownership.apply(self._resource, old, self._config, self._author, stamp)
        try:
            new = decoding.convert(applied.obj, self._resource.type)
        except DecodeError as error:
            raise errors.bad_request(str(error)) from None
        if self._part is not None:
            new = self._part(new, new)
        if old is None and new.metadata.uid:
            name = self._config["metadata"]["name"]
            detail = _NO_SUCH_UID.format(new.metadata.uid)
            raise errors.conflict(self._resource.group_resource, name, detail)
        new.metadata.managed_fields = applied.entries
        return new
