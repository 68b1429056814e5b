"""The question put to the authorizers, and the 403 when they refuse."""

from __future__ import annotations

import msgspec

from tiphys.apiserver.http.request import User
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError


class Asked(msgspec.Struct, frozen=True, gc=False):
    """One question to the authorizers: upstream's authorizer.Attributes without the user. `path`
    is set for requests that are not about a resource.

    A struct and no dataclass: every request makes one, and a frozen dataclass sets its fields one
    by one in Python.
    """

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    version: str = ""
    fields: str = ""  # the field selector of a list or watch, where an authorizer reads it
    labels: str = ""  # likewise the label selector


def refusal(user: User, asked: Asked, reason: str = "") -> StatusError:
    """The 403 for a refused request, with the `reason` where an authorizer gave one."""
    if asked.path:
        error = errors.forbidden("", "", "")
        error.status.message = (
            f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"'
        )
        error.status.details = None
        return error
    target = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    sentence = (
        f'User "{user.name}" cannot {asked.verb} resource "{target}" '
        f'in API group "{asked.group}" {where}'
    )
    if reason:
        sentence = f"{sentence}: {reason}"
    resource = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    return errors.forbidden(resource, asked.name, sentence)
