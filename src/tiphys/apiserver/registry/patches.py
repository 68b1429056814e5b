"""Patches as they come in requests: how they are read, and how they are applied to plain data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from tiphys.api.meta_v1 import StatusDetails
from tiphys.apiserver.eventloop.aside import aside
from tiphys.machinery import errors, gowords, patch
from tiphys.machinery.decoding import DecodeError
from tiphys.machinery.errors import FieldError, StatusError
from tiphys.machinery.patch import PatchError

APPLY = "application/apply-patch+yaml"
_MOST_OPERATIONS = 10_000  # upstream's maxJSONPatchOperations
# What upstream reads patches into.
_LIST = "[]handlers.jsonPatchOp"
_MAP = "map[string]interface {}"


class Patch:
    """A patch of one media type. `kind` is the type of the objects that it is applied to."""

    media: ClassVar[str]

    def __init__(self, body: Any, kind: Any) -> None:
        """`body` is the patch as it was sent, plain."""
        self.body = body
        self.kind = kind

    @property
    def grows(self) -> bool:
        """Whether a small patch may make a large object."""
        return False

    def patched(self, value: Any) -> Any:
        """The plain object with the patch applied. Raises 400 and 422."""
        try:
            return self._patched(value)
        except PatchError as error:
            if error.invalid:
                raise _unprocessable() from None
            raise errors.bad_request(str(error)) from None
        except (
            TypeError,
            AttributeError,
            KeyError,
            IndexError,
            ValueError,
            RecursionError,
        ) as error:
            raise errors.bad_request(
                f"error applying patch: the patch does not fit the object: {error!r}"
            ) from None

    def _patched(self, value: Any) -> Any:
        raise NotImplementedError

    def misfit(self, patched: Any, error: Exception) -> FieldError:
        """That what the patch makes is no object of the type, shown as its result."""
        return errors.invalid_value("patch", gowords.marshalled(patched), str(error))


class JSONPatch(Patch):
    """RFC 6902: a list of operations."""

    media = "application/json-patch+json"

    @property
    def grows(self) -> bool:
        """By copies, each of which may double the object."""
        return any(isinstance(op, dict) and op.get("op") == "copy" for op in self.body)

    def _patched(self, value: Any) -> Any:
        return patch.json_patch(value, self.body)


class MergePatch(Patch):
    """RFC 7386: the fields that change."""

    media = "application/merge-patch+json"

    def _patched(self, value: Any) -> Any:
        return patch.merge(value, self.body)


class StrategicPatch(Patch):
    """The fields that change, lists merged by the keys of their type."""

    media = "application/strategic-merge-patch+json"

    def _patched(self, value: Any) -> Any:
        return patch.strategic(value, self.body, self.kind)

    def misfit(self, patched: Any, error: Exception) -> FieldError:
        """Upstream shows the patch here, not its result."""
        text = error.restoration if isinstance(error, DecodeError) else str(error)
        return errors.invalid_value("patch", gowords.formatted(self.body), text)


PATCHES: tuple[type[Patch], ...] = (JSONPatch, MergePatch, StrategicPatch)


def offered(strategic: bool) -> list[str]:
    """The media types of patches that a resource takes, with or without strategic ones."""
    kinds = [kind.media for kind in PATCHES if strategic or kind is not StrategicPatch]
    return [*kinds, APPLY]


def read_patch(media: str, data: bytes, kind: Any) -> Patch:
    """The patch of a body, of a merge patch for media types that are none. Raises 400 and 413."""
    patch_type = next((patch for patch in PATCHES if patch.media == media), MergePatch)
    if patch_type is JSONPatch:
        return JSONPatch(_read_operations(data), kind)
    body = _read(data)
    if body is None:
        raise errors.bad_request("Invalid JSON Patch")
    if not isinstance(body, dict):
        raise _wrong_type(body, _MAP)
    return patch_type(body, kind)


async def patch_of(media: str, data: bytes, kind: Any, look_up: Callable[[], object]) -> Patch:
    """As `read_patch`, aside. `look_up` raises 404 for an object that is not there, which upstream
    says before it reads the patch."""
    try:
        return await aside(read_patch, media, data, kind)
    except StatusError:
        look_up()
        raise


def _read_operations(data: bytes) -> list[Any]:
    operations = _read(data)
    if operations is None:
        return []
    if not isinstance(operations, list):
        raise _wrong_type(operations, _LIST)
    if len(operations) > _MOST_OPERATIONS:
        raise errors.too_large(
            f"The allowed maximum operations in a JSON patch is {_MOST_OPERATIONS},"
            f" got {len(operations)}"
        )
    return operations


def _read(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise errors.bad_request(f"error decoding patch: {gowords.syntax(data)}") from None


def _wrong_type(body: Any, wanted: str) -> errors.StatusError:
    name = gowords.name_of(body)
    reason = f"json: cannot unmarshal {name} into Go value of type {wanted}"
    return errors.bad_request(f"error decoding patch: {reason}")


def _unprocessable() -> errors.StatusError:
    """It names no object: kubectl shows the message only then."""
    failure = errors.invalid("", "", "", [])
    failure.status.message = "the server rejected our request due to an error in our request"
    failure.status.details = StatusDetails()
    return failure
