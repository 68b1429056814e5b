"""JSON merge patch (RFC 7386), on plain dicts and lists."""

from __future__ import annotations

from typing import Any


class PatchError(ValueError):
    """The patch cannot be applied; the text is for the user.

    invalid: it does not fit the object (422); otherwise it is no patch at all (400)
    """

    def __init__(self, message: str, invalid: bool = False) -> None:
        super().__init__(message)
        self.invalid = invalid


def merge(target: Any, patch: Any) -> Any:
    """The object with a merge patch applied. It is not changed; the result may share parts with
    both."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def replacing(before: Any, after: Any) -> Any:
    """The merge patch that makes `after` of `before`: with all that `after` has, and null for what
    it has no more. Neither has nulls."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return after
    gone = dict.fromkeys(name for name in before if name not in after)
    return gone | {name: replacing(before.get(name), value) for name, value in after.items()}
