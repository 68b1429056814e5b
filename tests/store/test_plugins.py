"""What a server asks a KMS plugin over its socket, and how it hears that one does not answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.store.kmsplugin import Keys, server_of
from tests.store.vault import Vault
from tiphys.store.encryption import kmspb as pb
from tiphys.store.encryption.envelope import PluginError
from tiphys.store.encryption.plugins import Plugin

SERVICE = "/v2.KeyManagementService"


class Asked:
    """The questions that a plugin was asked: method and code of the answer."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []
        self.seconds: list[float] = []

    def __call__(self, method: str, code: str, seconds: float) -> None:
        self.rows.append((method, code))
        self.seconds.append(seconds)


class Slow(Keys):
    """Does not say how it is."""

    async def status(self, request: bytes, context: object) -> bytes:
        await asyncio.sleep(60)
        return b""


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[str]:
    vault = Vault(tmp_path)
    await vault.start()
    yield vault.endpoint
    await vault.stop()


async def test_a_plugin_says_how_it_is_and_opens_what_it_has_encrypted(endpoint: str) -> None:
    asked = Asked()
    plugin = Plugin(endpoint, 10, asked)
    status = await plugin.status()
    assert (status.version, status.healthz, status.key_id) == ("v2", "ok", "key-1")
    answer = await plugin.encrypt(b"seed")
    source = pb.EncryptedObject(
        source=answer.ciphertext, key_id=answer.key_id, annotations=answer.annotations
    )
    assert answer.ciphertext != b"seed" and await plugin.decrypt(source) == b"seed"
    methods = ("Status", "Encrypt", "Decrypt")
    assert asked.rows == [(f"{SERVICE}/{method}", "OK") for method in methods]
    assert all(0 < seconds < 10 for seconds in asked.seconds)
    await plugin.close()


async def test_a_plugin_that_is_closed_is_connected_to_anew(endpoint: str) -> None:
    plugin = Plugin(endpoint, 10, Asked())
    await plugin.close()
    await plugin.status()
    await plugin.close()
    await plugin.close()
    assert (await plugin.status()).healthz == "ok"
    await plugin.close()


async def test_a_plugin_can_be_asked_from_another_loop(endpoint: str) -> None:
    plugin = Plugin(endpoint, 10, Asked())
    await plugin.status()

    async def from_there() -> str:
        healthz = (await plugin.status()).healthz
        await plugin.close()
        return healthz

    assert await asyncio.to_thread(asyncio.run, from_there()) == "ok"


async def test_what_a_plugin_refuses_is_an_error_with_its_words(endpoint: str) -> None:
    asked = Asked()
    plugin = Plugin(endpoint, 10, asked)
    source = (await plugin.encrypt(b"seed")).annotations
    unknown = pb.EncryptedObject(source=b"s", key_id="key-9", annotations=source)
    with pytest.raises(PluginError, match="rpc error: code = NOT_FOUND desc = no key key-9"):
        await plugin.decrypt(unknown)
    with pytest.raises(PluginError, match="code = INVALID_ARGUMENT desc = the annotation is"):
        await plugin.decrypt(pb.EncryptedObject(source=b"s", key_id="key-1"))
    assert [code for _, code in asked.rows] == ["OK", "NotFound", "InvalidArgument"]
    await plugin.close()


async def test_a_plugin_that_is_not_there_or_does_not_answer_is_not_waited_for(
    tmp_path: Path,
) -> None:
    asked = Asked()
    absent = Plugin(f"unix://{tmp_path}/none", 10, asked)
    with pytest.raises(PluginError, match="code = UNAVAILABLE"):
        await absent.status()
    await absent.close()
    server = server_of(Slow(tmp_path), str(tmp_path / "kms.sock"))
    await server.start()
    slow = Plugin(f"unix://{tmp_path}/kms.sock", 0.05, asked)
    with pytest.raises(PluginError, match="code = DEADLINE_EXCEEDED"):
        await slow.status()
    assert [code for _, code in asked.rows] == ["Unavailable", "DeadlineExceeded"]
    await slow.close()
    await server.stop(None)


async def test_a_socket_may_have_a_name_that_is_no_file(tmp_path: Path) -> None:
    name = f"tiphys-kms-{os.getpid()}"
    server = server_of(Vault(tmp_path), str(tmp_path / "kms.sock"))
    server.add_insecure_port(f"unix-abstract:{name}")
    await server.start()
    plugin = Plugin(f"unix:///@{name}", 10, Asked())
    assert (await plugin.status()).healthz == "ok"
    await plugin.close()
    await server.stop(None)
