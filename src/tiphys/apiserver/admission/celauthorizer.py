"""`authorizer` in CEL: questions of who may do what, put to the server's own authorizer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from msgspec import structs

from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.http.request import User
from tiphys.machinery.cel import CelError


@dataclass(frozen=True)
class AuthorizerValue:
    """The variable `authorizer`; `request` are the attributes of the request at hand."""

    authorizer: Authorizer
    user: User
    request: Any

    def cel_field(self, name: str) -> Any:
        if name != "requestResource":
            raise CelError(f"no such key: {name}")
        a = self.request
        asked = Asked("", a.resource.group, a.resource.plural, a.subresource, a.namespace, a.name)
        return Check(self.authorizer, self.user, asked)

    def cel_call(self, name: str, *args: Any) -> Any:
        match name, args:
            case "path", (str(path),):
                return Check(self.authorizer, self.user, Asked("", path=path))
            case "group", (str(group),):
                return Check(self.authorizer, self.user, Asked("", group))
            case "serviceAccount", (str(namespace), str(account)):
                groups = (
                    "system:serviceaccounts",
                    f"system:serviceaccounts:{namespace}",
                    "system:authenticated",
                )
                user = User(f"system:serviceaccount:{namespace}:{account}", groups)
                return replace(self, user=user)
        raise CelError("no such overload")


@dataclass(frozen=True)
class Check:
    """A question that is still being put together."""

    authorizer: Authorizer
    user: User
    asked: Asked

    def cel_call(self, name: str, *args: Any) -> Any:
        if name in ("resource", "subresource", "namespace", "name") and len(args) == 1:
            return replace(self, asked=structs.replace(self.asked, **{name: args[0]}))
        if name == "check" and len(args) == 1:
            return Decision(
                *self.authorizer.authorize(self.user, structs.replace(self.asked, verb=args[0]))
            )
        if name in ("fieldSelector", "labelSelector"):
            return self
        raise CelError("no such overload")


@dataclass(frozen=True)
class Decision:
    """The answer."""

    is_allowed: bool
    reason: str

    def cel_call(self, name: str, *args: Any) -> Any:
        answers = {"allowed": self.is_allowed, "reason": self.reason, "errored": False, "error": ""}
        if name in answers and not args:
            return answers[name]
        raise CelError("no such overload")
