"""A server whose secrets are sealed by a KMS plugin, which is a process of its own."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.apiserver.encrypted import PLAIN, files_of, refused, running, secret, stored
from tests.store.configurations import document, keyed
from tiphys.api import core_v1
from tiphys.machinery import protobuf
from tiphys.store.encryption import envelope, reloading
from tiphys.store.encryption.kmspb import SEED, EncryptedObject
from tiphys.store.engine import StoreError, Write
from tiphys.store.memory import MemoryEngine
from tiphys.testing import LocalCluster

PREFIX = b"k8s:enc:kms:v2:vault:"


class Vault:
    """The plugin's process, its socket and its keys."""

    def __init__(self, root: Path) -> None:
        self.socket = root / "kms.sock"
        self.keys = root / "keys"
        self.keys.mkdir()
        self.add("key-1")
        self.process: subprocess.Popen[bytes] | None = None

    def add(self, id: str) -> None:
        (self.keys / id).write_bytes(os.urandom(32))

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.store.kmsplugin", str(self.socket), str(self.keys)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None and self.process.stdout.readline() == b"ready\n"

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None
        self.socket.unlink(missing_ok=True)

    @property
    def provider(self) -> dict[str, Any]:
        endpoint = f"unix://{self.socket}"
        return {"kms": {"apiVersion": "v2", "name": "vault", "endpoint": endpoint, "timeout": "1s"}}


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    made = Vault(tmp_path)
    made.start()
    yield made
    made.stop()


def sealed(root: Path, name: str = "s") -> EncryptedObject:
    value = stored(root, name)
    assert value.startswith(PREFIX)
    return protobuf.decode(value[len(PREFIX) :], kind=EncryptedObject)


async def password(cluster: LocalCluster, name: str = "s") -> bytes:
    found = await cluster.client.get(core_v1.Secret, name, "default")
    return found.data["password"]


async def test_a_secret_is_sealed_with_a_seed_that_the_plugin_alone_opens(
    tmp_path: Path, vault: Vault
) -> None:
    async with running(tmp_path, vault.provider) as cluster:
        await cluster.client.create(secret(), "default")
        assert await password(cluster) == PLAIN.encode()
        assert PLAIN.encode() not in files_of(tmp_path)
        found = sealed(tmp_path)
        assert (found.key_id, found.source_type) == ("key-1", SEED)
        assert found.annotations == {"kms.example.com": b"note"}
    async with running(tmp_path, vault.provider) as cluster:
        assert await password(cluster) == PLAIN.encode()


async def test_what_an_earlier_provider_sealed_is_read_and_written_anew(
    tmp_path: Path, vault: Vault
) -> None:
    async with running(tmp_path, keyed("aesgcm")) as cluster:
        await cluster.client.create(secret(), "default")
    async with running(tmp_path, vault.provider, keyed("aesgcm")) as cluster:
        found = await cluster.client.get(core_v1.Secret, "s", "default")
        await cluster.client.update(found)
        assert sealed(tmp_path).key_id == "key-1"


async def test_another_key_of_the_plugin_is_taken_and_the_old_one_still_opens(
    tmp_path: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiphys.store.encryption.sealed.HEALTHY_EVERY", 0.05)
    async with running(tmp_path, vault.provider) as cluster:
        await cluster.client.create(secret("old"), "default")
        vault.add("key-2")

        async def is_taken() -> bool:
            found = await cluster.client.get(core_v1.Secret, "old", "default")
            await cluster.client.update(found)  # nothing changes but the key
            return sealed(tmp_path, "old").key_id == "key-2"

        await cluster.client.create(secret("kept"), "default")
        await cluster.eventually(is_taken)
    async with running(tmp_path, vault.provider) as cluster:
        assert await password(cluster, "kept") == await password(cluster, "old") == PLAIN.encode()


async def test_reads_go_on_and_writes_for_a_while_without_the_plugin(
    tmp_path: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, vault.provider) as cluster:
        await cluster.client.create(secret(), "default")
        vault.stop()
        await cluster.client.create(secret("still"), "default")
        encryption = cluster.server._encryption
        assert encryption is not None
        [cipher] = encryption.transformers.envelopes.values()
        monkeypatch.setattr(cipher, "_now", lambda: float("inf"))
        with refused(500) as refusal:
            await cluster.client.create(secret("late"), "default")
        assert "expired" in str(refusal.value)
        assert await password(cluster) == PLAIN.encode()
        vault.start()
        monkeypatch.undo()
        assert await cipher.probe()
        await cluster.client.create(secret("late"), "default")


async def test_a_server_does_not_start_without_the_plugin_that_its_values_need(
    tmp_path: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they would be shown as if they were broken, until the next start."""
    async with running(tmp_path, vault.provider) as cluster:
        await cluster.client.create(secret(), "default")
    vault.stop()
    monkeypatch.setattr("tiphys.store.encryption.sealed._PATIENCE", 0.0)
    with pytest.raises(StoreError, match="KMS provider vault does not open what is stored"):
        await running(tmp_path, vault.provider).__aenter__()


async def test_a_plugin_that_is_not_well_is_seen_on_the_pages_of_health(
    tmp_path: Path, vault: Vault
) -> None:
    async with running(tmp_path, vault.provider) as cluster:
        page = await cluster.client.request("GET", "/readyz", query={"verbose": ""})
        assert b"[+]kms-providers ok" in page
        (vault.keys / "healthz").write_text("sealed")
        encryption = cluster.server._encryption
        assert encryption is not None
        [cipher] = encryption.transformers.envelopes.values()
        assert not await cipher.probe()
        with refused(500) as refusal:
            await cluster.client.request("GET", "/readyz/kms-providers")
        assert "[-]kms-providers failed" in str(refusal.value)
        assert cipher.fault.endswith("got unexpected healthz status: sealed")


async def metric(cluster: LocalCluster, line: str) -> float:
    """The value of the one line of the page that begins like that."""
    page = (await cluster.client.request("GET", "/metrics")).decode()
    [found] = [one for one in page.splitlines() if re.match(line, one)]
    return float(found.rpartition(" ")[2])


async def test_what_the_plugin_is_asked_and_which_keys_are_used_is_counted(
    tmp_path: Path, vault: Vault
) -> None:
    part = "apiserver_envelope_encryption"
    async with running(tmp_path, vault.provider) as cluster:
        await cluster.client.create(secret(), "default")
        asked = f'{part}_kms_operations_latency_seconds_count{{grpc_status_code="OK",'
        method = 'method_name="/v2.KeyManagementService/{}",provider_name="vault"'
        assert await metric(cluster, asked + method.format("Encrypt")) == 1
        key = f'key_id_hash="sha256:{hashlib.sha256(b"key-1").hexdigest()}",provider_name="vault"'
        used = f'{part}_key_id_hash_total{{apiserver_id_hash="sha256:[0-9a-f]+",{key},'
        assert await metric(cluster, used + 'transformation_type="to_storage"') >= 1
        assert await metric(cluster, f'{part}_dek_source_cache_size{{provider_name="vault"') == 1
        assert await metric(cluster, f"{part}_key_id_hash_status_last_timestamp_seconds") > 0
        prefix = 'transformation_type="to_storage",transformer_prefix="k8s:enc:kms:v2:vault:"'
        sealed = "apiserver_storage_transformation_operations_total"
        assert await metric(cluster, f'{sealed}{{resource="secrets",status="OK",{prefix}') >= 1
    async with running(tmp_path, vault.provider) as cluster:
        missed = "apiserver_storage_envelope_transformation_cache_misses_total"
        assert await metric(cluster, missed) == 1
        vault.stop()
        encryption = cluster.server._encryption
        assert encryption is not None
        [cipher] = encryption.transformers.envelopes.values()
        assert not await cipher.probe()
        late = f'{part}_kms_operations_latency_seconds_count{{grpc_status_code="Unavailable"'
        assert await metric(cluster, late) >= 1


async def test_a_new_plugin_has_to_be_well_before_it_is_used(
    tmp_path: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloading, "_WELL_WITHIN", 0.5)
    file, registry = tmp_path / "encryption.yaml", CollectorRegistry()
    file.write_text(document(keyed("aesgcm")))
    engine, reloader = reloading.encrypted(MemoryEngine(), file, registry)
    await engine.open(lambda changes: None)
    (vault.keys / "healthz").write_text("sealed")
    file.write_text(document(vault.provider, keyed("aesgcm")))
    assert not await reloader.poll() and not engine.transformers.envelopes
    (vault.keys / "healthz").unlink()
    assert await reloader.poll()  # nothing of the file has changed
    await engine.commit(Write("/core/secrets/default/x", b"{}"))
    await engine.close()


async def test_servers_that_share_a_store_read_what_another_one_sealed(
    tmp_path: Path, vault: Vault, etcd: str
) -> None:
    file = tmp_path / "encryption.yaml"
    file.write_text(document(vault.provider))
    async with (
        LocalCluster(store=etcd, encryption_config=file) as first,
        LocalCluster(store=etcd, encryption_config=file) as second,
    ):
        for number in range(3):
            writer, reader = (first, second) if number % 2 else (second, first)
            made = await writer.client.create(secret(f"kms-{number}"), "default")
            assert await password(reader, f"kms-{number}") == PLAIN.encode()
            await reader.client.delete(made)


# --- what a plugin may answer ---


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (EncryptedObject(key_id="k"), "encrypted DEK source is empty"),
        (EncryptedObject(key_id="k", source=bytes(1025)), "is 1025 bytes, which exceeds"),
        (EncryptedObject(source=b"x"), "keyID is empty"),
        (EncryptedObject(source=b"x", key_id="k" * 1025), "keyID is 1025 bytes"),
        (EncryptedObject(source=b"x", key_id="k", annotations={"k": b""}), "no fully qualified"),
        (
            EncryptedObject(source=b"x", key_id="k", annotations={"a.b": bytes(32768)}),
            "total size of annotations is 32771",
        ),
        (EncryptedObject(source=b"x", key_id="k", source_type=2), "unknown encryptedDEKSourceType"),
        (EncryptedObject(source=b"x", key_id="k", annotations={"a.b": b"v"}), ""),
    ],
)
def test_answers_of_a_plugin_are_held_to_upstreams_limits(
    source: EncryptedObject, fault: str
) -> None:
    found = envelope._source_fault(source)
    assert fault in found and bool(fault) == bool(found)
