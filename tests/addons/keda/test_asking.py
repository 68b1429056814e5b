"""HTTP of triggers: where it may go, what it says of itself, and how it fails."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import test_utils, web

from tests.addons.keda.tables import Web, fails, made
from tiphys.addons.keda.asking import decoded, tls_context
from tiphys.addons.keda.scaler import ScalerError
from tiphys.addons.reaching import Place, ReachError
from tiphys.api.base import from_builtins

METRICS = {"url": "http://h/m", "valueLocation": "a", "targetValue": "3"}
OAUTH = {"oauthTokenURI": "http://t/token", "clientID": "id", "clientSecret": "s"}


class Reach:
    """Leads nowhere but to loopback, and not there either if it is not `allowed`."""

    def __init__(self, allowed: bool = True) -> None:
        self.allowed = allowed
        self.asked: list[tuple[str, int]] = []

    async def find(self, host: str, port: int, namespace: str = "") -> Place:
        self.asked.append((host, port))
        if not self.allowed:
            raise ReachError("that may not be asked")
        return Place("127.0.0.1", port)


def reaching(scaler: Any, reach: Reach) -> Any:
    object.__setattr__(scaler.config.surroundings, "reach", reach)
    return scaler


@asynccontextmanager
async def server(**headers: str) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """Answers ``{"a": 7}``, or leads elsewhere; keeps what it was asked."""
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        if request.path == "/slow":
            await asyncio.Event().wait()
        if request.path == "/elsewhere":
            return web.Response(status=302, headers={"Location": "/m"})
        return web.json_response({"a": 7})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with test_utils.TestServer(app) as running:
        yield f"http://127.0.0.1:{running.port}", asked


# --- where it may go ---


async def test_an_address_is_looked_at_before_it_is_asked() -> None:
    async with server() as (url, asked):
        reach = Reach()
        scaler = reaching(made("metrics-api", {**METRICS, "url": f"{url}/m"}), reach)
        assert await scaler.measure() == 7
        port = int(url.rpartition(":")[2])
        assert reach.asked == [("127.0.0.1", port)]
        reach.allowed = False
        assert "that may not be asked" in await fails(scaler.measure())
        assert len(asked) == 1
        await scaler.close()


async def test_a_name_is_looked_at_too() -> None:
    async with server() as (url, _):
        port = int(url.rpartition(":")[2])
        reach = Reach()
        scaler = made("metrics-api", {**METRICS, "url": f"http://name.lab:{port}/m"})
        assert await reaching(scaler, reach).measure() == 7
        assert reach.asked == [("name.lab", port)]
        await scaler.close()
        reach.allowed = False
        again = reaching(
            made("metrics-api", {**METRICS, "url": f"http://other.lab:{port}/m"}), reach
        )
        assert "that may not be asked" in await fails(again.measure())
        await again.close()


async def test_where_an_answer_leads_is_not_followed() -> None:
    async with server() as (url, asked):
        scaler = reaching(made("metrics-api", {**METRICS, "url": f"{url}/elsewhere"}), Reach())
        assert "/elsewhere: api returned 302" in await fails(scaler.measure())
        assert len(asked) == 1
        await scaler.close()


@pytest.mark.parametrize("url", ["ftp://h/m", "h/m", "http://", "file:///etc/passwd"])
async def test_only_http_is_spoken(url: str) -> None:
    scaler = reaching(made("metrics-api", {**METRICS, "url": url}), Reach())
    assert "unsupported protocol scheme" in await fails(scaler.measure())


async def test_who_does_not_answer_is_not_waited_for() -> None:
    async with server() as (url, _):
        metadata = {**METRICS, "url": f"{url}/slow", "timeout": "20"}
        scaler = reaching(made("metrics-api", metadata), Reach())
        text = f'error requesting metrics endpoint: Get "{url}/slow": no answer in time'
        assert await fails(scaler.measure()) == text
        await scaler.close()


# --- who asks ---


@pytest.mark.parametrize(
    ("mode", "auth", "headers"),
    [
        ("", {}, {}),
        ("basic", {"username": "u", "password": "p"}, {"Authorization": "Basic dTpw"}),
        ("basic", {"username": "u"}, {"Authorization": "Basic dTo="}),
        ("bearer", {"token": "t"}, {"Authorization": "Bearer t"}),
        ("custom", {"customAuthHeader": "X", "customAuthValue": "v"}, {"X": "v"}),
        (
            "apiKey,bearer",
            {"apiKey": "k", "token": "t"},
            {"X-API-KEY": "k", "Authorization": "Bearer t"},
        ),
    ],
)
async def test_a_trigger_proves_who_it_is(
    mode: str, auth: dict[str, str], headers: dict[str, str]
) -> None:
    metadata = {**METRICS, **({"authModes": mode} if mode else {})}
    scaler = made("metrics-api", metadata, auth)
    web_ = Web(scaler, h={"a": 1})
    await scaler.measure()
    assert web_.asked[0][3] == headers


@pytest.mark.parametrize(
    ("mode", "auth", "text"),
    [
        ("bearer", {}, "bearer token=<empty> is required when bearer auth is enabled"),
        ("basic", {}, "username=<empty> is required when basic auth is enabled"),
        ("tls", {"cert": "c"}, "cert=c and key=<empty> are required when tls auth is enabled"),
        (
            "oauth",
            {"clientID": "i"},
            "oauthTokenURI=<empty> and clientID=i are required when oauth is enabled",
        ),
        (
            "custom",
            {"customAuthHeader": "h"},
            "customAuthHeader=h and customAuthValue=<empty> are required when custom auth is",
        ),
        ("apiKey", {}, "apiKey is required when apiKey auth is enabled"),
        ("basic,bearer", {"username": "u", "token": "t"}, "must contain only one of"),
    ],
)
def test_a_mode_lacks_what_it_needs(mode: str, auth: dict[str, str], text: str) -> None:
    with pytest.raises(ScalerError) as refused:
        made("metrics-api", {**METRICS, "authModes": mode}, auth)
    assert text in str(refused.value)


class Tokens:
    """Gives out a token, and then what was asked for."""

    def __init__(self, scaler: Any, status: int = 200) -> None:
        self.forms: list[str] = []
        self.status = status
        self.proofs: list[str] = []
        scaler._sent = self._sent

    async def _sent(self, method: str, url: Any, body: Any, headers: Any) -> Any:
        if url.host == "t":
            assert headers["Content-Type"] == "application/x-www-form-urlencoded"
            self.forms.append(body.decode())
            return self.status, b'{"access_token":"tok"}'
        self.proofs.append(headers["Authorization"])
        return 200, b'{"a":1}'


async def test_a_token_is_asked_for_once() -> None:
    more = {"scopes": "a,b", "endpointParams": "audience=x+y"}
    scaler = made("metrics-api", {**METRICS, "authModes": "oauth"}, {**OAUTH, **more})
    tokens = Tokens(scaler)
    await scaler.measure()
    await scaler.measure()
    form = "grant_type=client_credentials&client_id=id&client_secret=s&scope=a+b&audience=x+y"
    assert tokens.forms == [form]
    assert tokens.proofs == ["Bearer tok"] * 2


async def test_a_token_that_is_refused_is_a_failure() -> None:
    scaler = made("metrics-api", {**METRICS, "authModes": "oauth"}, OAUTH)
    Tokens(scaler, 401)
    assert "oauth2: cannot fetch token: 401" in await fails(scaler.measure())


@pytest.mark.parametrize(
    "error", [aiohttp.ClientError("x"), OSError("x"), ValueError("x"), TimeoutError()]
)
async def test_every_failure_names_the_address(error: Exception) -> None:
    scaler = made("metrics-api", METRICS)

    async def sent(*_: Any) -> Any:
        raise error

    scaler._sent = sent
    words = "no answer in time" if isinstance(error, TimeoutError) else "x"
    text = f'error requesting metrics endpoint: Get "http://h/m": {words}'
    assert await fails(scaler.measure()) == text


# --- TLS and JSON ---


def test_tls_is_verified_unless_it_is_not_wanted() -> None:
    safe, unsafe = tls_context(), tls_context(unsafe=True)
    assert (safe.check_hostname, safe.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert (unsafe.check_hostname, unsafe.verify_mode) == (False, ssl.CERT_NONE)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (("no certificate",), True),
        (("", "c", "k"), True),
        (("", "c", ""), False),
        (("", "", "k"), False),
    ],
)
def test_what_is_no_certificate_is_refused_and_half_a_pair_left_out(
    given: tuple[str, ...], wrong: bool
) -> None:
    try:
        tls_context(*given)
    except ScalerError as error:
        assert wrong and str(error).startswith("error parsing TLS certificates: ")
    else:
        assert not wrong


def test_an_answer_is_json() -> None:
    assert decoded(b'{"a":[1]}') == {"a": [1]}
    for body in (b"{", b"[" * 100_000):
        with pytest.raises(ScalerError, match="unexpected answer"):
            decoded(body)


# --- the endpoints of a Service ---


class Slices:
    def __init__(self, *endpoints: dict[str, Any]) -> None:
        self.endpoints = endpoints
        self.asked: tuple[str, str] = ("", "")

    async def list(self, kind: Any, namespace: str, *, labels: str) -> Any:
        self.asked = (namespace, labels)
        row = {"addressType": "IPv4", "endpoints": list(self.endpoints), "ports": []}
        return SimpleNamespace(items=[from_builtins(row, kind)])


def of_service(url: str, *endpoints: dict[str, Any]) -> tuple[Any, Slices]:
    metadata = {**METRICS, "url": url, "aggregateFromKubeServiceEndpoints": "true"}
    scaler, slices = made("metrics-api", metadata), Slices(*endpoints)
    object.__setattr__(scaler.config.surroundings, "client", slices)
    return scaler, slices


READY = {"addresses": ["10.0.0.2", "fd00::1"], "conditions": {"ready": True}}
UNREADY = {"addresses": ["10.0.0.3"], "conditions": {"ready": False}}
UNSAID = {"addresses": ["10.0.0.1"], "conditions": {}}


async def test_each_ready_endpoint_of_a_service_is_asked() -> None:
    scaler, slices = of_service("http://api.lab:8080/m?x=a%2Fb", READY, UNREADY, UNSAID)
    web_ = Web(scaler, m={"a": 4})
    assert await scaler.measure() == 4
    assert [url for _, url, _, _ in web_.asked] == [
        "http://10.0.0.1:8080/m?x=a/b",
        "http://10.0.0.2:8080/m?x=a/b",
        "http://[fd00::1]:8080/m?x=a/b",
    ]
    assert slices.asked == ("lab", "kubernetes.io/service-name=api")


@pytest.mark.parametrize(
    ("url", "endpoints", "text"),
    [
        ("http://api.lab/m", [UNREADY], "no endpoints URLs were given for the service name"),
        ("http://api.lab/m", [], "no endpoints URLs were given for the service name"),
        ("http://api/m", [READY], "invalid hostname api : expected at least 2 elements"),
    ],
)
async def test_a_service_without_endpoints_is_a_failure(
    url: str, endpoints: list[dict[str, Any]], text: str
) -> None:
    scaler, _ = of_service(url, *endpoints)
    assert text in await fails(scaler.measure())
