"""What is asked of the authorizers, and the answer to who may not."""

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
    fields: str = ""  # the field selector of a list or watch, where somebody looks at it
    labels: str = ""  # likewise the label selector


def refusal(user: User, asked: Asked, reason: str = "") -> StatusError:
    """The 403 for a user who may not do what was asked, with the `reason` where there is more to
    say."""
    if asked.path:
        error = errors.forbidden("", "", "")
        error.status.message = (
            f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"'
        )
        error.status.details = None
        return error
    what = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    sentence = (
        f'User "{user.name}" cannot {asked.verb} resource "{what}" '
        f'in API group "{asked.group}" {where}'
    )
    if reason:
        sentence = f"{sentence}: {reason}"
    resource = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    return errors.forbidden(resource, asked.name, sentence)
