"""Tokens of other issuers: who their claims say that it is, and which are believed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.access.builders import believed, holder, whoami
from tests.attack.wire import ask
from tests.issuer import JWKS, Issuer, configured, issuing, options_of, parse_configuration
from tests.servers import kubeconfig, served
from tiphys.apiserver.access.authenticationoptions import AuthenticationOptions, OIDCOptions
from tiphys.apiserver.access.issuers import TokenError, TokenIssuer
from tiphys.apiserver.access.tokenwebhooks import TokenWebhookOptions
from tiphys.apiserver.http.request import User
from tiphys.machinery.configfiles import ConfigFileError
from tiphys.testing import LocalCluster

REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"


async def user_of(issuer: Issuer, token: str, /, **more: Any) -> User:
    async with believed(issuer, **more) as one:
        return (await one.user(token))[0]


# --- whose ---


@pytest.mark.parametrize(
    "algorithm",
    ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"],
)
async def test_every_algorithm_is_verified(algorithm: str) -> None:
    async with issuing() as issuer:
        issuer.add("other", algorithm)
        assert (await user_of(issuer, issuer.token("other"))).name == "oidc:jane"


async def test_claims_are_mapped_by_name() -> None:
    mappings = {"groups": {"claim": "roles", "prefix": "g:"}, "uid": {"claim": "id"}}
    async with issuing() as issuer:
        token = issuer.token(roles=["a", "b"], id="7", jti="x")
        user = await user_of(issuer, token, mappings=mappings)
        one = await user_of(issuer, issuer.token(roles="a", id="7"), mappings=mappings)
    extra = {"authentication.kubernetes.io/credential-id": ["JTI=x"]}
    assert user == User("oidc:jane", ("g:a", "g:b"), "7", extra)
    assert one.groups == ("g:a",)


async def test_claims_are_mapped_by_expressions() -> None:
    mappings = {
        "username": {"expression": "claims.sub + '@' + claims.org.name"},
        "groups": {"expression": "claims.roles.filter(r, r != 'b')"},
        "uid": {"expression": "claims.sub"},
        "extra": [{"key": "example.org/tier", "valueExpression": "claims.tier"}],
    }
    async with issuing() as issuer:
        token = issuer.token(org={"name": "o"}, roles=["a", "b", ""], tier=["gold", ""])
        user = await user_of(issuer, token, mappings=mappings)
    assert user == User("jane@o", ("a",), "jane", {"example.org/tier": ["gold"]})


@pytest.mark.parametrize(
    ("more", "claims", "problem"),
    [
        ({}, {"aud": "other"}, "expected audience"),
        ({}, {"aud": None}, "expected audience"),
        ({}, {"exp": 1}, "token is expired"),
        ({}, {"exp": None}, "token is expired"),
        ({}, {"exp": "tomorrow"}, "failed to unmarshal claims: exp"),
        ({}, {"nbf": 2**40}, "before the nbf"),
        ({}, {"sub": 3}, 'parse username claims "sub": no string'),
        ({}, {"sub": None}, 'parse username claims "sub": claim not present'),
        (
            {"mappings": {"username": {"claim": "email", "prefix": ""}}},
            {"email": "j@x", "email_verified": False},
            "email not verified",
        ),
        (
            {"mappings": {"groups": {"claim": "roles", "prefix": ""}}},
            {"roles": {"a": 1}},
            'parse groups claim "roles"',
        ),
        (
            {"claimValidationRules": [{"claim": "hd", "requiredValue": "x"}]},
            {"hd": "y"},
            "required claim hd value does not match. Got = y, want = x",
        ),
        (
            {"claimValidationRules": [{"claim": "hd", "requiredValue": "x"}]},
            {},
            "required claim hd not present in ID token",
        ),
        (
            {"claimValidationRules": [{"expression": "claims.n < 5", "message": "too many"}]},
            {"n": 7},
            "validation expression 'claims.n < 5' failed: too many",
        ),
        (
            {"userValidationRules": [{"expression": "!user.username.startsWith('oidc:')"}]},
            {},
            "error evaluating user info validation rule",
        ),
        (
            {"mappings": {"username": {"expression": "claims.nothing"}}},
            {},
            "error evaluating username claim expression",
        ),
    ],
)
async def test_what_does_not_fit_is_refused(
    more: dict[str, Any], claims: dict[str, Any], problem: str
) -> None:
    async with issuing() as issuer:
        with pytest.raises(TokenError) as raised:
            await user_of(issuer, issuer.token(**claims), **more)
    assert problem in str(raised.value)


async def test_one_of_several_audiences_is_enough() -> None:
    several = {"audiences": ["a", "b"], "audienceMatchPolicy": "MatchAny"}
    async with issuing() as issuer:
        assert await user_of(issuer, issuer.token(aud=["x", "b"]), issuer=several)


# --- keys ---


async def test_a_new_key_is_found_when_it_is_used() -> None:
    async with issuing() as issuer, believed(issuer) as one:
        assert await one.user(issuer.token())
        issuer.add("two", "ES256")
        one.keys._tried = -100.0  # it was asked a while ago
        assert await one.user(issuer.token("two"))


async def test_a_key_that_is_withdrawn_is_not_believed_any_more() -> None:
    async with issuing() as issuer, believed(issuer) as one:
        token = issuer.token()
        assert await one.user(token)
        issuer.published = []
        one.keys._tried = one.keys._fetched = -10_000.0
        one.keys.known()  # behind this use they are fetched again
        await one.keys.refreshed()
        with pytest.raises(TokenError):
            await one.user(token)


async def test_keys_are_where_the_discovery_url_says() -> None:
    async with issuing() as real, issuing() as issuer:
        claimed = {"url": "https://issuer.example", "discoveryURL": f"{real.url}/elsewhere"}
        document = {"issuer": claimed["url"], "jwks_uri": real.url + JWKS}
        real.behind.answer = lambda request: (
            {"keys": real.jwks()} if request.path == JWKS else document
        )
        configuration = real.configuration(issuer=claimed)
        one = TokenIssuer(parse_configuration(configured(configuration), "").jwt[0])
        assert (await one.user(real.token(iss=claimed["url"])))[0].name == "oidc:jane"
        await one.keys.close()
        assert not issuer.behind.paths


# --- the server ---


async def test_kubectl_is_let_in_by_a_token(tmp_path: Path) -> None:
    async with issuing() as issuer:
        options = options_of(tmp_path, issuer.configuration())
        async with LocalCluster(authentication=options) as cluster:
            user = await whoami(cluster, issuer.token())
            review = {"spec": {"token": issuer.token()}}
            reviewed = await ask(cluster.client, "POST", REVIEW, {}, review)
    assert user == {"username": "oidc:jane", "groups": ["system:authenticated"]}
    assert reviewed.json["status"]["user"]["username"] == "oidc:jane"


@pytest.mark.needs("kubectl")
async def test_kubectl_itself_uses_a_token(tmp_path: Path) -> None:
    import asyncio

    async with issuing() as issuer:
        options = options_of(tmp_path, issuer.configuration())
        async with LocalCluster(authentication=options) as cluster:
            command = ["kubectl", "--kubeconfig=/dev/null", f"--server={cluster.url}"]
            command += [f"--certificate-authority={cluster.authority.path}"]
            command += [f"--token={issuer.token()}", "auth", "whoami", "-o", "json"]
            run = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert '"username": "oidc:jane"' in run.stdout


async def test_an_issuer_that_is_away_is_401_and_nobody_elses_trouble(tmp_path: Path) -> None:
    async with issuing() as issuer:
        configuration, token = issuer.configuration(), issuer.token()
    async with LocalCluster(authentication=options_of(tmp_path, configuration)) as cluster:
        assert await whoami(cluster, token) == 401
        assert (await ask(cluster.client, "GET", "/api/v1/namespaces")).status == 200


async def test_the_oidc_flags_say_the_same(tmp_path: Path) -> None:
    async with issuing() as issuer:
        oidc = OIDCOptions(
            issuer.url, "kube", issuer.behind.authority, groups_claim="roles", groups_prefix="g:"
        )
        options = AuthenticationOptions(oidc=oidc)
        async with LocalCluster(authentication=options) as cluster:
            issuer.add("two", "RS256")
            user = await whoami(cluster, issuer.token("two", roles=["a"]))
            other = await whoami(cluster, issuer.token("one"))
    assert user["username"] == f"{issuer.url}#jane"
    assert user["groups"] == ["g:a", "system:authenticated"]
    assert other == 401  # RS256 alone, unless another is named


async def test_anonymous_requests_are_let_in_where_the_file_says(tmp_path: Path) -> None:
    anonymous = {"enabled": True, "conditions": [{"path": "/livez"}]}
    options = options_of(tmp_path, anonymous=anonymous)
    async with LocalCluster(authentication=options) as cluster, holder(cluster, "") as nobody:
        assert (await ask(nobody, "GET", "/livez")).status == 200
        assert (await ask(nobody, "GET", "/version")).status == 401


async def test_a_changed_file_is_read_while_the_server_runs(tmp_path: Path) -> None:
    async with issuing() as issuer:
        options = options_of(tmp_path)
        assert options.config_file is not None
        async with LocalCluster(authentication=options) as cluster:
            assert await whoami(cluster, issuer.token()) == 401
            options.config_file.write_bytes(configured(issuer.configuration()))

            async def let_in() -> bool:
                return await whoami(cluster, issuer.token()) != 401

            await cluster.eventually(let_in)
            page = (await ask(cluster.client, "GET", "/metrics")).body.decode()
    assert "apiserver_authentication_config_controller_automatic_reloads_total" in page


async def test_a_webhook_knows_tokens(tmp_path: Path) -> None:
    def answer(request: Any) -> Any:
        token = behind.bodies[-1]["spec"]["token"]
        user = {"username": "hooked", "groups": ["g"], "extra": {"k": ["v"]}}
        return {"status": {"authenticated": token == "good", "user": user}}

    async with served() as behind:
        behind.answer = answer
        options = AuthenticationOptions(webhook=TokenWebhookOptions(kubeconfig(tmp_path, behind)))
        async with LocalCluster(authentication=options) as cluster:
            user = await whoami(cluster, "good")
            assert await whoami(cluster, "bad") == 401
            await whoami(cluster, "good")
    assert user["username"] == "hooked"
    assert user["groups"] == ["g", "system:authenticated"]
    assert len(behind.bodies) == 2  # the third answer was kept
    assert behind.bodies[0]["kind"] == "TokenReview"


# --- the file ---

USERNAME = {"username": {"claim": "sub", "prefix": ""}}
ISSUER = {"url": "https://a", "audiences": ["x"]}


@pytest.mark.parametrize(
    ("authenticator", "problem"),
    [
        ({"issuer": {}}, "jwt[0].issuer.url: Required value"),
        (
            {"issuer": {**ISSUER, "url": "http://a?b#c"}},
            'jwt[0].issuer.url: Invalid value: "http://a?b#c": URL scheme must be https, '
            'jwt[0].issuer.url: Invalid value: "http://a?b#c": URL must not contain a query, '
            'jwt[0].issuer.url: Invalid value: "http://a?b#c": URL must not contain a fragment',
        ),
        (
            {"issuer": {**ISSUER, "url": "https://own"}},
            'jwt[0].issuer.url: Invalid value: "https://own": URL must not overlap with disallowed '
            "issuers: [https://own]",
        ),
        (
            {"issuer": {**ISSUER, "discoveryURL": "https://a/"}},
            "discoveryURL must be different from URL",
        ),
        (
            {"issuer": {"url": "https://a"}},
            "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is "
            "required",
        ),
        (
            {"issuer": {**ISSUER, "audiences": ["a", "b"]}},
            'jwt[0].issuer.audienceMatchPolicy: Invalid value: "": audienceMatchPolicy must be '
            "MatchAny for multiple audiences",
        ),
        (
            {"issuer": {**ISSUER, "certificateAuthority": "x"}},
            'jwt[0].issuer.certificateAuthority: Invalid value: "<omitted>": data does not contain '
            "any valid RSA or ECDSA certificates",
        ),
        (
            {"claimMappings": {}},
            "jwt[0].claimMappings.username: Required value: claim or expression is required",
        ),
        (
            {"claimMappings": {"username": {"claim": "sub"}}},
            "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is "
            "set. It can be set to an empty string to disable prefixing",
        ),
        (
            {"claimMappings": {"username": {"expression": "claims.email"}}},
            "claims.email_verified must be used in claimMappings.username.expression or",
        ),
        (
            {"claimMappings": {"username": {"expression": "claims."}}},
            'jwt[0].claimMappings.username.expression: Invalid value: "claims.": compilation failed',
        ),
        (
            {"claimMappings": {**USERNAME, "extra": [{"key": "Foo", "valueExpression": "'a'"}]}},
            'jwt[0].claimMappings.extra[0].key: Invalid value: "Foo": must be a domain-prefixed '
            'path (such as "acme.io/foo"), jwt[0].claimMappings.extra[0].key: Invalid value: "Foo": '
            "must be lowercase",
        ),
        (
            {
                "claimMappings": {
                    **USERNAME,
                    "extra": [{"key": "x.k8s.io/a", "valueExpression": "''"}],
                }
            },
            "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use",
        ),
        (
            {"claimValidationRules": [{}]},
            "jwt[0].claimValidationRules[0]: Required value: claim or expression is required",
        ),
        (
            {"claimValidationRules": [{"expression": "'a'"}]},
            "jwt[0].claimValidationRules[0].expression: Invalid value: \"'a'\": must evaluate to bool",
        ),
        (
            {"userValidationRules": [{"expression": "user.nothing == ''"}]},
            "jwt[0].userValidationRules[0].expression: Invalid value",
        ),
        ({"issuers": 1}, 'strict decoding error: unknown field "jwt[0].issuers"'),
    ],
)
def test_what_is_wrong_with_the_file_is_said(authenticator: dict[str, Any], problem: str) -> None:
    whole = {"issuer": ISSUER, "claimMappings": USERNAME, **authenticator}
    with pytest.raises(ConfigFileError) as raised:
        parse_configuration(configured(whole), "https://own")
    assert problem in str(raised.value)


def test_a_rule_that_stands_twice_is_looked_at_once() -> None:
    rules = [{"expression": "user.nothing == ''"}] * 2
    authenticator = {"issuer": ISSUER, "claimMappings": USERNAME, "userValidationRules": rules}
    with pytest.raises(ConfigFileError) as raised:
        parse_configuration(configured(authenticator), "https://own")
    assert str(raised.value).count("Duplicate value") == 1
    assert str(raised.value).count("Invalid value") == 1


def test_conditions_need_anonymous_requests() -> None:
    with pytest.raises(ConfigFileError, match="enabled should be set to true when conditions"):
        parse_configuration(configured(anonymous={"conditions": [{"path": "/"}]}), "")
