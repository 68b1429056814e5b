"""What a KMS plugin says of itself, when that is a fault, and what is sealed with its seeds."""

from __future__ import annotations

import logging
import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from prometheus_client import CollectorRegistry

from tiphys.client.reloadmetrics import hashed
from tiphys.machinery import protobuf
from tiphys.store.encryption import kmspb as pb
from tiphys.store.encryption.ciphers import OpenError
from tiphys.store.encryption.envelope import (
    WRITES_FOR,
    Derived,
    Envelope,
    PluginError,
    SealError,
)
from tiphys.store.encryption.metrics import EncryptionMetrics

SEED = b"s" * 32
KEY = b"/tiphys/core/secrets/default/x"


class Plugin:
    """Says what it is told to; its key turns everything round."""

    def __init__(self, status: pb.StatusResponse) -> None:
        self.answer = status
        self.encrypted: dict[str, Any] = {}  # fields of its answers that are as they are told to be
        self.plain: bytes | None = None  # what it decrypts to, whatever it is given
        self.is_gone = False
        self.asked: list[str] = []

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.is_gone:
            raise PluginError("rpc error: code = UNAVAILABLE")

    async def status(self) -> pb.StatusResponse:
        self._ask("status")
        return self.answer

    async def encrypt(self, plain: bytes) -> pb.EncryptResponse:
        self._ask("encrypt")
        fields = {"ciphertext": plain[::-1], "key_id": self.answer.key_id, **self.encrypted}
        return pb.EncryptResponse(**fields)

    async def decrypt(self, source: pb.EncryptedObject) -> bytes:
        self._ask("decrypt")
        return source.source[::-1] if self.plain is None else self.plain

    async def close(self) -> None:
        self.asked.append("close")


def said(version: str = "v2", healthz: str = "ok", key_id: str = "k") -> pb.StatusResponse:
    return pb.StatusResponse(version=version, healthz=healthz, key_id=key_id)


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def sealed_object(**fields: Any) -> bytes:
    """What stands in the store, of a seed that is its own encryption; with other `fields`."""
    given = {"data": b"d", "key_id": "k", "source": SEED, "source_type": pb.SEED, **fields}
    return protobuf.encode(pb.EncryptedObject(**given))


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (said(), ""),
        (said(version="v2beta1"), ""),
        (said(healthz="tired"), "got unexpected healthz status: tired"),
        (said(version="v3"), "expected KMSv2 API version v2, got v3"),
        (said(key_id=""), "got invalid KMSv2 KeyID hash"),
        (said(key_id="k" * 1024), ""),
        (said(key_id="k" * 1025), "keyID is 1025 bytes, which exceeds the max size of 1024"),
        (said(version="v3", key_id=""), "expected KMSv2 API version v2, got v3; got invalid"),
    ],
)
async def test_a_plugin_is_well_or_says_why_not(status: pb.StatusResponse, fault: str) -> None:
    envelope = Envelope("vault", b"", Plugin(status))
    assert await envelope.probe() is not bool(fault)
    assert fault in envelope.fault and bool(envelope.fault) == bool(fault)


async def test_a_plugin_does_not_change_its_version() -> None:
    plugin = Plugin(said())
    envelope = Envelope("vault", b"", plugin)
    assert await envelope.probe()
    plugin.answer = said(version="v2beta1")
    assert not await envelope.probe()
    assert (
        "version should not change after the initial status response version v2" in envelope.fault
    )
    plugin.answer = said()
    assert await envelope.probe() and not envelope.fault


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ({}, ""),
        ({"ciphertext": b""}, "encrypted DEK source is empty"),
        ({"ciphertext": b"c" * 1024}, ""),
        ({"ciphertext": b"c" * 1025}, "is 1025 bytes, which exceeds the max size of 1024"),
        ({"key_id": ""}, "failed to validate key id: keyID is empty"),
        ({"key_id": "other"}, "is not the one of its status"),
        ({"annotations": {"a.b": b"v" * (32768 - 3)}}, ""),
        ({"annotations": {"a.b": b"v" * (32768 - 2)}}, "annotations is 32769, which exceeds"),
        ({"annotations": {"ä.b": b""}}, "is no fully qualified domain name"),
        ({"annotations": {"note": b""}}, "'note' is no fully qualified domain name"),
        ({"annotations": {"a.b": b"", "A.b": b""}}, "'A.b' is no fully qualified domain name"),
    ],
)
async def test_what_a_plugin_makes_of_a_seed_is_looked_at(
    answer: dict[str, Any], fault: str
) -> None:
    plugin = Plugin(said())
    plugin.encrypted = answer
    envelope = Envelope("vault", b"", plugin)
    assert await envelope.probe() is not bool(fault)
    assert fault in envelope.fault and envelope.is_used is not bool(fault)


async def test_a_fault_is_logged_once_and_again_when_it_is_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    plugin = Plugin(said(healthz="tired"))
    envelope = Envelope("vault", b"", plugin)
    with caplog.at_level(logging.ERROR):
        for healthz in ("tired", "tired", "ill", "ok", "ill"):
            plugin.answer = said(healthz=healthz)
            await envelope.probe()
    said_of_it = [record.getMessage().rpartition(" ")[2] for record in caplog.records]
    assert said_of_it == ["tired", "ill", "ill"]


async def test_nothing_is_sealed_before_the_plugin_was_well_once() -> None:
    envelope = Envelope("vault", b"p", Plugin(said(version="v3", key_id="")))
    assert envelope.fault and not envelope.asked.is_set()
    assert not await envelope.probe() and envelope.asked.is_set() and not envelope.is_used
    with pytest.raises(SealError, match="got unexpected nil transformer"):
        envelope.seal(b"v", KEY)


async def test_a_seed_is_written_with_for_a_while_after_the_plugin_was_well_last() -> None:
    clock, plugin = Clock(), Plugin(said())
    envelope = Envelope("vault", b"p", plugin, clock)
    await envelope.probe()
    clock.time += 60
    await envelope.probe()  # the same key: its seed goes on, for longer
    assert plugin.asked == ["status", "encrypt", "status"]
    plugin.is_gone = True
    clock.time += WRITES_FOR
    assert not await envelope.probe() and "code = UNAVAILABLE" in envelope.fault
    sealed = envelope.seal(b"v", KEY)
    clock.time += 0.1
    with pytest.raises(SealError, match=f'keyID hash "{hashed("k")}" expired'):
        envelope.seal(b"v", KEY)
    assert envelope.open(sealed, KEY) == b"v"


async def test_another_key_brings_a_seed_and_a_mark_of_its_own() -> None:
    plugin = Plugin(said())
    envelope = Envelope("vault", b"p:", plugin)
    await envelope.probe()
    old, mark = envelope.seal(b"v", KEY), envelope.mark
    plugin.answer = said(key_id="k2")
    await envelope.probe()
    new = envelope.seal(b"v", KEY)
    assert envelope.opened(old, KEY) == (b"v", mark)
    assert envelope.opened(new, KEY) == (b"v", envelope.mark)
    assert mark != envelope.mark and mark[:2] == envelope.mark[:2] == b"p:"
    assert plugin.asked.count("encrypt") == 2


async def test_a_seed_of_another_server_is_learned_once() -> None:
    first = Envelope("vault", b"p", Plugin(said()))
    await first.probe()
    sealed = first.seal(b"v", KEY)
    plugin = Plugin(said())
    second = Envelope("vault", b"p", plugin)
    source = second.unknown(sealed)
    assert source is not None and source.key_id == "k"
    with pytest.raises(OpenError, match="failed to decrypt DEK, error: it was not asked yet"):
        second.open(sealed, KEY)
    second.fault = ""
    with pytest.raises(OpenError, match="failed to decrypt DEK, error: not asked for"):
        second.open(sealed, KEY)
    await second.learn(source)
    await second.learn(source)
    assert plugin.asked == ["decrypt"] and second.unknown(sealed) is None
    assert second.open(sealed, KEY) == b"v"


async def test_what_cannot_be_read_needs_no_seed() -> None:
    assert Envelope("vault", b"p", Plugin(said())).unknown(b"\xff") is None


@pytest.mark.parametrize(
    ("source_type", "plain", "fault"),
    [
        (pb.SEED, SEED, ""),
        (pb.SEED, SEED + b"s", ""),
        (pb.SEED, SEED[1:], "invalid seed length 31 used for key generation"),
        (pb.KEY, SEED, ""),
        (pb.KEY, SEED[1:], "AESGCM key must be"),
    ],
)
async def test_what_a_plugin_decrypts_must_be_a_key(
    source_type: int, plain: bytes, fault: str
) -> None:
    plugin = Plugin(said())
    plugin.plain = plain
    envelope = Envelope("vault", b"", plugin)
    source = pb.EncryptedObject(key_id="k", source=b"s", source_type=source_type)
    if not fault:
        await envelope.learn(source)
        return
    with pytest.raises(PluginError, match=f"what it has decrypted is no key: {fault}"):
        await envelope.learn(source)


async def test_a_value_under_a_key_of_its_own_is_opened_too() -> None:
    """As servers before 1.29 wrote them: the plugin has encrypted a key, and no seed."""
    envelope = Envelope("vault", b"p", Plugin(said()))
    nonce = bytes(12)
    data = nonce + AESGCM(SEED).encrypt(nonce, b"v", KEY)
    sealed = sealed_object(data=data, source_type=pb.KEY)
    source = envelope.unknown(sealed)
    assert source is not None
    await envelope.learn(source)
    assert envelope.open(sealed, KEY) == b"v"


@pytest.mark.parametrize(
    ("sealed", "fault"),
    [
        (b"\xff", "proto: "),
        (sealed_object(data=b""), "encrypted data is empty"),
        (sealed_object(source_type=2), "unknown encryptedDEKSourceType: 2"),
        (sealed_object(source=b""), "encrypted DEK source is empty"),
        (sealed_object(key_id=""), "failed to validate key id: keyID is empty"),
        (sealed_object(), "failed to decrypt DEK"),
    ],
)
def test_what_cannot_be_opened_says_why(sealed: bytes, fault: str) -> None:
    with pytest.raises(OpenError, match=fault):
        Envelope("vault", b"", Plugin(said())).open(sealed, KEY)


def test_each_value_has_a_key_of_its_own_derived_from_the_seed() -> None:
    """32 bytes of which the key is made, a nonce of 12, and what AES-GCM seals: upstream's."""
    info, nonce = os.urandom(32), os.urandom(12)
    key = HKDFExpand(SHA256(), 32, info).derive(SEED)
    sealed = info + nonce + AESGCM(key).encrypt(nonce, b"v", KEY)
    cipher = Derived(SEED)
    assert cipher.open(sealed, KEY) == b"v"
    assert cipher.seal(b"v", KEY)[:32] != cipher.seal(b"v", KEY)[:32]
    assert cipher.open(cipher.seal(b"v", KEY), KEY) == b"v"


@pytest.mark.parametrize(
    ("sealed", "fault"),
    [
        (bytes(43), "the stored data was shorter than the required size"),
        (bytes(44), "cipher: message authentication failed"),
        (Derived(SEED).seal(b"v", b"/tiphys/core/secrets/default/y"), "authentication failed"),
        (Derived(SEED[::-1] + b"x").seal(b"v", KEY), "authentication failed"),
    ],
    ids=["too short", "zeros", "another key", "another seed"],
)
def test_what_the_seed_has_not_sealed_it_does_not_open(sealed: bytes, fault: str) -> None:
    with pytest.raises(OpenError, match=fault):
        Derived(SEED).open(sealed, KEY)


async def test_what_is_done_with_a_plugin_is_counted() -> None:
    registry = CollectorRegistry()
    plugin = Plugin(said())
    envelope = Envelope("vault", b"p", plugin, metrics=EncryptionMetrics(registry, "one"))

    def count(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"apiserver_{name}", labels)

    await envelope.probe()
    for _ in range(2):
        envelope.open(envelope.seal(b"v", KEY), KEY)
    server = {"apiserver_id_hash": hashed("one")}
    key = {"provider_name": "vault", "key_id_hash": hashed("k"), **server}
    for direction in ("to_storage", "from_storage"):
        used = {"transformation_type": direction, **key}
        assert count("envelope_encryption_key_id_hash_total", **used) == 2
        assert count("envelope_encryption_key_id_hash_last_timestamp_seconds", **used)
    assert count("envelope_encryption_key_id_hash_status_last_timestamp_seconds", **key)
    assert count("storage_data_key_generation_duration_seconds_count") == 1
    assert count("envelope_encryption_dek_source_cache_size", provider_name="vault") == 1
    assert count("storage_envelope_transformation_cache_misses_total") == 0
    await envelope.learn(pb.EncryptedObject(key_id="k", source=SEED, source_type=pb.SEED))
    assert count("storage_envelope_transformation_cache_misses_total") == 1
    assert count("envelope_encryption_dek_source_cache_size", provider_name="vault") == 2
    for key_id, error in (("", "empty"), ("k" * 1025, "too_long")):
        plugin.answer = said(key_id=key_id)
        await envelope.probe()
        labels = {"provider_name": "vault", "error": error}
        assert count("envelope_encryption_invalid_key_id_from_status_total", **labels) == 1


async def test_closing_an_envelope_closes_its_plugin() -> None:
    plugin = Plugin(said())
    await Envelope("vault", b"", plugin).close()
    assert plugin.asked == ["close"]
