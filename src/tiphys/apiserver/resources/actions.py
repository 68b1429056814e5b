"""Requests that do something instead of storing what was posted: bindings, evictions, tokens,
reviews.

A slice declares an `Action` for the path; the generic part (`http/actions`) reads the body, calls
`run` with it, and answers with what that returns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from tiphys.api.base import Struct
from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import DeleteOptions
from tiphys.apiserver.access.authentication import Authenticator
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.http.request import User
from tiphys.apiserver.resources.lookups import Objects
from tiphys.store.cache import Entry

B = TypeVar("B", bound=Struct)
T = TypeVar("T")


class ActionContext(Objects, Protocol):
    """The request that an action carries out, and what it may use for that. Its writes are in
    the name of `user`, and write nothing when the request is a dry run."""

    @property
    def resource(self) -> Resource: ...
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str:
        """The name in the path; "" for a collection."""

    @property
    def user(self) -> User: ...
    @property
    def dry_run(self) -> bool: ...
    @property
    def authenticator(self) -> Authenticator: ...
    @property
    def authorizer(self) -> Authorizer: ...

    def now(self) -> str:
        """The server's time, in RFC 3339."""

    async def admit(self, posted: B, name: str) -> B:
        """Has admission check what was posted; returns it as admission left it. Raises
        StatusError."""

    async def update(
        self, kind: type[T], namespace: str, name: str, change: Callable[[T], T], subresource: str
    ) -> Entry:
        """Changes an object. No plugin is asked: the action itself was admitted. `change` must
        not touch what it is given, and may be called again after a conflicting write.
        Raises StatusError."""

    async def delete(
        self, kind: type[Any], namespace: str, name: str, options: DeleteOptions
    ) -> None:
        """Deletes an object as a DELETE request would. Raises StatusError."""


@dataclass(frozen=True, slots=True)
class Action(Generic[B]):
    """`body` is the type that is posted; `run` carries it out and returns what is answered with
    201. It may raise StatusError."""

    body: type[B]
    run: Callable[[B, ActionContext], Awaitable[Struct]]
