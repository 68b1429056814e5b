"""Who somebody acts as: the Impersonate headers, each part of which the user has to be allowed to take on."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

from multidict import CIMultiDictProxy

from tiphys.apiserver.access.authentication import AUTHENTICATED
from tiphys.apiserver.access.authorization import Asked, Authorizer, refusal
from tiphys.apiserver.http.request import ANONYMOUS, User
from tiphys.machinery import errors

_ACCOUNT = "system:serviceaccount:"
_UNAUTHENTICATED = "system:unauthenticated"
_EXTRA = "impersonate-extra-"


def impersonated(headers: CIMultiDictProxy[str], user: User, authorizer: Authorizer) -> User:
    """The user that the headers name, `user` when they name none. Raises 400 and 403."""
    wanted = _wanted(headers)
    if not wanted.name:
        if wanted.groups or wanted.extra or wanted.uid:
            raise errors.bad_request("requested impersonation without impersonating a user")
        return user
    for wish in _wishes(wanted):
        if not authorizer.authorize(user, wish)[0]:
            raise refusal(user, wish)
    return User(wanted.name, _groups(wanted), wanted.uid, wanted.extra)


def _wanted(headers: CIMultiDictProxy[str]) -> User:
    extra: dict[str, list[str]] = {}
    for header, value in headers.items():
        if header.lower().startswith(_EXTRA):
            # Keys come percent-encoded: a header's name cannot hold a slash.
            extra.setdefault(unquote(header.lower().removeprefix(_EXTRA)), []).append(value)
    groups = tuple(headers.getall("Impersonate-Group", []))
    return User(
        headers.get("Impersonate-User", ""), groups, headers.get("Impersonate-Uid", ""), extra
    )


def _account_of(name: str) -> tuple[str, str] | None:
    """(namespace, name) of the service account behind a user's name."""
    if not name.startswith(_ACCOUNT):
        return None
    namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
    return (namespace, account) if namespace and account and ":" not in account else None


def _wishes(wanted: User) -> Iterator[Asked]:
    """What has to be allowed: the user, each group, each extra value, and the UID."""
    account = _account_of(wanted.name)
    if account is not None:
        yield Asked("impersonate", "", "serviceaccounts", "", *account, version="v1")
    else:
        yield Asked("impersonate", "", "users", name=wanted.name, version="v1")
    for group in wanted.groups:
        yield Asked("impersonate", "", "groups", name=group, version="v1")
    for key, values in wanted.extra.items():
        for value in values:
            yield Asked(
                "impersonate", "authentication.k8s.io", "userextras", key, name=value, version="v1"
            )
    if wanted.uid:
        yield Asked("impersonate", "authentication.k8s.io", "uids", name=wanted.uid, version="v1")


def _groups(wanted: User) -> tuple[str, ...]:
    groups = wanted.groups
    account = _account_of(wanted.name)
    if account is not None and not groups:
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{account[0]}")
    if wanted.name == ANONYMOUS.name:
        return groups if _UNAUTHENTICATED in groups else (*groups, _UNAUTHENTICATED)
    if AUTHENTICATED in groups or _UNAUTHENTICATED in groups:
        return groups
    return (*groups, AUTHENTICATED)
