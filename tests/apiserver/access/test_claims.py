"""What the claims of an issuer's token say: whether it is for here and now, and whose it is. Rules and
sentences are upstream's (oidc.go)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.apiserver.access.builders import authority
from tests.apiserver.tables import each_row
from tiphys.api.base import from_builtins
from tiphys.apiserver.access.authenticationtypes import JWTAuthenticator
from tiphys.apiserver.access.issuers import (
    CREDENTIAL,
    Issuers,
    TokenError,
    TokenIssuer,
    untrusted_issuer,
)
from tiphys.apiserver.http.request import User

NOW = 1_000_000.0
USERNAME = {"username": {"claim": "sub", "prefix": "p:"}}


def issuer(
    mappings: Any = None, audiences: tuple[str, ...] = ("kube",), **more: Any
) -> TokenIssuer:
    body = {
        "issuer": {
            "url": "https://a",
            "audiences": list(audiences),
            "certificateAuthority": authority(),
        },
        "claimMappings": {**USERNAME, **(mappings or {})},
        **more,
    }
    return TokenIssuer(from_builtins(body, JWTAuthenticator), now=lambda: NOW)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@each_row(
    [
        (f"x.{part({'iss': 'https://a'})}.z", "https://a"),
        (f"x.{part({'iss': 'accounts.google.com'})}.z", "https://accounts.google.com"),
        (f"x.{part({'iss': 5})}.z", ""),
        (f"x.{part({})}.z", ""),
        (f"x.{part([])}.z", ""),
        ("x.!.z", ""),
        ("x.e30", ""),
        ("a.b.c.d", ""),
        (f"x.{part({'iss': 'https://a'})}.".ljust(256 << 10, "z"), "https://a"),
        (f"x.{part({'iss': 'https://a'})}.".ljust((256 << 10) + 1, "z"), ""),
    ],
)
def test_who_a_token_says_that_it_is_from(token: str, url: str) -> None:
    assert untrusted_issuer(token) == url


# --- here and now ---

FINE = {"aud": "kube", "exp": NOW + 1}


@each_row(
    [
        (FINE, ""),
        ({**FINE, "aud": ["other", "kube"]}, ""),
        ({**FINE, "aud": "other"}, "expected audience in ['kube']"),
        ({**FINE, "aud": ["other", 5]}, "expected audience"),
        ({**FINE, "aud": None}, "expected audience"),
        ({"aud": "kube"}, "token is expired"),
        ({**FINE, "exp": NOW}, "token is expired"),
        ({**FINE, "exp": NOW + 0.5}, ""),
        ({**FINE, "exp": "soon"}, "failed to unmarshal claims: exp"),
        ({**FINE, "exp": True}, "failed to unmarshal claims: exp"),
        ({**FINE, "exp": float("inf")}, "failed to unmarshal claims: exp"),
        ({**FINE, "nbf": NOW + 300}, ""),
        ({**FINE, "nbf": NOW + 301}, "before the nbf"),
        ({**FINE, "nbf": None}, ""),
        ({**FINE, "nbf": "x"}, "failed to unmarshal claims: nbf"),
    ],
)
def test_when_and_for_whom_a_token_holds(claims: dict[str, Any], problem: str) -> None:
    if problem:
        with pytest.raises(TokenError, match=problem.replace("[", "\\[").replace("]", "\\]")):
            issuer()._check(claims)
    else:
        assert issuer()._check(claims) == claims["exp"]


# --- whose ---


async def mapped(claims: dict[str, Any], mappings: Any = None, **more: Any) -> User | str:
    """Whose it is, or why not."""
    try:
        return await issuer(mappings, **more)._mapped({"sub": "jane", **claims})
    except TokenError as error:
        return str(error).removeprefix("oidc: ")


def named(expression: str) -> dict[str, Any]:
    return {"username": {"expression": expression}}


MAIL = {"username": {"claim": "email", "prefix": ""}}


@pytest.mark.parametrize(
    ("claims", "mappings", "name"),
    [
        ({}, {}, "p:jane"),
        ({}, {"username": {"claim": "sub"}}, "jane"),
        ({"sub": 5}, {}, 'parse username claims "sub": no string'),
        ({}, {"username": {"claim": "x", "prefix": ""}}, 'parse username claims "x": claim not present'),
        ({}, named("claims.sub + '!'"), "jane!"),
        ({}, named("''"), "empty username via CEL expression is not allowed"),
        ({}, named("1"), "error evaluating username claim expression: username claim expression must return a string"),
        ({}, named("claims.x"), "error evaluating username claim expression: expression 'claims.x' resulted in error: no such key: x"),
        ({"email": "j@a"}, MAIL, "j@a"),
        ({"email": "j@a", "email_verified": True}, MAIL, "j@a"),
        ({"email": "j@a", "email_verified": False}, MAIL, "email not verified"),
        ({"email": "j@a", "email_verified": "yes"}, MAIL, "parse 'email_verified' claim: no boolean"),
        ({"email_verified": False}, {}, "p:jane"),
    ],
)  # fmt: skip
async def test_the_name(claims: dict[str, Any], mappings: Any, name: str) -> None:
    user = await mapped(claims, mappings)
    assert (user.name if isinstance(user, User) else user) == name


GROUPS = {"groups": {"claim": "groups", "prefix": "g:"}}
LIST = "expression must return a string or a list of strings"


@pytest.mark.parametrize(
    ("claims", "mappings", "groups"),
    [
        ({}, {}, ()),
        ({"groups": ["a", "b"]}, {}, ()),
        ({"groups": ["a", "b"]}, GROUPS, ("g:a", "g:b")),
        ({"groups": "a"}, GROUPS, ("g:a",)),
        ({"groups": ["a"]}, {"groups": {"claim": "groups"}}, ("a",)),
        ({}, GROUPS, ()),
        ({"groups": [1]}, GROUPS, 'parse groups claim "groups": no list of strings'),
        ({"groups": {}}, GROUPS, 'parse groups claim "groups": no list of strings'),
        ({}, {"groups": {"expression": "['a', '', 'b']"}}, ("a", "b")),
        ({}, {"groups": {"expression": "'a'"}}, ("a",)),
        ({}, {"groups": {"expression": "''"}}, ()),
        ({}, {"groups": {"expression": "null"}}, ()),
        ({}, {"groups": {"expression": "[1]"}}, f"error evaluating group claim expression: {LIST}"),
        ({}, {"groups": {"expression": "1"}}, f"error evaluating group claim expression: {LIST}"),
    ],
)
async def test_the_groups(claims: dict[str, Any], mappings: Any, groups: Any) -> None:
    user = await mapped(claims, mappings)
    assert (user.groups if isinstance(user, User) else user) == groups


@pytest.mark.parametrize(
    ("uid", "value"),
    [
        ({}, ""),
        ({"claim": "sub"}, "jane"),
        ({"claim": "x"}, 'parse uid claim "x": claim not present'),
        ({"expression": "claims.sub"}, "jane"),
        ({"expression": "1"}, "error evaluating uid claim expression: uid claim expression must return a string"),
    ],
)  # fmt: skip
async def test_the_uid(uid: dict[str, str], value: str) -> None:
    user = await mapped({}, {"uid": uid})
    assert (user.uid if isinstance(user, User) else user) == value


@pytest.mark.parametrize(
    ("claims", "expression", "extra"),
    [
        ({}, "'v'", {"a.b/c": ["v"]}),
        ({}, "['v', 'w']", {"a.b/c": ["v", "w"]}),
        ({}, "''", {}),
        ({}, "null", {}),
        ({"jti": "1"}, "''", {CREDENTIAL: ["JTI=1"]}),
        ({"jti": ""}, "''", {}),
        ({"jti": 1}, "''", {}),
        ({}, "1", f"error evaluating extra claim expression: {LIST}"),
    ],
)
async def test_the_rest(claims: dict[str, Any], expression: str, extra: Any) -> None:
    mappings = {"extra": [{"key": "a.b/c", "valueExpression": expression}]}
    user = await mapped(claims, mappings)
    assert (user.extra if isinstance(user, User) else user) == extra


# --- rules ---


def rule(**parts: str) -> dict[str, Any]:
    return {"claimValidationRules": [parts]}


def about_user(expression: str) -> dict[str, Any]:
    return {"userValidationRules": [{"expression": expression, "message": "no"}]}


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        (rule(claim="sub", requiredValue="jane"), ""),
        (rule(claim="sub", requiredValue="joe"), "required claim sub value does not match. Got = jane, want = joe"),
        (rule(claim="x"), "required claim x not present in ID token"),
        (rule(expression="claims.sub == 'jane'"), ""),
        (rule(expression="claims.sub == 'joe'", message="no"), "error evaluating claim validation expression: validation expression 'claims.sub == 'joe'' failed: no"),
        (rule(expression="claims.x"), "error evaluating claim validation expression: expression 'claims.x' resulted in error: no such key: x"),
        (rule(expression="1", message="no"), "error evaluating claim validation expression: validation expression '1' failed: no"),
        (about_user("user.username == 'p:jane' && user.uid == '' && size(user.groups) == 0"), ""),
        (about_user("user.username == 'jane'"), "error evaluating user info validation rule: validation expression 'user.username == 'jane'' failed: no"),
    ],
)  # fmt: skip
async def test_rules(rules: dict[str, Any], problem: str) -> None:
    user = await mapped({}, **rules)
    assert (user if isinstance(user, str) else "") == problem


async def test_a_token_of_somebody_else_is_nobodys_here() -> None:
    token = f"x.{part({'iss': 'https://b'})}.z"
    assert await Issuers([]).user(token) is None
    assert await Issuers([issuer()]).user(token) is None


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        ({"alg": "none"}, 'id token signed with algorithm "none"'),
        ({}, 'id token signed with algorithm "None"'),
        ({"alg": "ES256", "crit": []}, "the head of the token is not understood"),
        ({"alg": "ES256", "kid": 5}, "the head of the token is not understood"),
    ],
)
async def test_a_head_that_is_not_understood(head: dict[str, Any], problem: str) -> None:
    token = f"{part(head)}.{part({'iss': 'https://a'})}.z"
    with pytest.raises(TokenError, match=problem):
        await Issuers([issuer()]).user(token)
