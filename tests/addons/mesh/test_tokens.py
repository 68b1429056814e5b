"""Who a sidecar is by its token: what is looked at before the API server is asked, and what of its
answer."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tiphys.addons.mesh.admittance import (
    NotAdmitted,
    Workload,
    bearer,
    is_meant_for_us,
    workload_of,
)
from tiphys.api import authentication_v1
from tiphys.api.base import from_builtins

OURS = "mesh.tiphys.dev"


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        (),
        [("other", "Bearer t")],
        [("authorization", "t")],
        [("authorization", "Basic t")],
        [("authorization", b"Bearer t")],
        [("authorization", "Bearer t"), ("authorization", "Bearer u")],
    ],
)
def test_a_call_has_one_bearer_token(metadata: Any) -> None:
    with pytest.raises(NotAdmitted, match="a sidecar says with one bearer token whose it is"):
        bearer(metadata)


def test_a_token_has_an_end() -> None:
    """gRPC refuses metadata by lot from 8 KiB on."""
    assert bearer([("x", "y"), ("authorization", "Bearer " + "t" * 6000)]) == "t" * 6000
    with pytest.raises(NotAdmitted, match="at most 6000 bytes"):
        bearer([("authorization", "Bearer " + "t" * 6001)])


def token(payload: Any, parts: int = 3) -> str:
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    middle = base64.urlsafe_b64encode(text).decode().rstrip("=")
    return ".".join(["h", middle, "s", "x"][:parts])


@pytest.mark.parametrize(
    ("text", "is_ours"),
    [
        (token({"aud": OURS}), True),
        (token({"aud": [OURS]}), True),
        (token({"aud": ["other", OURS]}), True),
        (token({"aud": "other"}), False),
        (token({"aud": [f"{OURS}.evil"]}), False),
        (token({"aud": []}), False),
        (token({"aud": None}), False),
        (token({}), False),
        (token([]), False),
        (token(b"{"), False),
        (token(b"\xff"), False),
        (token({"aud": OURS}, parts=2), False),
        (token({"aud": OURS}, parts=4), False),
        ("a.b!.c", False),
        ("", False),
    ],
)
def test_tokens_for_others_are_no_work_for_the_api_server(text: str, is_ours: bool) -> None:
    assert is_meant_for_us(text) is is_ours


def status(**parts: Any) -> authentication_v1.TokenReviewStatus:
    extra = {
        "authentication.kubernetes.io/pod-name": ["web"],
        "authentication.kubernetes.io/pod-uid": ["u1"],
    }
    user = {"username": "system:serviceaccount:shop:asker", "extra": extra}
    plain = {"authenticated": True, "audiences": [OURS], "user": {**user, **parts.pop("user", {})}}
    return from_builtins({**plain, **parts}, authentication_v1.TokenReviewStatus)


def test_a_pod_is_who_its_account_is() -> None:
    made = workload_of(status())
    assert made == Workload("shop", "asker", "web", "u1")
    assert made.key == "shop/web"


NAME, UID = ("authentication.kubernetes.io/pod-name", "authentication.kubernetes.io/pod-uid")

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "one that the API server does not take": (
        {"authenticated": False, "error": "it has expired"},
        "the API server does not take the token: it has expired",
    ),
    "one for somebody else": ({"audiences": ["other"]}, "the API server does not take the token"),
    "one for nobody": ({"audiences": []}, "the API server does not take the token"),
    "a user's": ({"user": {"username": "admin"}}, "the token is not bound to a pod"),
    "one that looks like an account's": (
        {"user": {"username": "x-system:serviceaccount:shop:asker"}},
        "the token is not bound to a pod",
    ),
    "an account's without a name": (
        {"user": {"username": "system:serviceaccount:shop"}},
        "the token is not bound to a pod",
    ),
    "one without a pod": ({"user": {"extra": {}}}, "the token is not bound to a pod"),
    "one without the pod's uid": (
        {"user": {"extra": {NAME: ["web"]}}},
        "the token is not bound to a pod",
    ),
    "one of two pods": (
        {"user": {"extra": {NAME: ["web", "other"], UID: ["u1"]}}},
        "the token is not bound to a pod",
    ),
    "one of a pod with two uids": (
        {"user": {"extra": {NAME: ["web"], UID: ["u1", "u2"]}}},
        "the token is not bound to a pod",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_who_is_no_pod_is_not_let_in(case: str) -> None:
    parts, message = REFUSED[case]
    with pytest.raises(NotAdmitted, match=message):
        workload_of(status(**parts))
