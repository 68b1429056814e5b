"""Whom a user acts as: the Impersonate headers, each part of which the user has to be allowed to
take on.

Five modes are tried, the narrowest first (KEP-5284). The four constrained ones ask two questions:
may the user take that identity on (`impersonate:MODE`), and may they make this request with it
(`impersonate-on:MODE:VERB`). The old one asks for the verb `impersonate` alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from msgspec.structs import replace
from multidict import CIMultiDictProxy

from tiphys.apiserver.access.asked import Asked, refusal
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.http.request import (
    ANONYMOUS,
    AUTHENTICATED,
    MASTERS,
    User,
    note_impersonation,
)
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError
from tiphys.machinery.names import dns_subdomain_errors

_ACCOUNT = "system:serviceaccount:"
_NODE = "system:node:"
_UNAUTHENTICATED = "system:unauthenticated"
_EXTRA = "impersonate-extra-"
_NODE_OF_ACCOUNT = "authentication.kubernetes.io/node-name"
_MOST_USERS = 10_000  # whose last mode is remembered
_MANY = 4  # so many groups or extras are first asked for at once, as "*" (upstream's number)


class Impersonation:
    """Which mode let a user through last is remembered: it is tried first, as upstream does."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer
        self._last: dict[str, _Mode] = {}

    def user(self, headers: CIMultiDictProxy[str], user: User, request: Asked) -> User:
        """The user that the headers name, `user` when they name none.

        `request` is what `user` wants to do as another user. Raises 400 for headers without a
        user's name, and the 403 of the mode that was tried first when none allows it.
        """
        wanted = _requested_user(headers)
        if not wanted.name:
            if wanted.groups or wanted.extra or wanted.uid:
                raise errors.bad_request(
                    f"requested {_in_go(wanted)} without impersonating a user name"
                )
            return user
        first: StatusError | None = None
        for mode in self._order(user):
            if not mode.applies(wanted, user):
                continue
            try:
                impersonated = mode.impersonate(wanted, user, request, self._authorizer)
            except StatusError as error:
                first = first or error
                continue
            self._remember(user, mode)
            note_impersonation(impersonated, mode.verb if mode.name else "")
            return impersonated
        assert first is not None  # the last mode applies to everybody
        raise first

    def _order(self, user: User) -> Iterator[_Mode]:
        last = self._last.get(user.name)
        if last is not None:
            yield last
        for mode in _MODES:
            if mode is not last:
                yield mode

    def _remember(self, user: User, mode: _Mode) -> None:
        if len(self._last) >= _MOST_USERS:
            self._last.clear()
        self._last[user.name] = mode


def _requested_user(headers: CIMultiDictProxy[str]) -> User:
    extra: dict[str, list[str]] = {}
    for header, value in headers.items():
        if header.lower().startswith(_EXTRA):
            # Keys come percent-encoded: a header's name cannot hold a slash.
            extra.setdefault(unquote(header.lower().removeprefix(_EXTRA)), []).append(value)
    groups = tuple(headers.getall("Impersonate-Group", []))
    return User(
        headers.get("Impersonate-User", ""), groups, headers.get("Impersonate-Uid", ""), extra
    )


def _in_go(user: User) -> str:
    """As Go prints what it has read off the headers."""
    groups = _list_in_go(user.groups) if user.groups else "[]string(nil)"
    rows = (f"{json.dumps(key)}:{_list_in_go(user.extra[key])}" for key in sorted(user.extra))
    extra = f"{{{', '.join(rows)}}}" if user.extra else "(nil)"
    return (
        f"&user.DefaultInfo{{Name:{json.dumps(user.name)}, UID:{json.dumps(user.uid)}, "
        f"Groups:{groups}, Extra:map[string][]string{extra}}}"
    )


def _list_in_go(texts: Sequence[str]) -> str:
    return f"[]string{{{', '.join(map(json.dumps, texts))}}}"


# --- names ---


def _account_of(name: str) -> tuple[str, str] | None:
    """(namespace, name) of the service account behind a user's name."""
    if not name.startswith(_ACCOUNT):
        return None
    namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
    return (namespace, account) if namespace and account and ":" not in account else None


def _node_of(name: str) -> str | None:
    """The name of the node behind a user's name."""
    node = name.removeprefix(_NODE)
    return node if node != name and not dns_subdomain_errors(node) else None


def _is_name_alone(wanted: User) -> bool:
    return not (wanted.groups or wanted.uid or wanted.extra)


# --- modes ---


def _is_own_node(wanted: User, user: User) -> bool:
    """Whether a pod's account wants to be the node that its pod runs on."""
    node = _node_of(wanted.name)
    if node is None or not _is_name_alone(wanted) or _account_of(user.name) is None:
        return False
    return user.extra.get(_NODE_OF_ACCOUNT) == [node]


def _is_a_node(wanted: User, user: User) -> bool:
    return _is_name_alone(wanted) and _node_of(wanted.name) is not None


def _is_an_account(wanted: User, user: User) -> bool:
    return _is_name_alone(wanted) and _account_of(wanted.name) is not None


def _is_another_user(wanted: User, user: User) -> bool:
    return _node_of(wanted.name) is None and _account_of(wanted.name) is None


def _is_anybody(wanted: User, user: User) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class _Mode:
    """`name` is empty for the old mode, whose questions are about other groups and versions."""

    name: str
    applies: Callable[[User, User], bool]

    @property
    def verb(self) -> str:
        return f"impersonate:{self.name}" if self.name else "impersonate"

    def impersonate(self, wanted: User, user: User, request: Asked, authorizer: Authorizer) -> User:
        """The impersonated user. Raises 403 for the first part that `user` may not impersonate."""

        def require(question: Asked) -> None:
            if not authorizer.authorize(user, question)[0]:
                raise refusal(user, question)

        def is_allowed(question: Asked) -> bool:
            return authorizer.authorize(user, question)[0]

        if self.name:
            require(replace(request, verb=f"impersonate-on:{self.name}:{request.verb}"))
        require(self._identity(wanted))
        if wanted.uid:
            require(self._in_authentication("uids", wanted.uid))
        if self.name:
            self._refuse_oddities(wanted, user)
        many_groups = self.name and len(wanted.groups) >= _MANY
        if not (many_groups and is_allowed(self._group("*"))):
            for group in wanted.groups:
                require(self._group(group))
        extras = list(self._extras(wanted))
        many_extras = self.name and max(len(extras), len(wanted.extra)) >= _MANY
        if not (many_extras and is_allowed(self._in_authentication("userextras", "*", "*"))):
            for question in extras:
                require(question)
        return User(wanted.name, self._groups(wanted), wanted.uid, wanted.extra)

    def _identity(self, wanted: User) -> Asked:
        group = "authentication.k8s.io" if self.name else ""
        account = _account_of(wanted.name)
        if account is not None:
            return Asked(self.verb, group, "serviceaccounts", "", *account, version="v1")
        node = _node_of(wanted.name)
        if self.name and node is not None:
            # Which node it is has been checked: who may be theirs may be so on every node.
            name = "*" if self.name == "associated-node" else node
            return Asked(self.verb, group, "nodes", name=name, version="v1")
        return Asked(self.verb, group, "users", name=wanted.name, version="v1")

    def _group(self, name: str) -> Asked:
        group = "authentication.k8s.io" if self.name else ""
        return Asked(self.verb, group, "groups", name=name, version="v1")

    def _in_authentication(self, resource: str, name: str, subresource: str = "") -> Asked:
        return Asked(
            self.verb, "authentication.k8s.io", resource, subresource, name=name, version="v1"
        )

    def _extras(self, wanted: User) -> Iterator[Asked]:
        for key, values in wanted.extra.items():
            for value in values:
                yield self._in_authentication("userextras", value, key)

    def _refuse_oddities(self, wanted: User, user: User) -> None:
        """What the old mode lets pass for those who relied on it."""
        if "" in wanted.groups:
            raise refusal(
                user, self._group(""), "impersonating the empty string group is not allowed"
            )
        if MASTERS in wanted.groups:
            reason = f"impersonating the {MASTERS} group is not allowed"
            raise refusal(user, self._group(MASTERS), reason)
        for key, values in wanted.extra.items():
            question = self._in_authentication("userextras", "")
            if not key:
                problem = "the empty string key in extra"
            elif _domain_prefixed_errors(key):
                problem = "an invalid key in extra"
            elif "" in values:
                problem = "the empty string value in extra"
            else:
                continue
            raise refusal(user, question, f"impersonating {problem} is not allowed")

    def _groups(self, wanted: User) -> tuple[str, ...]:
        groups = wanted.groups
        account = _account_of(wanted.name)
        if account is not None and not groups:
            groups = ("system:serviceaccounts", f"system:serviceaccounts:{account[0]}")
        if self.name and _node_of(wanted.name) is not None:
            groups = ("system:nodes",)
        if wanted.name == ANONYMOUS.name:
            return groups if _UNAUTHENTICATED in groups else (*groups, _UNAUTHENTICATED)
        if AUTHENTICATED in groups or _UNAUTHENTICATED in groups:
            return groups
        return (*groups, AUTHENTICATED)


def _domain_prefixed_errors(key: str) -> list[str]:
    """Problems of a key `domain/path`."""
    domain, slash, path = key.partition("/")
    if not slash or not path:
        return ['must be a domain-prefixed path (such as "acme.io/foo")']
    return dns_subdomain_errors(domain)


_MODES = (
    _Mode("associated-node", _is_own_node),
    _Mode("arbitrary-node", _is_a_node),
    _Mode("serviceaccount", _is_an_account),
    _Mode("user-info", _is_another_user),
    _Mode("", _is_anybody),
)
"""In upstream's order."""
