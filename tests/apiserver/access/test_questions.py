"""What an authorization webhook is asked, of whom conditions keep it, and what its answer means."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.admission.builders import JANE
from tests.apiserver.tables import each_row
from tiphys.api.authorization_v1 import SubjectAccessReviewStatus
from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.access.authorizationwebhooks import _decision, matches, spec_of
from tiphys.apiserver.access.authorizers import Decision
from tiphys.apiserver.http.request import LONG_SELECTOR, User
from tiphys.machinery.cel import CelError

WHO = {"user": "jane", "groups": ["devs", "system:authenticated"]}


def attributes(**parts: Any) -> dict[str, Any]:
    return {**WHO, "resourceAttributes": {"verb": "list", "resource": "pods", **parts}}


def asked(**parts: Any) -> Asked:
    return Asked("list", "", "pods", **parts)


def rows(*requirements: dict[str, Any]) -> dict[str, Any]:
    return {"requirements": list(requirements)}


def row(operator: str, *values: str, key: str = "a") -> dict[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


@each_row(
    [
        (Asked("get", path="/x"), {**WHO, "nonResourceAttributes": {"path": "/x", "verb": "get"}}),
        (asked(), attributes()),
        (asked(namespace="n", name="x", subresource="s", version="v1"), attributes(namespace="n", name="x", subresource="s", version="v1")),
        (asked(fields="a=b"), attributes(fieldSelector=rows(row("In", "b")))),
        (asked(fields="a!=b,c=d"), attributes(fieldSelector=rows(row("NotIn", "b"), row("In", "d", key="c")))),
        (asked(fields="a"), attributes()),
        (asked(labels="a in (c, b)"), attributes(labelSelector=rows(row("In", "b", "c")))),
        (asked(labels="a notin (b)"), attributes(labelSelector=rows(row("NotIn", "b")))),
        (asked(labels="a"), attributes(labelSelector=rows(row("Exists")))),
        (asked(labels="!a"), attributes(labelSelector=rows(row("DoesNotExist")))),
        (asked(labels="a>1"), attributes()),
        (asked(labels="a>1,b"), attributes(labelSelector=rows(row("Exists", key="b")))),
        (asked(labels="a in"), attributes()),
        (asked(labels="a" * LONG_SELECTOR), attributes()),
        (asked(labels="a=" + "b" * (LONG_SELECTOR - 1)), attributes()),
    ],
)  # fmt: skip
def test_what_is_asked(question: Asked, spec: dict[str, Any]) -> None:
    assert spec_of(JANE, question) == spec


def test_what_is_said_of_the_user() -> None:
    whole = User("u", ("g",), "7", {"k": ["v"]})
    said = {"user": "u", "groups": ["g"], "uid": "7", "extra": {"k": ["v"]}}
    path = {"nonResourceAttributes": {"path": "/x", "verb": "get"}}
    assert spec_of(whole, Asked("get", path="/x")) == {**said, **path}
    assert spec_of(User(""), Asked("get", path="/x")) == path


SPEC = attributes(namespace="n")


@each_row(
    [
        ((), True),
        (("request.user == 'jane'",), True),
        (("request.user == 'jane'", "request.user == 'joe'"), False),
        (("request.nothing == 1", "request.user == 'joe'"), False),
        (("request.user",), False),
        # What is empty is seen as such.
        (("request.uid == '' && size(request.extra) == 0",), True),
        (("request.resourceAttributes.name == '' && request.resourceAttributes.namespace == 'n'",), True),
        (("!has(request.nonResourceAttributes)",), True),
    ],
)  # fmt: skip
def test_whom_conditions_keep_from_it(conditions: tuple[str, ...], holds: bool) -> None:
    assert matches(conditions, SPEC) == holds


def test_what_is_empty_of_nobody() -> None:
    path = {"nonResourceAttributes": {"path": "/x", "verb": "get"}}
    assert matches(("request.user == '' && size(request.groups) == 0",), path)
    assert matches(("!has(request.resourceAttributes)",), path)


def test_conditions_that_fail_are_told() -> None:
    with pytest.raises(CelError) as one:
        matches(("true", "request.a == 1"), SPEC)
    assert str(one.value) == (
        "cel evaluation error: expression 'request.a == 1' resulted in error: no such key: a"
    )
    with pytest.raises(CelError) as two:
        matches(("request.a == 1", "request.b == 1"), SPEC)
    assert str(two.value).startswith("[cel evaluation error") and "key: b]" in str(two.value)


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        ({"allowed": True, "reason": "r"}, Decision(allowed=True, reason="r")),
        ({"denied": True}, Decision(denied=True)),
        ({}, Decision()),
        (
            {"allowed": True, "denied": True, "reason": "r"},
            Decision(
                denied=True,
                reason="r",
                error="webhook subject access review returned both allow and deny response",
            ),
        ),
    ],
)
def test_what_an_answer_means(answer: dict[str, Any], decision: Decision) -> None:
    assert _decision(SubjectAccessReviewStatus(**answer)) == decision
