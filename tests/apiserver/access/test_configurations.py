"""The files that configure who is let in and who decides: both sides of each rule of upstream's
apiserver/validation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.tables import each_row
from tests.issuer import configured
from tiphys.api.base import from_builtins
from tiphys.apiserver.access.authenticationconfiguration import (
    configuration_errors as authentication_errors,
)
from tiphys.apiserver.access.authenticationconfiguration import parse_configuration
from tiphys.apiserver.access.authenticationtypes import AuthenticationConfiguration
from tiphys.apiserver.access.authorizationconfiguration import AuthorizationConfiguration
from tiphys.apiserver.access.authorizationconfiguration import (
    configuration_errors as authorization_errors,
)
from tiphys.apiserver.access.authorizationconfiguration import (
    parse_configuration as parse_authorization,
)

ISSUER = {"url": "https://a", "audiences": ["x"]}
NAME = {"username": {"claim": "sub", "prefix": ""}}


def authenticator(issuer: Any = None, mappings: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "issuer": {**ISSUER, **(issuer or {})},
        "claimMappings": {**NAME, **(mappings or {})},
        **more,
    }


def wrong_with(*authenticators: dict[str, Any], **more: Any) -> list[str]:
    body = {"jwt": list(authenticators), **more}
    configuration = from_builtins(body, AuthenticationConfiguration)
    return [error.field for error in authentication_errors(configuration, "https://own")]


def extra(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"extra": [{"key": key, "valueExpression": text} for key, text in pairs]}


def claims(*rules: dict[str, Any]) -> dict[str, Any]:
    return authenticator(claimValidationRules=list(rules))


def users(*expressions: str) -> dict[str, Any]:
    return authenticator(userValidationRules=[{"expression": text} for text in expressions])


EMAIL = {"username": {"expression": "claims.email"}}
VERIFIED = "claims.?email_verified.orValue(true)"


@each_row(
    [
        (authenticator(), []),
        (authenticator({"url": "https://"}), ["issuer.url"]),
        (authenticator({"url": "https://u@a"}), ["issuer.url"]),
        (authenticator({"url": "https://a:x"}), ["issuer.url"]),
        (authenticator({"url": "https://own"}), ["issuer.url"]),
        (authenticator({"discoveryURL": "https://b/c"}), []),
        (authenticator({"discoveryURL": "https://own"}), []),
        (authenticator({"discoveryURL": "http://b"}), ["issuer.discoveryURL"]),
        (authenticator({"discoveryURL": "https://a//"}), ["issuer.discoveryURL"]),
        (authenticator({"audiences": ["x", ""], "audienceMatchPolicy": "MatchAny"}), ["issuer.audiences[1]"]),
        (authenticator({"audiences": ["x", "x"], "audienceMatchPolicy": "MatchAny"}), ["issuer.audiences[1]"]),
        (authenticator({"audiences": ["x", "y"], "audienceMatchPolicy": "MatchAny"}), []),
        (authenticator({"audienceMatchPolicy": "MatchAny"}), []),
        (authenticator({"audienceMatchPolicy": "MatchAll"}), ["issuer.audienceMatchPolicy"]),
        (authenticator({"egressSelectorType": "cluster"}), []),
        (authenticator({"egressSelectorType": "controlplane"}), []),
        (authenticator({"egressSelectorType": "moon"}), ["issuer.egressSelectorType"]),
        # --- mappings ---
        (authenticator(mappings={"username": {"claim": "a", "expression": "claims.b"}}), ["claimMappings.username"]),
        (authenticator(mappings={"username": {"expression": "claims.b"}}), []),
        (authenticator(mappings={"username": {"expression": "claims.b", "prefix": ""}}), ["claimMappings.username.prefix"]),
        (authenticator(mappings={"groups": {"claim": "g", "prefix": "p:"}}), []),
        (authenticator(mappings={"groups": {"claim": "g"}}), ["claimMappings.groups.prefix"]),
        (authenticator(mappings={"groups": {"claim": "g", "expression": "claims.g"}}), ["claimMappings.groups"]),
        (authenticator(mappings={"uid": {"claim": "u"}}), []),
        (authenticator(mappings={"uid": {"expression": "claims.u"}}), []),
        (authenticator(mappings={"uid": {"claim": "u", "expression": "claims.u"}}), ["claimMappings.uid"]),
        (authenticator(mappings={"uid": {"expression": "claims."}}), ["claimMappings.uid.expression"]),
        (authenticator(mappings=extra(("a.b/c", "claims.x"), ("a.b/d", "claims.x"))), []),
        (authenticator(mappings=extra(("a.b/c", "claims.x"), ("a.b/c", "claims."))), ["claimMappings.extra[1].key"]),
        (authenticator(mappings=extra(("a.b/c", ""))), ["claimMappings.extra[0].valueExpression"]),
        (authenticator(mappings=extra(("a.b/c", "claims."))), ["claimMappings.extra[0].valueExpression"]),
        (authenticator(mappings=extra(("", "claims.x"))), ["claimMappings.extra[0].key"]),
        (authenticator(mappings=extra(("a.b/", "claims.x"))), ["claimMappings.extra[0].key"]),
        (authenticator(mappings=extra(("a.b/C", "claims.x"))), ["claimMappings.extra[0].key"]),
        (authenticator(mappings=extra(("a_b/c", "claims.x"))), ["claimMappings.extra[0].key"]),
        (authenticator(mappings=extra(("k8s.io/c", "claims.x"))), ["claimMappings.extra[0].key"]),
        (authenticator(mappings=extra(("notk8s.io/c", "claims.x"))), []),
        (authenticator(mappings=extra(("a.kubernetes.io/c", "claims.x"))), ["claimMappings.extra[0].key"]),
        # --- an address has to be verified ---
        (authenticator(mappings=EMAIL), ["claimMappings.username.expression"]),
        (authenticator(mappings={"username": {"expression": f"{VERIFIED} ? claims.email : ''"}}), []),
        (authenticator(mappings={**EMAIL, **extra(("a.b/c", f"string({VERIFIED})"))}), []),
        (authenticator(mappings={**EMAIL, **extra(("a.b/c", "string(claims.x.email_verified)"))}), ["claimMappings.username.expression"]),
        (authenticator(mappings={**EMAIL, **extra(("a.b/c", "string(claims.email_verified)"))}), []),
        (authenticator(mappings=EMAIL, claimValidationRules=[{"expression": "claims.email_verified == true"}]), []),
        (authenticator(mappings={"username": {"expression": "claims.other.email"}}), []),
        # --- rules ---
        (claims({"claim": "a", "requiredValue": "b"}, {"claim": "c"}), []),
        (claims({"claim": "a", "expression": "true"}), ["claimValidationRules[0]"]),
        (claims({"claim": "a", "message": "m"}), ["claimValidationRules[0].message"]),
        (claims({"claim": "a"}, {"claim": "a"}), ["claimValidationRules[1].claim"]),
        (claims({"expression": "true", "message": "m"}), []),
        (claims({"expression": "true", "requiredValue": "b"}), ["claimValidationRules[0].requiredValue"]),
        (claims({"expression": "true"}, {"expression": "true"}), ["claimValidationRules[1].expression"]),
        (claims({"expression": "1"}), ["claimValidationRules[0].expression"]),
        (users("user.username != ''", "size(user.groups) > 0", "user.uid == ''"), []),
        (users("user.extra['a.b/c'][0] == 'x'"), []),
        (users(""), ["userValidationRules[0].expression"]),
        (users("claims.sub == ''"), ["userValidationRules[0].expression"]),
        (users("user.username"), ["userValidationRules[0].expression"]),
    ],
)  # fmt: skip
def test_an_issuer(one: dict[str, Any], wrong: list[str]) -> None:
    found = wrong_with(one)
    assert found == [f"jwt[0].{field}" for field in wrong]


def test_issuers_stand_once() -> None:
    second = authenticator({"url": "https://b"})
    assert wrong_with(authenticator(), second) == []
    assert wrong_with(authenticator(), authenticator()) == ["jwt[1].issuer.url"]
    both = [authenticator({"url": f"https://{name}", "discoveryURL": "https://d"}) for name in "ab"]
    assert wrong_with(*both) == ["jwt[1].issuer.discoveryURL"]


def test_there_are_64_issuers_at_most() -> None:
    many = [authenticator({"url": f"https://a{number}"}) for number in range(65)]
    assert wrong_with(*many[:64]) == [] and wrong_with(*many) == ["jwt"]


@pytest.mark.parametrize(
    ("anonymous", "wrong"),
    [
        ({"enabled": True, "conditions": [{"path": "/livez"}]}, []),
        ({"enabled": False}, []),
        ({"enabled": False, "conditions": [{"path": "/livez"}]}, ["anonymous.conditions"]),
    ],
)
def test_who_names_nobody(anonymous: dict[str, Any], wrong: list[str]) -> None:
    assert wrong_with(anonymous=anonymous) == wrong
    if not wrong:
        assert parse_configuration(configured(anonymous=anonymous), "").anonymous is not None


# --- who decides ---


def webhook(**parts: Any) -> dict[str, Any]:
    whole = {
        "timeout": "3s",
        "authorizedTTL": "5m",
        "unauthorizedTTL": "30s",
        "subjectAccessReviewVersion": "v1",
        "matchConditionSubjectAccessReviewVersion": "v1",
        "failurePolicy": "Deny",
        "connectionInfo": {"type": "InClusterConfig"},
    }
    return {"type": "Webhook", "name": "w", "webhook": {**whole, **parts}}


def connected(**info: Any) -> dict[str, Any]:
    return webhook(connectionInfo=info)


def conditions(*expressions: str, **more: Any) -> dict[str, Any]:
    return webhook(matchConditions=[{"expression": text} for text in expressions], **more)


USER = "request.user == 'x'"
MANY = [f"request.user == '{number}'" for number in range(65)]
HERE = str(Path(__file__))


@each_row(
    [
        ({"type": "RBAC", "name": "r"}, []),
        ({"type": "Node", "name": "r"}, []),
        ({"type": "AlwaysDeny", "name": "r"}, []),
        ({"type": "", "name": "r"}, ["type"]),
        ({"type": "Magic", "name": ""}, ["type"]),
        ({"type": "RBAC", "name": ""}, ["name"]),
        ({"type": "RBAC", "name": "R"}, ["name"]),
        ({"type": "RBAC", "name": "r", "webhook": {}}, ["webhook"]),
        ({"type": "Webhook", "name": "w"}, ["webhook"]),
        (webhook(), []),
        (webhook(timeout="30s"), []),
        (webhook(timeout="30001ms"), ["timeout"]),
        (webhook(timeout="0s"), ["timeout"]),
        (webhook(timeout=""), ["timeout"]),
        (webhook(timeout="-1s"), ["timeout"]),
        (webhook(timeout="soon"), ["timeout"]),
        (webhook(authorizedTTL="-1s"), ["authorizedTTL"]),
        (webhook(unauthorizedTTL="x"), ["unauthorizedTTL"]),
        (webhook(subjectAccessReviewVersion="v1beta1"), []),
        (webhook(subjectAccessReviewVersion="v2"), ["subjectAccessReviewVersion"]),
        (webhook(subjectAccessReviewVersion=""), ["subjectAccessReviewVersion"]),
        (webhook(matchConditionSubjectAccessReviewVersion=""), []),
        (webhook(matchConditionSubjectAccessReviewVersion="v1beta1"), ["matchConditionSubjectAccessReviewVersion"]),
        (webhook(failurePolicy="NoOpinion"), []),
        (webhook(failurePolicy=""), ["failurePolicy"]),
        (webhook(failurePolicy="Allow"), ["failurePolicy"]),
        (connected(), ["connectionInfo.type"]),
        (connected(type="Other"), ["connectionInfo.type"]),
        (connected(type="InClusterConfig", kubeConfigFile="/x"), ["connectionInfo.kubeConfigFile"]),
        (connected(type="KubeConfigFile"), ["connectionInfo.kubeConfigFile"]),
        (connected(type="KubeConfigFile", kubeConfigFile=HERE), []),
        (connected(type="KubeConfigFile", kubeConfigFile="here"), ["connectionInfo.kubeConfigFile"]),
        (connected(type="KubeConfigFile", kubeConfigFile="/nowhere/at/all"), ["connectionInfo.kubeConfigFile"]),
        (connected(type="KubeConfigFile", kubeConfigFile="/"), ["connectionInfo.kubeConfigFile"]),
        (conditions(USER, "has(request.resourceAttributes)"), []),
        (conditions(USER, matchConditionSubjectAccessReviewVersion=""), ["matchConditionSubjectAccessReviewVersion"]),
        (conditions(USER, USER), ["matchConditions[1].expression"]),
        (conditions(" "), ["matchConditions[0].expression"]),
        (conditions("request.user"), ["matchConditions[0].expression"]),
        (conditions("request.nothing == ''"), ["matchConditions[0].expression"]),
        (conditions(*MANY[:64]), []),
        (conditions(*MANY), ["matchConditions"]),
    ],
)  # fmt: skip
def test_an_authorizer(one: dict[str, Any], wrong: list[str]) -> None:
    configuration = from_builtins({"authorizers": [one]}, AuthorizationConfiguration)
    found = [error.field for error in authorization_errors(configuration)]
    assert found == [f"authorizers[0].{field}" for field in wrong]


def test_somebody_decides() -> None:
    [error] = authorization_errors(AuthorizationConfiguration())
    assert (error.field, error.reason) == ("authorizers", "FieldValueRequired")


def test_names_and_kinds_stand_once() -> None:
    rows = [{"type": "RBAC", "name": "r"}, {"type": "RBAC", "name": "s"}, webhook(), webhook()]
    configuration = from_builtins({"authorizers": rows}, AuthorizationConfiguration)
    found = [error.field for error in authorization_errors(configuration)]
    assert found == ["authorizers[1].type", "authorizers[3].name"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({}, ("5m", "30s")),
        ({"authorizedTTL": "0s", "unauthorizedTTL": "0"}, ("5m", "30s")),
        ({"authorizedTTL": "1m", "unauthorizedTTL": "2m"}, ("1m", "2m")),
    ],
)
def test_how_long_answers_are_kept(said: dict[str, str], kept: tuple[str, str]) -> None:
    one = webhook()
    del one["webhook"]["authorizedTTL"], one["webhook"]["unauthorizedTTL"]
    one["webhook"] |= said
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration"}
    parsed = parse_authorization(json.dumps({**head, "authorizers": [one]}).encode())
    hook = parsed.authorizers[0].webhook
    assert hook is not None and (hook.authorized_ttl, hook.unauthorized_ttl) == kept


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("request.user", "must evaluate to bool"),
        ("request.nothing == ''", "compilation failed: ERROR: <input>:1:8: undefined field 'nothing'"),
        ("", "Required value"),
        (USER, ""),
    ],
)  # fmt: skip
def test_what_is_said_of_a_condition(expression: str, says: str) -> None:
    configuration = from_builtins({"authorizers": [conditions(expression)]}, AuthorizationConfiguration)  # fmt: skip
    found = [str(error.detail) for error in authorization_errors(configuration)]
    assert [says in text for text in found] == [True] * bool(says)


@each_row(
    [
        (claims({"expression": "1"}), "must evaluate to bool"),
        (claims({"expression": "claims."}), "compilation failed: ERROR"),
        (users("user.username"), "must evaluate to bool"),
        (authenticator({"url": "http://a"}), "URL scheme must be https"),
        (authenticator({"url": "https://"}), "URL must have a host"),
        (authenticator({"url": "https://u@a"}), "URL must not contain a username or password"),
        (authenticator({"audienceMatchPolicy": "x"}), "must be empty or MatchAny for single audience"),
        (authenticator(mappings=extra(("a", "claims.x"))), "must be a domain-prefixed path"),
        (authenticator(mappings=extra(("a.b/C", "claims.x"))), "must be lowercase"),
        (claims({"claim": "a", "expression": "true"}), "claim and expression can't both be set"),
    ],
)  # fmt: skip
def test_what_is_said_of_an_issuer(one: dict[str, Any], says: str) -> None:
    configuration = from_builtins({"jwt": [one]}, AuthenticationConfiguration)
    [error] = authentication_errors(configuration, "https://own")
    assert says in error.detail
