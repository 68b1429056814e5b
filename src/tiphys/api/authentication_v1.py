"""Types of authentication.k8s.io/v1: names, tags, keys and defaults from the published API of
release 1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Int64, Struct, Time, always, always_list
from tiphys.api.meta_v1 import Object


class BoundObjectReference(Struct):
    kind: Annotated[str, F(1)] = ""
    api_version: Annotated[str, F(2)] = ""
    name: Annotated[str, F(3)] = ""
    uid: Annotated[str, F(4)] = ""


class UserInfo(Struct):
    username: Annotated[str, F(1)] = ""
    uid: Annotated[str, F(2)] = ""
    groups: Annotated[list[str], F(3, list="atomic")] = []
    extra: Annotated[dict[str, list[str]], F(4)] = {}


class SelfSubjectReviewStatus(Struct):
    user_info: Annotated[UserInfo, F(1)] = field(default_factory=UserInfo)


class SelfSubjectReview(Object):
    api_version: str = always("authentication.k8s.io/v1")
    kind: str = always("SelfSubjectReview")
    status: Annotated[SelfSubjectReviewStatus, F(2)] = field(
        default_factory=SelfSubjectReviewStatus
    )


class TokenRequestSpec(Struct):
    audiences: Annotated[list[str], F(1, list="atomic")] = always_list()
    expiration_seconds: Annotated[Int64 | None, F(4)] = None
    bound_object_ref: Annotated[BoundObjectReference | None, F(3)] = None


class TokenRequestStatus(Struct):
    token: Annotated[str, F(1)] = always("")
    expiration_timestamp: Annotated[Time | None, F(2)] = None


class TokenRequest(Object):
    api_version: str = always("authentication.k8s.io/v1")
    kind: str = always("TokenRequest")
    spec: Annotated[TokenRequestSpec, F(2)] = field(default_factory=TokenRequestSpec)
    status: Annotated[TokenRequestStatus, F(3)] = field(default_factory=TokenRequestStatus)


class TokenReviewSpec(Struct):
    token: Annotated[str, F(1, req=True)] = ""
    audiences: Annotated[list[str], F(2, list="atomic")] = []


class TokenReviewStatus(Struct):
    authenticated: Annotated[bool, F(1)] = False
    user: Annotated[UserInfo, F(2)] = field(default_factory=UserInfo)
    audiences: Annotated[list[str], F(4, list="atomic")] = []
    error: Annotated[str, F(3)] = ""


class TokenReview(Object):
    api_version: str = always("authentication.k8s.io/v1")
    kind: str = always("TokenReview")
    spec: Annotated[TokenReviewSpec, F(2, req=True)] = field(default_factory=TokenReviewSpec)
    status: Annotated[TokenReviewStatus, F(3)] = field(default_factory=TokenReviewStatus)
