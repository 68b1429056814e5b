"""Whom a client's certificate names, whose a token is, and what the API server says they may do."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from tiphys.api import authentication_v1
from tiphys.api.authentication_v1 import UserInfo
from tiphys.client import delegation as module
from tiphys.client.client import Unreachable
from tiphys.client.delegation import (
    ANONYMOUS,
    Asked,
    Caller,
    Delegation,
    ReviewError,
    caller_of,
    has_ended,
)
from tiphys.machinery import errors

NAME, GROUP = "commonName", "organizationName"
LATER = "Jan  1 00:00:00 2100 GMT"
BEFORE = "Jan  1 00:00:00 2020 GMT"


def certificate(*subject: tuple[str, str], ends: str = LATER) -> dict[str, Any]:
    """As `ssl.SSLSocket.getpeercert` has it."""
    return {"subject": tuple((attribute,) for attribute in subject), "notAfter": ends}


@pytest.mark.parametrize(
    ("shown", "caller"),
    [
        (certificate((NAME, "a")), Caller("a", ())),
        (certificate((GROUP, "g"), (GROUP, "h"), (NAME, "a")), Caller("a", ("g", "h"))),
        (certificate((NAME, "another"), (NAME, "a")), Caller("a", ())),
        (certificate((GROUP, "g")), None),
        (certificate((NAME, "")), None),
        (certificate((NAME, "a"), ends=BEFORE), None),
        (None, None),
    ],
)
def test_a_certificate_names_its_owner_until_it_ends(shown: Any, caller: Caller | None) -> None:
    assert caller_of(shown) == caller


def test_a_certificate_ends() -> None:
    assert has_ended(certificate(ends=BEFORE)) is True
    assert has_ended(certificate(ends=LATER)) is False


class ApiServer:
    """Answers reviews as it is told to, and remembers them."""

    def __init__(self) -> None:
        self.user: UserInfo | None = UserInfo(username="jane", groups=["g"], uid="7")
        self.allowed = True
        self.error: Exception | None = None
        self.reviews: list[Any] = []
        self.at_once = 0
        self.most_at_once = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def create(self, review: Any) -> Any:
        self.reviews.append(review)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.answers.wait()
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        if isinstance(review, authentication_v1.TokenReview):
            review.status.authenticated = self.user is not None
            review.status.user = self.user or UserInfo()
        else:
            review.status.allowed = self.allowed
        return review


@pytest.fixture
def api() -> ApiServer:
    return ApiServer()


@pytest.fixture
def delegation(api: ApiServer) -> Delegation:
    return Delegation(api)  # type: ignore[arg-type]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of a clock, in its only place."""
    seconds = [1000.0]
    clock = SimpleNamespace(monotonic=lambda: seconds[0], time=time.time)
    monkeypatch.setattr(module, "time", clock)
    return seconds


async def test_a_token_is_whose_the_api_server_says(api: ApiServer, delegation: Delegation) -> None:
    assert api.user is not None
    api.user.extra = {"scopes": ["a", "b"]}
    caller = await delegation.bearer("Bearer  abc ")
    assert caller == Caller("jane", ("g",), "7", (("scopes", ("a", "b")),))
    assert [review.spec.token for review in api.reviews] == ["abc"]
    api.user = None
    assert await delegation.bearer("bearer xyz") is None


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic abc", "abc", "Bearer " + "x" * ((64 << 10) + 1)]
)
async def test_what_is_no_token_is_not_asked_about(
    api: ApiServer, delegation: Delegation, header: str
) -> None:
    assert await delegation.bearer(header) is None and not api.reviews


async def test_the_longest_token_is_asked_about(api: ApiServer, delegation: Delegation) -> None:
    assert await delegation.bearer("Bearer " + "x" * (64 << 10)) is not None


@pytest.mark.parametrize(("seconds", "reviews"), [(0, 1), (119.9, 1), (120, 2)])
async def test_a_good_token_counts_for_two_minutes(
    api: ApiServer, delegation: Delegation, clock: list[float], seconds: float, reviews: int
) -> None:
    await delegation.bearer("Bearer abc")
    clock[0] += seconds
    assert await delegation.bearer("Bearer abc") is not None
    assert len(api.reviews) == reviews


async def test_a_bad_token_is_asked_about_each_time(api: ApiServer, delegation: Delegation) -> None:
    api.user = None
    for _ in range(2):
        assert await delegation.bearer("Bearer abc") is None
    assert len(api.reviews) == 2 and len(delegation.callers) == 0


JANE = Caller("jane", ("g",), "7", (("scopes", ("a",)),))


async def test_what_a_caller_may_do_is_asked_with_all_that_is_known_of_it(
    api: ApiServer, delegation: Delegation
) -> None:
    assert await delegation.allows(JANE, Asked("get", path="/metrics"))
    assert await delegation.allows(JANE, Asked("get", node="n", subresource="proxy"))
    by_path, by_node = (review.spec for review in api.reviews)
    for spec in (by_path, by_node):
        assert (spec.user, spec.groups, spec.uid) == ("jane", ["g"], "7")
        assert spec.extra == {"scopes": ["a"]}
    assert by_path.non_resource_attributes.path == "/metrics"
    assert by_path.non_resource_attributes.verb == "get" and by_path.resource_attributes is None
    wanted = by_node.resource_attributes
    assert (wanted.verb, wanted.version, wanted.resource) == ("get", "v1", "nodes")
    assert (wanted.subresource, wanted.name) == ("proxy", "n")
    assert by_node.non_resource_attributes is None


async def test_masters_may_do_everything_and_nobody_is_asked(
    api: ApiServer, delegation: Delegation
) -> None:
    api.allowed = False
    assert await delegation.allows(Caller("a", ("g", "system:masters")), Asked("get", "/x"))
    assert not await delegation.allows(Caller("system:masters", ()), Asked("get", "/x"))
    assert len(api.reviews) == 1


@pytest.mark.parametrize(
    ("allowed", "seconds", "reviews"),
    [(True, 299.9, 1), (True, 300, 2), (False, 29.9, 1), (False, 30, 2)],
)
async def test_a_decision_counts_for_a_while(
    api: ApiServer,
    delegation: Delegation,
    clock: list[float],
    allowed: bool,
    seconds: float,
    reviews: int,
) -> None:
    api.allowed = allowed
    asked = Asked("get", path="/metrics")
    assert await delegation.allows(JANE, asked) is allowed
    clock[0] += seconds
    assert await delegation.allows(JANE, asked) is allowed
    assert len(api.reviews) == reviews
    await delegation.allows(JANE, Asked("post", path="/metrics"))
    await delegation.allows(ANONYMOUS, asked)
    assert len(api.reviews) == reviews + 2, "of others it says nothing"


async def test_so_many_answers_are_kept(
    delegation: Delegation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_KEPT", 2)
    lengths = []
    for token in "abc":
        await delegation.bearer(f"Bearer {token}")
        lengths.append(len(delegation.callers))
    assert lengths == [1, 2, 1]


@pytest.mark.parametrize("error", [errors.forbidden("x", "y", "no"), Unreachable("silent")])
async def test_without_an_answer_nothing_is_decided(
    api: ApiServer, delegation: Delegation, error: Exception
) -> None:
    api.error = error
    with pytest.raises(ReviewError, match="the API server did not answer a review: "):
        await delegation.bearer("Bearer abc")
    with pytest.raises(ReviewError):
        await delegation.allows(JANE, Asked("get", path="/x"))
    api.error = None
    assert await delegation.allows(JANE, Asked("get", path="/x"))


async def test_so_many_reviews_are_made_at_a_time(api: ApiServer, delegation: Delegation) -> None:
    api.answers.clear()
    asking = [asyncio.ensure_future(delegation.bearer(f"Bearer {n}")) for n in range(20)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(api.reviews) == 8
    api.answers.set()
    await asyncio.gather(*asking)
    assert api.most_at_once == 8 and len(api.reviews) == 20
