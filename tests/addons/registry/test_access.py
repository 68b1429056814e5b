"""Who may write: the password, the tokens that docker asks for, and doors."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from multidict import CIMultiDict

from tests.addons.registry.world import LAYER, Raw, registry
from tiphys.addons.registry import access
from tiphys.addons.registry.access import Access, Door, password_of
from tiphys.addons.registry.faults import Fault

PASSWORD = Door("password")
ACCESS = Access("secret")


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"tiphys:{password}".encode()).decode()


async def token(raw: Raw, **headers: str) -> str:
    answer = await raw.ask("GET", "/token?service=tiphys-registry", **headers)
    return str(json.loads(answer.body)["token"])


async def test_docker_learns_where_to_ask_and_pushes_with_a_token(tmp_path: Path) -> None:
    async with registry(tmp_path, PASSWORD) as raw:
        first = await raw.ask("GET", "/v2/")
        assert first.status == 401
        assert f'realm="{raw.url}/token"' in first.headers["WWW-Authenticate"]
        bearer = "Bearer " + await token(raw, Authorization=basic("secret"))
        begun = await raw.ask("POST", "/v2/a/blobs/uploads/", Authorization=bearer)
        assert begun.status == 202


async def test_without_the_password_everything_is_read_and_nothing_written(tmp_path: Path) -> None:
    async with registry(tmp_path, PASSWORD) as raw:
        assert (await raw.ask("GET", "/v2/_catalog")).status == 200
        anonymous = "Bearer " + await token(raw)
        for words in ("", anonymous, basic("wrong"), "Bearer push.9999999999.00", "Basic ?"):
            begun = await raw.ask("POST", "/v2/a/blobs/uploads/", Authorization=words)
            assert (begun.status, begun.code) == (401, "UNAUTHORIZED"), words
        wrong = await raw.ask("GET", "/token", Authorization=basic("wrong"))
        assert wrong.status == 401


async def test_a_page_in_a_browser_does_not_write(tmp_path: Path) -> None:
    async with registry(tmp_path) as raw:
        begun = await raw.ask("POST", "/v2/a/blobs/uploads/", Origin="http://evil.example")
        assert (begun.status, begun.code) == (403, "DENIED")


async def test_nodes_read_and_do_not_write(tmp_path: Path) -> None:
    async with registry(tmp_path, Door("nobody")) as raw:
        assert (await raw.ask("GET", "/v2/")).status == 200
        begun = await raw.ask("POST", "/v2/a/blobs/uploads/", Authorization=basic("secret"))
        assert (begun.status, begun.code) == (403, "DENIED")


async def test_a_full_registry_takes_nothing_more(tmp_path: Path) -> None:
    async with registry(tmp_path, capacity=len(LAYER)) as raw:
        assert (await raw.push_blob("a", LAYER)).status == 201
        more = await raw.push_blob("a", LAYER + b"!")
        assert (more.status, more.code) == (507, "DENIED")
        assert list(raw.storage.uploads.iterdir()) == []


def test_the_password_is_its_owners_and_stays(tmp_path: Path) -> None:
    first = password_of(tmp_path / "push-token")
    assert len(first) > 30 and password_of(tmp_path / "push-token") == first
    assert (tmp_path / "push-token").stat().st_mode & 0o777 == 0o600


# --- what a token is worth ---


def asked(**headers: str) -> web.BaseRequest:
    """A request as far as its headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return cast(web.BaseRequest, SimpleNamespace(headers=CIMultiDict(named)))


def refused(work: Any, *given: Any) -> Fault:
    with pytest.raises(Fault) as raised:
        work(*given)
    return raised.value


@pytest.mark.parametrize(
    ("user", "password", "counts"),
    [("tiphys", "secret", True), ("root", "secret", False), ("tiphys", "Secret", False)],
)
def test_a_password_counts_with_its_user(user: str, password: str, counts: bool) -> None:
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    for scheme in ("Basic", "basic"):
        request = asked(Authorization=f"{scheme} {pair}")
        assert ACCESS.may_write(request, PASSWORD) is counts
    assert not ACCESS.may_write(asked(Authorization=f"Digest {pair}"), PASSWORD)


@pytest.mark.parametrize("pair", ["?", "dGlwaHlz*", base64.b64encode(b"\xff\xfe").decode()])
def test_what_is_no_pair_is_no_password(pair: str) -> None:
    assert not ACCESS.may_write(asked(Authorization=f"Basic {pair}"), PASSWORD)


@pytest.mark.parametrize(("later", "may"), [(0, True), (3599, True), (3600, False), (9999, False)])
def test_a_token_lasts_an_hour(monkeypatch: pytest.MonkeyPatch, later: int, may: bool) -> None:
    monkeypatch.setattr(access, "time", SimpleNamespace(time=lambda: 1000.5))
    given = ACCESS.token(asked(Authorization=basic("secret")), PASSWORD)
    assert given["token"] == given["access_token"] and given["expires_in"] == 3600
    monkeypatch.setattr(access, "time", SimpleNamespace(time=lambda: 1000.0 + later))
    bearer = asked(Authorization=f"Bearer {given['token']}")
    assert ACCESS.may_write(bearer, PASSWORD) is may


@pytest.mark.parametrize(
    ("changed", "may"),
    [
        (lambda token: token, True),
        (lambda token: token.replace("push", "pull"), False),
        (lambda token: token + "0", False),
        (lambda token: token.rpartition(".")[0], False),
        (lambda token: "", False),
    ],
)
def test_a_token_that_was_changed_is_none(changed: Callable[[str], str], may: bool) -> None:
    token = str(ACCESS.token(asked(Authorization=basic("secret")), PASSWORD)["token"])
    request = asked(Authorization=f"bearer {changed(token)}")
    assert ACCESS.may_write(request, PASSWORD) is may
    assert not Access("another").may_write(request, PASSWORD)


def test_nobodys_token_may_not_push() -> None:
    token = ACCESS.token(asked(), PASSWORD)["token"]
    assert not ACCESS.may_write(asked(Authorization=f"Bearer {token}"), PASSWORD)


# --- doors ---


@pytest.mark.parametrize(
    ("writers", "authorization", "origin", "status"),
    [
        ("password", "", "", 401),
        ("password", "Basic", "", 0),
        ("password", "Basic", "http://x", 0),
        ("anybody", "", "", 0),
        ("anybody", "", "http://x", 403),
        ("nobody", "", "", 403),
        ("nobody", "Basic", "", 403),
    ],
)
def test_a_door_says_who_writes(writers: Any, authorization: str, origin: str, status: int) -> None:
    headers = {"Authorization": basic("secret")} if authorization else {}
    request = asked(**headers, **({"Origin": origin} if origin else {}))
    if not status:
        ACCESS.check_write(request, Door(writers), "a")
        return
    fault = refused(ACCESS.check_write, request, Door(writers), "a")
    assert (fault.status, fault.code) == (status, {401: "UNAUTHORIZED", 403: "DENIED"}[status])


@pytest.mark.parametrize(
    ("writers", "authorization", "status"),
    [
        ("password", "", 401),
        ("password", basic("wrong"), 401),
        ("password", basic("secret"), 0),
        # Whoever has a token has been told where tokens are: what it is worth shows when it writes.
        ("password", "Bearer any", 0),
        ("password", "bearer any", 0),
        ("anybody", "", 0),
        ("nobody", "", 0),
    ],
)
def test_the_first_request_is_told_where_tokens_are(
    writers: Any, authorization: str, status: int
) -> None:
    request = asked(**({"Authorization": authorization} if authorization else {}))
    if status:
        fault = refused(ACCESS.check_api, request, Door(writers))
        assert (fault.status, fault.code) == (status, "UNAUTHORIZED")
    else:
        ACCESS.check_api(request, Door(writers))


@pytest.mark.parametrize(
    ("host", "realm"),
    [
        ("localhost:5000", "https://localhost:5000/token"),
        ("[::1]:5000", "https://[::1]:5000/token"),
        ("", "https://localhost/token"),
        ('x",realm="http://evil', "https://localhost/token"),
        ("a" * 256, "https://localhost/token"),
    ],
)
def test_tokens_are_where_the_client_has_come_to(host: str, realm: str) -> None:
    """The form is that of distribution's token authentication."""
    door = Door("password", "https")
    start = f'Bearer realm="{realm}",service="tiphys-registry"'
    first = refused(ACCESS.check_api, asked(Host=host), door)
    assert first.headers["WWW-Authenticate"] == start
    write = refused(ACCESS.check_write, asked(Host=host), door, "me/a")
    assert write.headers["WWW-Authenticate"] == f'{start},scope="repository:me/a:pull,push"'


@pytest.mark.parametrize(("writers", "status"), [("password", 200), ("anybody", 404)])
async def test_tokens_are_given_out_where_a_password_counts(
    tmp_path: Path, writers: Any, status: int
) -> None:
    async with registry(tmp_path, Door(writers)) as raw:
        assert (await raw.ask("GET", "/token")).status == status
        assert (await raw.ask("POST", "/token")).status == 404
