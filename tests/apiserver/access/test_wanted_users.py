"""Who may act as whom: each question that a mode puts, and what a user is then."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from tests.apiserver.tables import each_row
from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.access.impersonation import Impersonation
from tiphys.apiserver.http.request import User
from tiphys.machinery.errors import StatusError

JIM = User("jim", ("system:authenticated",))
LIST_PODS = Asked("list", "", "pods", version="v1")
ROBOT = "system:serviceaccount:ns:robot"
EXTRA = "Impersonate-Extra-"


class Allowing:
    """An authorizer that allows what begins like one of the given questions, and notes each."""

    def __init__(self, *allowed: str) -> None:
        self._allowed = allowed
        self.questions: list[str] = []

    def authorize(self, user: User, asked: Asked) -> tuple[bool, str]:
        resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        group = f".{asked.group}" if asked.group else ""
        text = f"{asked.verb} {resource}{group} {asked.namespace}/{asked.name}"
        self.questions.append(text)
        return text.startswith(self._allowed), ""


def become(allowing: Allowing, headers: Any, user: User = JIM) -> User:
    impersonation = Impersonation(allowing)  # type: ignore[arg-type]
    return impersonation.user(CIMultiDictProxy(CIMultiDict(headers)), user, LIST_PODS)


def asked_of_old(headers: Any) -> list[str]:
    """What the old mode asks, which allows everything here."""
    allowing = Allowing("impersonate ")
    become(allowing, headers)
    return [text for text in allowing.questions if text.startswith("impersonate ")]


USER = ("Impersonate-User", "jane")
IN = ".authentication.k8s.io"


@each_row(
    [
        ([USER], ["users /jane"]),
        ([("Impersonate-User", ROBOT)], ["serviceaccounts ns/robot"]),
        ([("Impersonate-User", "system:serviceaccount:ns:")], ["users /system:serviceaccount:ns:"]),
        ([("Impersonate-User", "system:serviceaccount::robot")], ["users /system:serviceaccount::robot"]),
        ([("Impersonate-User", f"{ROBOT}:x")], [f"users /{ROBOT}:x"]),
        ([("Impersonate-User", "system:node:n")], ["users /system:node:n"]),
        ([USER, ("Impersonate-Uid", "7")], ["users /jane", f"uids{IN} /7"]),
        ([USER, ("Impersonate-Group", "a"), ("Impersonate-Group", "b")], ["users /jane", "groups /a", "groups /b"]),
        ([USER, (f"{EXTRA}A%2fb", "x"), (f"{EXTRA}A%2fb", "y")], ["users /jane", f"userextras/a/b{IN} /x", f"userextras/a/b{IN} /y"]),
    ],
)  # fmt: skip
def test_what_the_old_mode_asks(headers: Any, questions: list[str]) -> None:
    assert asked_of_old(headers) == [f"impersonate {text}" for text in questions]


AUTHENTICATED = "system:authenticated"
NOBODY = "system:unauthenticated"


@each_row(
    [
        ([USER], (AUTHENTICATED,)),
        ([USER, ("Impersonate-Group", "a")], ("a", AUTHENTICATED)),
        ([USER, ("Impersonate-Group", AUTHENTICATED)], (AUTHENTICATED,)),
        ([USER, ("Impersonate-Group", NOBODY)], (NOBODY,)),
        ([("Impersonate-User", ROBOT)], ("system:serviceaccounts", "system:serviceaccounts:ns", AUTHENTICATED)),
        ([("Impersonate-User", ROBOT), ("Impersonate-Group", "a")], ("a", AUTHENTICATED)),
        ([("Impersonate-User", "system:node:n")], (AUTHENTICATED,)),
        ([("Impersonate-User", "system:anonymous")], (NOBODY,)),
        ([("Impersonate-User", "system:anonymous"), ("Impersonate-Group", NOBODY)], (NOBODY,)),
    ],
)  # fmt: skip
def test_the_groups_that_one_has_then(headers: Any, groups: tuple[str, ...]) -> None:
    assert become(Allowing("impersonate "), headers).groups == groups


def test_who_names_nobody_stays_himself() -> None:
    assert become(Allowing(), []) is JIM


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ([("Impersonate-Group", "a")], 'Name:"", UID:"", Groups:[]string{"a"}, Extra:map[string][]string(nil)'),
        ([("Impersonate-Uid", "7")], 'Name:"", UID:"7", Groups:[]string(nil), Extra:map[string][]string(nil)'),
        ([(f"{EXTRA}b", "x"), (f"{EXTRA}a", "y"), (f"{EXTRA}a", "z")], 'Groups:[]string(nil), Extra:map[string][]string{"a":[]string{"y", "z"}, "b":[]string{"x"}}'),
    ],
)  # fmt: skip
def test_groups_without_a_user_are_a_bad_request(headers: Any, shown: str) -> None:
    with pytest.raises(StatusError) as error:
        become(Allowing(), headers)
    assert error.value.code == 400 and shown in str(error.value)
    assert "without impersonating a user name" in str(error.value)


# --- constrained modes ---

ON = "impersonate-on:user-info:list pods"
AS = "impersonate:user-info "


@pytest.mark.parametrize(("count", "at_once"), [(3, False), (4, True)])
def test_so_many_groups_are_asked_for_at_once(count: int, at_once: bool) -> None:
    allowing = Allowing(ON, f"{AS}users", f"{AS}groups{IN} /*")
    headers = [USER, *[("Impersonate-Group", f"g{n}") for n in range(count)]]
    if at_once:
        assert len(become(allowing, headers).groups) == count + 1
    else:
        with pytest.raises(StatusError):
            become(allowing, headers)
    assert (f"{AS}groups{IN} /*" in allowing.questions) == at_once


@pytest.mark.parametrize(("keys", "values", "at_once"), [(3, 1, False), (4, 1, True), (1, 4, True), (1, 3, False)])  # fmt: skip
def test_so_many_extras_are_asked_for_at_once(keys: int, values: int, at_once: bool) -> None:
    allowing = Allowing(ON, f"{AS}users", f"{AS}userextras")
    pairs = [(f"{EXTRA}a.b%2fk{k}", f"v{v}") for k in range(keys) for v in range(values)]
    assert len(become(allowing, [USER, *pairs]).extra) == keys
    assert (f"{AS}userextras/*{IN} /*" in allowing.questions) == at_once


def test_each_group_is_asked_for_where_all_are_not_allowed() -> None:
    groups = [f"g{n}" for n in range(4)]
    allowing = Allowing(ON, f"{AS}users", *[f"{AS}groups{IN} /{name}" for name in groups])
    made = become(allowing, [USER, *[("Impersonate-Group", name) for name in groups]])
    assert made.groups == (*groups, AUTHENTICATED)


@pytest.mark.parametrize(
    ("missing", "code"), [("", 0), ("impersonate-on", 403), ("users", 403), ("uids", 403)]
)
def test_every_right_is_needed(missing: str, code: int) -> None:
    rights = (ON, f"{AS}users", f"{AS}uids")
    allowing = Allowing(*[right for right in rights if not missing or missing not in right])
    headers = [USER, ("Impersonate-Uid", "7")]
    if code:
        with pytest.raises(StatusError) as error:
            become(allowing, headers)
        assert error.value.code == code
    else:
        assert become(allowing, headers).uid == "7"


def test_the_refusal_of_the_first_mode_is_told() -> None:
    with pytest.raises(StatusError, match='cannot impersonate-on:user-info:list resource "pods"'):
        become(Allowing(), [USER])
    with pytest.raises(StatusError, match='impersonate-on:serviceaccount:list resource "pods"'):
        become(Allowing(), [("Impersonate-User", ROBOT)])


def test_who_was_let_through_by_a_mode_is_asked_by_it_first() -> None:
    allowing = Allowing("impersonate ")
    impersonation = Impersonation(allowing)  # type: ignore[arg-type]
    headers = CIMultiDictProxy(CIMultiDict([USER]))
    impersonation.user(headers, JIM, LIST_PODS)
    assert allowing.questions[0].startswith("impersonate-on:user-info")
    allowing.questions.clear()
    impersonation.user(headers, JIM, LIST_PODS)
    assert allowing.questions == ["impersonate users /jane"]
    allowing.questions.clear()
    impersonation.user(headers, User("joe"), LIST_PODS)
    assert allowing.questions[0].startswith("impersonate-on:user-info")
