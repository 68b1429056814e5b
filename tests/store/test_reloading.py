"""The file of an encryption configuration is followed while the server runs."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.store.builders import until
from tests.store.configurations import KEY, OTHER, document, keyed
from tests.store.vault import Vault
from tiphys.store.encryption import reloading
from tiphys.store.encryption.reloading import encrypted
from tiphys.store.encryption.sealed import SealedEngine
from tiphys.store.engine import Write
from tiphys.store.memory import MemoryEngine

VALUE = b'{"metadata":{"name":"x"},"data":"plain"}'


async def opened(tmp_path: Path, *providers: dict[str, Any]) -> tuple[SealedEngine, Any, Path]:
    file = tmp_path / "encryption.yaml"
    file.write_text(document(*providers))
    registry = CollectorRegistry()
    engine, reloader = encrypted(MemoryEngine(), file, registry)
    await engine.open(lambda changes: None)
    return engine, (reloader, registry), file


async def test_a_changed_file_is_loaded_and_makes_old_values_stale(tmp_path: Path) -> None:
    engine, (reloader, registry), file = await opened(tmp_path, keyed("aesgcm"))
    await engine.commit(Write("/core/secrets/default/x", VALUE))
    assert not await reloader.poll() and not engine.is_stale("/core/secrets/default/x")
    file.write_text(document(keyed("aesgcm", "two", OTHER), keyed("aesgcm")))
    assert await reloader.poll() and engine.is_stale("/core/secrets/default/x")
    await engine.commit(Write("/core/secrets/default/x", VALUE))
    assert not engine.is_stale("/core/secrets/default/x")
    page = generate_latest(registry).decode()
    assert 'automatic_reloads_total{apiserver_id_hash="",status="success"} 1.0' in page


async def test_a_broken_file_changes_nothing_until_it_is_mended(tmp_path: Path) -> None:
    engine, (reloader, registry), file = await opened(tmp_path, keyed("aesgcm"))
    for text in ("", "kind: [", document({"kms": {}})):
        file.write_text(text)
        assert not await reloader.poll()
    await engine.commit(Write("/core/secrets/default/x", VALUE))
    page = generate_latest(registry).decode()
    assert 'automatic_reloads_total{apiserver_id_hash="",status="failure"} 3.0' in page
    file.write_text(document(keyed("aesgcm", "two", OTHER)))
    assert await reloader.poll()


def reloads(registry: CollectorRegistry) -> tuple[int, int]:
    """How often the file was loaded, and how often it could not be."""
    name = "apiserver_encryption_config_controller_automatic_reloads_total"
    counts = [
        registry.get_sample_value(name, {"status": status, "apiserver_id_hash": ""}) or 0
        for status in ("success", "failure")
    ]
    return int(counts[0]), int(counts[1])


async def test_a_file_that_is_gone_is_reported_at_each_look(tmp_path: Path) -> None:
    _, (reloader, registry), file = await opened(tmp_path, keyed("aesgcm"))
    content = file.read_text()
    file.unlink()
    assert not await reloader.poll() and not await reloader.poll()
    assert reloads(registry) == (0, 2)
    file.write_text(content)
    assert not await reloader.poll() and reloads(registry) == (0, 2), "it is the one in force"


async def test_a_file_whose_times_are_as_they_were_is_not_read(tmp_path: Path) -> None:
    _, (reloader, _), file = await opened(tmp_path, keyed("aesgcm"))
    assert not await reloader.poll()
    times = file.stat().st_mtime_ns
    file.write_text(file.read_text().replace(KEY, OTHER))
    os.utime(file, ns=(times, times))
    assert not await reloader.poll()
    os.utime(file, ns=(times, times + 1))
    assert await reloader.poll() and not await reloader.poll()


async def test_a_broken_file_is_reported_once(tmp_path: Path) -> None:
    _, (reloader, registry), file = await opened(tmp_path, keyed("aesgcm"))
    file.write_text("kind: Pod")
    assert not await reloader.poll() and not await reloader.poll()
    assert reloads(registry) == (0, 1)


async def test_the_file_is_looked_at_until_the_server_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloading, "EVERY", 0.01)
    engine, (reloader, registry), file = await opened(tmp_path, keyed("aesgcm"))
    task = asyncio.ensure_future(reloader.run())
    for number in (1, 2):
        file.write_text(document(keyed("aesgcm", f"k{number}")))
        await until(lambda count=number: reloads(registry) == (count, 0))
    assert engine.transformers.of("/core/secrets/").prefix == b"k8s:enc:aesgcm:v1:k2:"
    task.cancel()


def test_the_hash_of_what_is_in_force_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "encryption.yaml"
    file.write_text(document(keyed("aesgcm")))
    registry = CollectorRegistry()
    encrypted(MemoryEngine(), file, registry)
    page = generate_latest(registry).decode()
    name = "apiserver_encryption_config_controller_last_config_info"
    assert f'{name}{{apiserver_id_hash="",hash="sha256:' in page


# --- plugins ---


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    made = Vault(tmp_path / "vault")
    yield made
    await made.stop()


async def test_a_plugin_that_is_well_is_taken(tmp_path: Path, vault: Vault) -> None:
    engine, (reloader, _), file = await opened(tmp_path, keyed("aesgcm"))
    await vault.start()
    file.write_text(document(vault.provider(), keyed("aesgcm")))
    assert await reloader.poll() and not engine.faults
    [plugin] = engine.transformers.envelopes.values()
    file.write_text(document(vault.provider(), {"identity": {}}))
    assert await reloader.poll()
    assert list(engine.transformers.envelopes.values()) == [plugin], "it goes on as it is"
    await engine.close()


async def test_a_plugin_that_is_not_well_is_not_taken_until_it_is(
    tmp_path: Path,
    vault: Vault,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(reloading, "_WELL_WITHIN", 0.05)
    monkeypatch.setattr(reloading, "_ASKED_EVERY", 0.01)
    engine, (reloader, registry), file = await opened(tmp_path, keyed("aesgcm"))
    file.write_text(document(vault.provider(timeout="10ms"), keyed("aesgcm")))
    with caplog.at_level(logging.ERROR):
        assert not await reloader.poll() and not await reloader.poll()
    words = "health check for new transformers failed: kmsv2 Provider vault is not healthy"
    assert words in caplog.text and reloads(registry) == (0, 2)
    assert not engine.transformers.envelopes
    await vault.start()
    monkeypatch.setattr(reloading, "_WELL_WITHIN", 10)
    assert await reloader.poll() and reloads(registry) == (1, 2)
    await engine.close()


async def test_a_plugin_may_become_well_while_it_is_waited_for(
    tmp_path: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has twice the time that it may take for an answer, if that is longer than usual."""
    monkeypatch.setattr(reloading, "_WELL_WITHIN", 0.0)
    monkeypatch.setattr(reloading, "_ASKED_EVERY", 0.01)
    engine, (reloader, _), file = await opened(tmp_path, keyed("aesgcm"))
    (vault.folder / "healthz").write_text("tired")
    await vault.start()
    file.write_text(document(vault.provider(), keyed("aesgcm")))
    look = asyncio.ensure_future(reloader.poll())
    await until(lambda: vault.asked >= 3)
    (vault.folder / "healthz").unlink()
    assert await look
    await engine.close()


async def test_a_plugin_that_is_given_up_is_not_connected_to_any_more(
    tmp_path: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was there before stays so: its values can still be read."""
    monkeypatch.setattr(reloading, "_WELL_WITHIN", 0.05)
    await vault.start()
    engine, (reloader, _), file = await opened(tmp_path, vault.provider(timeout="10ms"))
    await engine.commit(Write("/core/secrets/default/x", VALUE))
    (vault.folder / "healthz").write_text("tired")
    closed: list[str] = []
    monkeypatch.setattr(
        "tiphys.store.encryption.envelope.Envelope.close", closing(closed), raising=True
    )
    file.write_text(document(vault.provider(timeout="10ms"), vault.provider("new", "10ms")))
    assert not await reloader.poll()
    assert closed == ["new"]


def closing(closed: list[str]) -> Any:
    async def close(envelope: Any) -> None:
        closed.append(envelope.name)

    return close
