"""Patches as they come in requests: their media types, how they are read, and how they are applied to an object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tiphys.api.meta_v1 import StatusDetails
from tiphys.machinery import errors, gowords, patch

APPLY = "application/apply-patch+yaml"
PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    APPLY,
)
_MOST_OPERATIONS = 10_000  # upstream's maxJSONPatchOperations
_LIST, _MAP = (
    "[]handlers.jsonPatchOp",
    "map[string]interface {}",
)  # what upstream reads patches into


def read_patch(media: str, data: bytes) -> Any:
    """The patch of a body, plain. Raises 400."""
    wanted, name = (list, _LIST) if "json-patch" in media else (dict, _MAP)
    try:
        wish = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise errors.bad_request(f"error decoding patch: {gowords.syntax(data)}") from None
    if wish is None and wanted is dict:
        raise errors.bad_request("Invalid JSON Patch")
    if not isinstance(wish, wanted | None):
        told = f"json: cannot unmarshal {gowords.name_of(wish)} into Go value of type {name}"
        raise errors.bad_request(f"error decoding patch: {told}")
    if wanted is list and wish and len(wish) > _MOST_OPERATIONS:
        told = (
            f"The allowed maximum operations in a JSON patch is {_MOST_OPERATIONS}, got {len(wish)}"
        )
        raise errors.too_large(told)
    return [] if wish is None else wish


def grows(wish: Any) -> bool:
    """Whether a small patch may make a large object: by copies, each of which may double it."""
    return isinstance(wish, list) and any(
        isinstance(op, dict) and op.get("op") == "copy" for op in wish
    )


def patch_function(media: str, wish: Any, kind: Any) -> Callable[[Any], Any]:
    """The function that applies a patch of the given media type to plain dicts."""
    if media == "application/json-patch+json":
        return lambda value: patch.json_patch(value, wish)
    if media == "application/strategic-merge-patch+json":
        return lambda value: patch.strategic(value, wish, kind)
    return lambda value: patch.merge(value, wish)


def patched(apply: Callable[[Any], Any], value: Any) -> Any:
    try:
        return apply(value)
    except patch.PatchError as error:
        if error.invalid:
            # It names no object: kubectl shows the message only then.
            failure = errors.invalid("", "", "", [])
            failure.status.message = (
                "the server rejected our request due to an error in our request"
            )
            failure.status.details = StatusDetails()
            raise failure from None
        raise errors.bad_request(str(error)) from None
    except (TypeError, AttributeError, KeyError, IndexError, ValueError, RecursionError) as error:
        raise errors.bad_request(
            f"error applying patch: the patch does not fit the object: {error!r}"
        ) from None
