"""Access reviews: upstream's authorization/validation, and the question that a review puts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.apiserver.tables import each_row
from tiphys.api.authorization_v1 import (
    LocalSubjectAccessReview,
    SelfSubjectAccessReview,
    SubjectAccessReview,
)
from tiphys.api.base import from_builtins
from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.access.authorizers import Decision
from tiphys.apiserver.http.request import User
from tiphys.apiserver.resources.accessreviews import question_of, review_access, review_errors
from tiphys.machinery.errors import StatusError

RESOURCE = {"resourceAttributes": {"verb": "get", "resource": "pods"}}
PATH = {"nonResourceAttributes": {"verb": "get", "path": "/x"}}
KINDS = {
    "": SubjectAccessReview,
    "Local": LocalSubjectAccessReview,
    "Self": SelfSubjectAccessReview,
}


def review(kind: str = "", spec: dict[str, Any] | None = None, **metadata: Any) -> Any:
    who = {} if kind == "Self" else {"user": "u"}
    body = {"metadata": metadata, "spec": {**who, **(spec if spec is not None else RESOURCE)}}
    return from_builtins(body, KINDS[kind])


def selecting(kind: str, **selector: Any) -> Any:
    return review("Self", {"resourceAttributes": {"verb": "list", f"{kind}Selector": selector}})


def wants(operator: str, *values: str, key: str = "a") -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def here(**attributes: str) -> dict[str, Any]:
    return {"resourceAttributes": {"verb": "get", "namespace": "here", **attributes}}


FIELDS = "spec.resourceAttributes.fieldSelector"


@each_row(
    [
        (review(), []),
        (review(spec=PATH), []),
        (review("Self"), []),
        (review(spec={**RESOURCE, **PATH}), ["spec.nonResourceAttributes"]),
        (review(spec={}), ["spec.resourceAttributes"]),
        (review(spec={**RESOURCE, "user": ""}), ["spec.user"]),
        (review(spec={**RESOURCE, "user": "", "groups": ["g"]}), []),
        (review(name="x"), ["metadata"]),
        (review(labels={"a": "b"}), ["metadata"]),
        (review(namespace="here"), ["metadata"]),
        (review(managedFields=[{"manager": "m"}]), []),
        (review("Local", here(), namespace="here"), []),
        (review("Local", here(), name="x", namespace="here"), ["metadata"]),
        (review("Local", here(namespace="there"), namespace="here"), ["spec.resourceAttributes.namespace"]),
        (review("Local", PATH, namespace="here"), ["spec.nonResourceAttributes"]),
        # --- selectors ---
        (selecting("field", rawSelector="a=b"), []),
        (selecting("field", requirements=[wants("In", "b")]), []),
        (selecting("field", rawSelector="a=b", requirements=[wants("In", "b")]), [f"{FIELDS}.rawSelector"]),
        (selecting("field"), [f"{FIELDS}.requirements"]),
        (selecting("label"), ["spec.resourceAttributes.labelSelector.requirements"]),
        (selecting("field", requirements=[wants("In", "b", key="")]), [f"{FIELDS}.requirements[0].key"]),
        (selecting("field", requirements=[wants("Exists"), wants("In")]), [f"{FIELDS}.requirements[1].values"]),
        (selecting("field", requirements=[wants("NotIn")]), [f"{FIELDS}.requirements[0].values"]),
        (selecting("field", requirements=[wants("Exists", "b")]), [f"{FIELDS}.requirements[0].values"]),
        (selecting("field", requirements=[wants("DoesNotExist", "b")]), [f"{FIELDS}.requirements[0].values"]),
        (selecting("label", requirements=[wants("DoesNotExist")]), []),
        (selecting("label", requirements=[wants("Other", "b"), wants("Other")]), []),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_review(asked: Any, wrong: list[str]) -> None:
    assert [error.field for error in review_errors(asked, "here")] == wrong


WHOLE = {
    "verb": "get",
    "group": "g",
    "resource": "r",
    "subresource": "s",
    "namespace": "ns",
    "name": "n",
    "version": "v",
}


@pytest.mark.parametrize(
    ("spec", "question"),
    [
        (PATH, Asked("get", path="/x")),
        ({"nonResourceAttributes": {"verb": "get"}}, Asked("get", path="/")),
        ({"resourceAttributes": WHOLE}, Asked("get", "g", "r", "s", "ns", "n", version="v")),
        ({}, Asked("")),
    ],
)
def test_what_a_review_asks(spec: dict[str, Any], question: Asked) -> None:
    assert question_of(review(spec=spec).spec) == question


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({"rawSelector": "spec.nodeName=n"}, "spec.nodeName=n"),
        ({"requirements": [wants("In", "n", key="spec.nodeName")]}, "spec.nodeName=n"),
        ({"requirements": [wants("NotIn", "b")]}, "a!=b"),
        ({"requirements": [wants("In", "b"), wants("NotIn", "d", key="c")]}, "a=b,c!=d"),
        ({"requirements": [wants("In", "b", "c")]}, ""),
        ({"requirements": [wants("Exists"), wants("In", "d", key="c")]}, "c=d"),
        ({"requirements": [wants("In", "x,y=z\\")]}, "a=x\\,y\\=z\\\\"),
    ],
)
def test_a_field_selector_is_asked_as_text(selector: dict[str, Any], text: str) -> None:
    """What field selectors cannot say is left out, which asks for more."""
    assert question_of(selecting("field", **selector).spec).fields == text


# --- the answer ---


class Asking:
    """An authorizer that remembers whom it was asked about."""

    def __init__(self, decision: Decision, deciding: frozenset[str] | None = None) -> None:
        self._decision = decision
        self._deciding = deciding
        self.users: list[User] = []

    def decide(self, user: User, asked: Asked) -> Decision:
        self.users.append(user)
        return self._decision

    def deciding_groups(self) -> frozenset[str] | None:
        return self._deciding


def context(authorizer: Asking, namespace: str = "") -> Any:
    resource = SimpleNamespace(group="authorization.k8s.io")
    user = User("asker", ("g",))
    return SimpleNamespace(resource=resource, namespace=namespace, user=user, authorizer=authorizer)


async def test_the_answer_is_the_whole_decision() -> None:
    authorizer = Asking(Decision(True, False, "because", "but"))
    answered: Any = await review_access(review("Self"), context(authorizer))
    status = answered.status
    assert (status.allowed, status.denied) == (True, False)
    assert (status.reason, status.evaluation_error) == ("because", "but")
    assert authorizer.users == [User("asker", ("g",))]


async def test_a_review_of_somebody_is_about_him() -> None:
    authorizer = Asking(Decision(denied=True))
    who = {"user": "joe", "groups": ["h"], "uid": "7", "extra": {"k": ["v"]}}
    answered: Any = await review_access(review(spec={**RESOURCE, **who}), context(authorizer))
    assert answered.status.denied and not answered.status.allowed
    assert authorizer.users == [User("joe", ("h",), "7", {"k": ["v"]})]


@pytest.mark.parametrize(
    ("count", "deciding", "asked"),
    [
        (1000, frozenset(("g1",)), 1000),
        (1001, frozenset(("g1", "other")), 1),
        (1001, None, 1001),
    ],
)
async def test_of_very_many_groups_those_count_that_decide(
    count: int, deciding: frozenset[str] | None, asked: int
) -> None:
    authorizer = Asking(Decision(), deciding)
    groups = [f"g{number}" for number in range(count)]
    await review_access(review(spec={**RESOURCE, "groups": groups}), context(authorizer))
    assert len(authorizer.users[0].groups) == asked


async def test_a_review_that_is_wrong_is_invalid() -> None:
    with pytest.raises(StatusError) as error:
        await review_access(review(spec={}), context(Asking(Decision())))
    assert (error.value.code, error.value.reason) == (422, "Invalid")
    assert "exactly one of nonResourceAttributes or resourceAttributes" in str(error.value)
