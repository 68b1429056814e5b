"""An engine with encryption around it, whose keys a plugin has: what it waits for, and in which
order changes come."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.store.builders import until
from tests.store.configurations import document, keyed, transformers
from tests.store.vault import Vault
from tiphys.store.encryption import envelope, sealed
from tiphys.store.encryption.configuration import parse
from tiphys.store.encryption.metrics import EncryptionMetrics
from tiphys.store.encryption.sealed import SealedEngine
from tiphys.store.encryption.transformers import Transformers
from tiphys.store.engine import Change, Conflict, Listener, Snapshot, StoreError, Write
from tiphys.store.memory import MemoryEngine

KEY = "/core/secrets/default/x"
VALUE = b'{"metadata":{"name":"x"}}'
SEALED = b"k8s:enc:kms:v2:vault:"


class Shelf(MemoryEngine):
    """Keeps what is written, and has it when it is opened again."""

    def __init__(self, rows: list[Change] | None = None) -> None:
        super().__init__()
        self.rows: list[Change] = rows or []
        self.calls: list[str] = []
        self.listener: Listener

    async def open(self, listener: Listener) -> Snapshot:
        self.listener = listener
        await super().open(listener)
        return Snapshot(len(self.rows), 0, [dataclasses.replace(row) for row in self.rows])

    async def commit(self, write: Write) -> int:
        revision = await super().commit(write)
        self.rows.append(Change(revision, write.key, write.value, 0))
        return revision

    def lags(self) -> bool:
        return True

    async def ping(self) -> None:
        self.calls.append("ping")

    async def compact(self, revision: int) -> None:
        self.calls.append(f"compact {revision}")

    async def close(self) -> None:
        self.calls.append("close")


class Server:
    """An engine over a shelf, and the changes that it told of."""

    def __init__(self, made: Transformers, rows: list[Change] | None = None) -> None:
        self.shelf = Shelf(rows)
        self.engine = SealedEngine(self.shelf, made)
        self.heard: list[Change] = []

    async def open(self) -> Snapshot:
        return await self.engine.open(self.heard.extend)


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    made = Vault(tmp_path / "vault")
    await made.start()
    yield made
    await made.stop()


Begin = Callable[..., Server]


@pytest.fixture
async def begin(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Begin]:
    """Makes servers that the vault seals for, and closes them."""
    monkeypatch.setattr(sealed, "_SOON", 0.01)
    servers: list[Server] = []

    def made(rows: list[Change] | None = None) -> Server:
        servers.append(Server(transformers(vault.provider()), rows))
        return servers[-1]

    yield made
    for server in servers:
        await server.engine.close()


async def test_a_write_waits_until_the_plugin_was_asked(begin: Begin, vault: Vault) -> None:
    await vault.stop()
    server = begin()
    await server.open()
    write = asyncio.ensure_future(server.engine.commit(Write(KEY, VALUE)))
    await asyncio.sleep(0)
    assert not write.done()
    with pytest.raises(StoreError, match="got unexpected nil transformer"):
        await write
    assert "kmsv2 Provider vault is not healthy" in server.engine.faults[0]
    await vault.start()
    await until(lambda: not server.engine.faults)
    assert await server.engine.commit(Write(KEY, VALUE)) == 1
    [stored] = server.shelf.rows
    assert stored.value is not None and stored.value.startswith(SEALED)
    assert [change.value for change in server.heard] == [VALUE]


async def test_what_was_written_is_opened_by_the_next_server(begin: Begin) -> None:
    first = begin()
    await first.open()
    await first.engine.commit(Write(KEY, VALUE))
    second = begin(first.shelf.rows)
    assert [change.value for change in (await second.open()).changes] == [VALUE]
    assert second.engine.is_stale(KEY), "it has a seed of the same key, and was not asked yet"
    await until(lambda: not second.engine.is_stale(KEY))


async def test_a_plugin_that_comes_late_is_waited_for(begin: Begin, vault: Vault) -> None:
    first = begin()
    await first.open()
    await first.engine.commit(Write(KEY, VALUE))
    await vault.stop()
    late = begin(first.shelf.rows)
    opening = asyncio.ensure_future(late.open())
    [plugin] = late.engine.transformers.envelopes.values()
    await plugin.asked.wait()
    assert not opening.done()
    await vault.start()
    assert [change.value for change in (await opening).changes] == [VALUE]


async def test_a_store_that_nobody_opens_is_no_store(
    begin: Begin, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "_PATIENCE", 0.05)
    first = begin()
    await first.open()
    await first.engine.commit(Write(KEY, VALUE))
    vault.add("key-2")
    (vault.folder / "key-1").unlink()
    with pytest.raises(StoreError, match="KMS provider vault does not open what is stored: rpc er"):
        await begin(first.shelf.rows).open()


async def of_another(begin: Begin, name: str) -> Change:
    """What a server with a seed of its own has written."""
    other = begin()
    await other.open()
    await other.engine.commit(Write(f"/core/secrets/default/{name}", VALUE))
    return other.shelf.rows[0]


async def test_changes_wait_for_a_seed_and_those_after_them_for_their_turn(begin: Begin) -> None:
    foreign = await of_another(begin, "a")
    server = begin()
    await server.open()
    again = dataclasses.replace(foreign, revision=4)
    server.shelf.listener([foreign])
    server.shelf.listener([Change(2, KEY, None, 0)])
    server.shelf.listener([Change(3, "/core/pods/default/p", VALUE, 0)])
    assert not server.heard
    await server.engine.barrier()
    assert [change.revision for change in server.heard] == [1, 2, 3]
    assert server.heard[0].value == VALUE
    server.shelf.listener([again])
    assert [change.revision for change in server.heard] == [1, 2, 3, 4], "its seed is known"


async def test_who_writes_while_changes_wait_is_answered_after_them(begin: Begin) -> None:
    foreign = await of_another(begin, "a")
    server = begin()
    await server.open()
    server.shelf.listener([foreign])
    await asyncio.gather(
        server.engine.commit(Write("/core/pods/default/p", VALUE)),
        server.engine.commit(Write("/core/pods/default/q", VALUE)),
    )
    assert [change.key[-1] for change in server.heard] == ["a", "p", "q"]


async def test_a_change_whose_seed_nobody_opens_is_a_fault(
    begin: Begin, vault: Vault, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sealed, "_PATIENCE", 0.05)
    foreign = await of_another(begin, "a")
    vault.add("key-2")
    (vault.folder / "key-1").unlink()
    server = begin()
    await server.open()
    with caplog.at_level(logging.ERROR):
        server.shelf.listener([foreign])
        await server.engine.barrier()
    [change] = server.heard
    assert change.fault.startswith("failed to decrypt DEK") and change.value == foreign.value
    assert "does not open what is stored" in caplog.text


async def test_another_key_of_the_plugin_makes_values_stale(begin: Begin, vault: Vault) -> None:
    server = begin()
    await server.open()
    await server.engine.commit(Write(KEY, VALUE))
    assert not server.engine.is_stale(KEY)
    vault.add("key-2")
    [plugin] = server.engine.transformers.envelopes.values()
    await plugin.probe()
    assert server.engine.is_stale(KEY)
    await server.engine.commit(Write(KEY, VALUE))
    assert not server.engine.is_stale(KEY)
    await server.engine.commit(Write(KEY, None))
    assert server.engine.is_stale(KEY), "nothing is known of a key that is gone"


def test_which_values_are_sealed_is_known_without_a_plugin() -> None:
    engine = SealedEngine(Shelf(), transformers(keyed("aesgcm")))
    assert engine.seals(KEY) and not engine.seals("/core/pods/default/x")


async def test_a_value_that_somebody_wrote_plain_is_stale() -> None:
    server = Server(transformers(keyed("aesgcm"), {"identity": {}}))
    await server.open()
    await server.engine.commit(Write(KEY, VALUE))
    assert not server.engine.is_stale(KEY)
    server.shelf.listener([Change(2, KEY, VALUE, 1)])
    assert server.engine.is_stale(KEY) and server.heard[1].value == VALUE
    server.shelf.listener([Change(3, "nonsense", VALUE, 0)])
    assert (server.heard[2].value, server.heard[2].fault) == (VALUE, "")


async def test_a_write_that_is_refused_leaves_nothing_behind() -> None:
    server = Server(transformers(keyed("aesgcm")))
    await server.open()
    with pytest.raises(Conflict):
        await server.engine.commit(Write(KEY, VALUE, 7))
    assert not server.engine._writing and not server.shelf.rows


async def test_a_seed_that_is_too_old_to_write_with_is_counted_as_an_error(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envelope, "WRITES_FOR", -1.0)
    registry = CollectorRegistry()
    configuration = parse(document(vault.provider()).encode())
    server = Server(Transformers(configuration, metrics=EncryptionMetrics(registry)))
    await server.open()
    with pytest.raises(StoreError, match="expired"):
        await server.engine.commit(Write(KEY, VALUE))
    labels = {
        "resource": "secrets",
        "transformation_type": "to_storage",
        "transformer_prefix": SEALED.decode(),
        "status": "unknown-non-grpc",
    }
    name = "apiserver_storage_transformation_operations_total"
    assert registry.get_sample_value(name, labels) == 1
    asked = {"provider_name": "vault", "grpc_status_code": "OK"}
    asked["method_name"] = "/v2.KeyManagementService/Encrypt"
    name = "apiserver_envelope_encryption_kms_operations_latency_seconds_count"
    assert registry.get_sample_value(name, asked) == 1
    await server.engine.close()


async def test_plugins_are_asked_again_for_as_long_as_they_are_used(
    begin: Begin, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "HEALTHY_EVERY", 0.01)
    server = begin()
    await server.open()
    await until(lambda: vault.asked > 2)
    monkeypatch.setattr(sealed, "_SOON", 60)  # for one that was never well
    monkeypatch.setattr(sealed, "FAILING_EVERY", 0.01)
    (vault.folder / "healthz").write_text("tired")
    await until(lambda: server.engine.faults)
    asked = vault.asked
    await until(lambda: vault.asked > asked + 2)


async def test_a_plugin_that_is_no_longer_configured_is_left_alone(
    begin: Begin, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "HEALTHY_EVERY", 0.01)
    server = begin()
    await server.open()
    server.engine.start_probing()  # it is asked already, by one
    await until(lambda: vault.asked > 1)
    assert len(server.engine._probed) == 1
    before = server.engine.transformers
    server.engine.use(transformers(keyed("aesgcm")))
    await until(lambda: not server.engine._probed)
    asked = vault.asked
    assert not server.engine.faults
    server.engine.use(before)
    await until(lambda: vault.asked > asked + 1)


async def test_everything_else_is_asked_of_the_engine_inside(begin: Begin) -> None:
    server = begin()
    await server.open()
    await server.engine.ping()
    await server.engine.compact(7)
    assert server.engine.lags() and server.engine.shared is False
    assert await server.engine.barrier() == 0
    [plugin] = server.engine.transformers.envelopes.values()
    await plugin.asked.wait()
    await server.engine.close()
    assert server.shelf.calls == ["ping", "compact 7", "close"]
    assert plugin._plugin._channel is None  # type: ignore[attr-defined]
