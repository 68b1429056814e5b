"""Who may write: the password, the tokens that docker asks for, and doors."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.addons.registry.world import LAYER, Raw, registry
from tiphys.addons.registry.access import Door, password_of

PASSWORD = Door("password")


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
