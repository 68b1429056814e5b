"""The five modes of acting as somebody else, as upstream's KEP-5284 has them."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.access.impersonation import Impersonation
from tiphys.apiserver.http.request import User
from tiphys.machinery.errors import StatusError

ROBOT = "system:serviceaccount:default:robot"
JIM = User("jim", ("system:authenticated",))
AGENT = User(
    "system:serviceaccount:kube-system:agent",
    ("system:serviceaccounts",),
    extra={"authentication.kubernetes.io/node-name": ["n1"]},
)
LIST_PODS = Asked("list", "", "pods", version="v1")


class Allowing:
    """An authorizer that allows what is in its set and notes what it was asked."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = set(allowed)
        self.questions: list[str] = []

    def authorize(self, user: User, asked: Asked) -> tuple[bool, str]:
        resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        question = f"{asked.verb} {resource} {asked.name}".rstrip()
        self.questions.append(question)
        return question in self.allowed, ""


def become(
    authorizer: Allowing, user: User, headers: dict[str, str] | list[tuple[str, str]]
) -> User:
    impersonation = Impersonation(authorizer)  # type: ignore[arg-type]
    return impersonation.user(CIMultiDictProxy(CIMultiDict(headers)), user, LIST_PODS)


@pytest.mark.parametrize(
    ("user", "name", "mode", "identity", "groups"),
    [
        (
            AGENT,
            "system:node:n1",
            "associated-node",
            "nodes *",
            ("system:nodes", "system:authenticated"),
        ),
        (
            JIM,
            "system:node:n2",
            "arbitrary-node",
            "nodes n2",
            ("system:nodes", "system:authenticated"),
        ),
        (
            JIM,
            ROBOT,
            "serviceaccount",
            "serviceaccounts robot",
            (
                "system:serviceaccounts",
                "system:serviceaccounts:default",
                "system:authenticated",
            ),
        ),
        (JIM, "jane", "user-info", "users jane", ("system:authenticated",)),
    ],
)
def test_a_constrained_mode_takes_both_rights(
    user: User, name: str, mode: str, identity: str, groups: tuple[str, ...]
) -> None:
    both = (f"impersonate-on:{mode}:list pods", f"impersonate:{mode} {identity}")
    assert become(Allowing(*both), user, {"Impersonate-User": name}) == User(name, groups)
    for one in both:
        with pytest.raises(StatusError) as caught:
            become(Allowing(one), user, {"Impersonate-User": name})
        assert caught.value.code == 403


def test_the_old_right_is_enough_for_everything() -> None:
    allowed = Allowing("impersonate serviceaccounts robot")
    assert become(allowed, JIM, {"Impersonate-User": ROBOT}).name == ROBOT


def test_a_node_is_its_own_pods_alone() -> None:
    rights = ("impersonate-on:associated-node:list pods", "impersonate:associated-node nodes *")
    for user, node in [(AGENT, "n2"), (User(AGENT.name), "n1"), (JIM, "n1")]:
        with pytest.raises(StatusError):
            become(Allowing(*rights), user, {"Impersonate-User": f"system:node:{node}"})


def test_groups_of_a_node_or_account_are_not_chosen() -> None:
    rights = (
        "impersonate-on:serviceaccount:list pods",
        "impersonate:serviceaccount serviceaccounts robot",
        "impersonate:serviceaccount groups admins",
        "impersonate:user-info groups admins",
    )
    with pytest.raises(StatusError):
        become(Allowing(*rights), JIM, {"Impersonate-User": ROBOT, "Impersonate-Group": "admins"})


def test_no_constrained_user_is_a_master() -> None:
    rights = (
        "impersonate-on:user-info:list pods",
        "impersonate:user-info users jane",
        "impersonate:user-info groups system:masters",
    )
    headers = {"Impersonate-User": "jane", "Impersonate-Group": "system:masters"}
    with pytest.raises(StatusError, match="the system:masters group is not allowed"):
        become(Allowing(*rights), JIM, headers)


def test_many_groups_are_asked_for_at_once() -> None:
    rights = Allowing(
        "impersonate-on:user-info:list pods",
        "impersonate:user-info users jane",
        "impersonate:user-info groups *",
    )
    headers = [("Impersonate-User", "jane"), *(("Impersonate-Group", g) for g in "abcd")]
    assert become(rights, JIM, headers).groups == ("a", "b", "c", "d", "system:authenticated")
    assert len(rights.questions) == 3


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ("Impersonate-Extra-Scopes", "an invalid key in extra"),
        ("Impersonate-Extra-acme.io%2Fteam", "the empty string value in extra"),
    ],
)
def test_odd_extras_are_refused(extra: str, problem: str) -> None:
    rights = ("impersonate-on:user-info:list pods", "impersonate:user-info users jane")
    with pytest.raises(StatusError, match=problem):
        become(Allowing(*rights), JIM, {"Impersonate-User": "jane", extra: ""})


def test_the_last_mode_is_tried_first() -> None:
    rights = Allowing("impersonate users jane")
    impersonation = Impersonation(rights)  # type: ignore[arg-type]
    headers = CIMultiDictProxy(CIMultiDict({"Impersonate-User": "jane"}))
    impersonation.user(headers, JIM, LIST_PODS)
    rights.questions.clear()
    impersonation.user(headers, JIM, LIST_PODS)
    assert rights.questions == ["impersonate users jane"]
