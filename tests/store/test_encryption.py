"""Encryption at rest: what is stored, who can open it, and what a configuration may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from prometheus_client import CollectorRegistry, generate_latest

from tests.store.configurations import KEY, OTHER, document, keyed, transformers
from tiphys.store.encryption.ciphers import CBCCipher, OpenError
from tiphys.store.encryption.configuration import ConfigurationError, parse, violations_of
from tiphys.store.encryption.reloading import encrypted
from tiphys.store.encryption.sealed import SealedEngine
from tiphys.store.encryption.transformers import Transformers
from tiphys.store.engine import Change, Write
from tiphys.store.memory import MemoryEngine

PROVIDERS = ("secretbox", "aesgcm", "aescbc")
VALUE = b'{"metadata":{"name":"x"},"data":"plain"}'


def kms(**fields: Any) -> dict[str, Any]:
    return {"kms": {"apiVersion": "v2", "name": "v", "endpoint": "unix:///v", **fields}}


def sealed_by(made: Transformers, key: str = "/core/secrets/default/x") -> bytes:
    return made.of("/core/secrets/").seal(VALUE, b"/tiphys" + key.encode())


def opened_by(
    made: Transformers, stored: bytes, key: str = "/core/secrets/default/x"
) -> bytes | str:
    """The value, or why it cannot be opened."""
    change = Change(1, key, stored, 0)
    SealedEngine(MemoryEngine(), made).unseal(change)
    return change.fault or change.value or b""


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_value_comes_back_and_names_its_key(provider: str) -> None:
    made = transformers(keyed(provider))
    stored = sealed_by(made)
    assert stored.startswith(f"k8s:enc:{provider}:v1:one:".encode()) and b"plain" not in stored
    assert stored != sealed_by(made), "a nonce is never used twice"
    assert opened_by(made, stored) == VALUE


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17])
def test_cbc_pads_to_whole_blocks(length: int) -> None:
    cipher = CBCCipher(b"k" * 32)
    value = b"v" * length
    sealed = cipher.seal(value, b"")
    assert len(sealed) == 16 + (length // 16 + 1) * 16 and cipher.open(sealed, b"") == value


@pytest.mark.parametrize(
    ("padded", "words"),
    [
        (b"", "empty or not padded"),
        (b"v" * 15 + b"\x00", "empty or not padded"),
        (b"\x11" * 16, "empty or not padded"),
        (b"v" * 14 + b"\x01\x02", "invalid padding on input"),
    ],
)
def test_what_is_not_padded_so_is_not_what_was_written(padded: bytes, words: str) -> None:
    vector = bytes(16)
    encryptor = BlockCipher(AES(b"k" * 32), CBC(vector)).encryptor()
    sealed = vector + encryptor.update(padded) + encryptor.finalize()
    with pytest.raises(OpenError, match=words):
        CBCCipher(b"k" * 32).open(sealed, b"")


@pytest.mark.parametrize(
    ("version", "kind"), [("v1", "EncryptionConfiguration"), ("apiserver.config.k8s.io/v1", "Pod")]
)
def test_a_file_of_another_kind_is_refused(version: str, kind: str) -> None:
    with pytest.raises(ConfigurationError, match=f'no kind "{kind}" is registered for version'):
        parse(f"{{apiVersion: {version}, kind: {kind}}}".encode())


def test_the_layout_of_aesgcm_is_upstreams() -> None:
    """Nonce of 12 bytes, then what Go's AEAD seals, bound to the key in etcd."""
    nonce = bytes(range(12))
    body = AESGCM(b"k" * 32).encrypt(nonce, VALUE, b"/tiphys/core/secrets/default/x")
    assert (
        opened_by(transformers(keyed("aesgcm")), b"k8s:enc:aesgcm:v1:one:" + nonce + body) == VALUE
    )


def test_only_aesgcm_notices_that_a_value_was_moved_to_another_key() -> None:
    for provider in PROVIDERS:
        made = transformers(keyed(provider))
        found = opened_by(made, sealed_by(made), "/core/secrets/default/y")
        assert (found == VALUE) == (provider != "aesgcm")


def test_the_first_key_seals_and_every_key_opens() -> None:
    old = sealed_by(transformers(keyed("aescbc")))
    rotating = transformers(keyed("aescbc", "two", OTHER), keyed("aescbc"))
    assert sealed_by(rotating).startswith(b"k8s:enc:aescbc:v1:two:")
    assert opened_by(rotating, old) == VALUE


def test_keys_of_one_name_are_all_tried() -> None:
    old = sealed_by(transformers(keyed("secretbox")))
    assert (
        opened_by(transformers(keyed("secretbox", "one", OTHER), keyed("secretbox")), old) == VALUE
    )


@pytest.mark.parametrize(
    ("providers", "fault"),
    [
        ([keyed("aesgcm", secret=OTHER)], "cipher: message authentication failed"),
        ([keyed("aesgcm", "two")], "no matching prefix found"),
        ([{"identity": {}}], "identity transformer tried to read encrypted data"),
    ],
)
def test_what_no_key_opens_is_a_fault_and_not_a_value(providers: list[Any], fault: str) -> None:
    assert opened_by(transformers(*providers), sealed_by(transformers(keyed("aesgcm")))) == fault


def test_plain_values_are_read_where_identity_is_listed_only() -> None:
    assert opened_by(transformers(keyed("aesgcm"), {"identity": {}}), VALUE) == VALUE
    assert opened_by(transformers(keyed("aesgcm")), VALUE) == "no matching prefix found"


@pytest.mark.parametrize(
    ("named", "prefix", "is_sealed"),
    [
        ("secrets", "/core/secrets/", True),
        ("secrets", "/core/configmaps/", False),
        ("secrets", "/example.com/secrets/", False),
        ("*.apps", "/apps/deployments/", True),
        ("*.", "/core/pods/", True),
        ("*.", "/apps/deployments/", False),
        ("widgets.example.com", "/example.com/widgets/", True),
        ("*.*", "/example.com/widgets/", True),
    ],
)
def test_resources_are_named_as_upstream_names_them(
    named: str, prefix: str, is_sealed: bool
) -> None:
    chain = transformers(keyed("aesgcm"), resources=(named,)).of(prefix)
    assert (chain.seal(VALUE, b"") is not VALUE) == is_sealed


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (document(resources=("secrets",)), "resources[0].providers: Required value: at least one resources[0].providers is required"),
        (document(keyed("aesgcm"), resources=()), "resources[0].resources: Required value: at least one resources[0].resources is required"),
        (document(keyed("aesgcm"), resources=("*",)), "resources[0].resources[0]: Invalid value: \"*\": use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"),
        (document(keyed("aesgcm"), resources=("Secrets",)), 'resources[0].resources[0]: Invalid value: "Secrets": resource name should not contain capital letters'),
        (document(keyed("aesgcm"), resources=("secrets", "*.*")), "resources[0].resources: Invalid value: [\"secrets\",\"*.*\"]: using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked"),
        (document(keyed("secretbox", secret="c2hvcnQ=")), 'resources[0].providers[0].secretbox.keys[0].secret: Invalid value: "REDACTED": secret is not of the expected length, got 5, expected one of [32]'),
        (document(keyed("aescbc", secret="!")), 'resources[0].providers[0].aescbc.keys[0].secret: Invalid value: "REDACTED": secrets must be base64 encoded'),
        (document(keyed("aescbc", name="")), "resources[0].providers[0].aescbc.keys[0].name: Required value: name is a mandatory field for a key"),
        (document({"kms": {"name": "v", "endpoint": "unix:///v"}}), 'resources[0].providers[0].kms.apiVersion: Invalid value: "v1": KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead'),
        (document(kms(name="a:b")), 'resources[0].providers[0].kms.name: Invalid value: "a:b": invalid KMS provider name a:b, must not contain \':\''),
        (document(kms(name="")), 'resources[0].providers[0].kms.name: Required value: name is a mandatory field for a provider'),
        (document(kms(), kms()), 'resources[0].providers[1].kms.name: Invalid value: "v": duplicate KMS provider name v, names must be unique'),
        (document(kms(endpoint="https://v")), 'resources[0].providers[0].kms.endpoint: Invalid value: "https://v": unsupported scheme "https" for KMS provider, only unix is supported'),
        (document(kms(endpoint="")), 'resources[0].providers[0].kms.endpoint: Invalid value: "": endpoint is a mandatory field for a kms'),
        (document(kms(timeout="0s")), 'resources[0].providers[0].kms.timeout: Invalid value: "0s": timeout should be a positive value'),
        (document(kms(cachesize=9)), 'resources[0].providers[0].kms.cachesize: Invalid value: 9: cachesize is not supported in v2'),
    ],
)  # fmt: skip
def test_a_broken_configuration_is_refused_in_upstreams_words(text: str, problem: str) -> None:
    assert [str(one) for one in violations_of(parse(text.encode()))] == [problem]


def test_no_message_shows_a_secret() -> None:
    for text in (
        f"resources:\n- {KEY}: [",
        f"apiVersion: {{}}\nsecret: {KEY}",
        f'kind: "{KEY[:9]}',
    ):
        with pytest.raises(ConfigurationError) as refused:
            parse(text.encode())
        assert KEY not in str(refused.value)


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
    assert not await reloader.look() and not engine.is_stale("/core/secrets/default/x")
    file.write_text(document(keyed("aesgcm", "two", OTHER), keyed("aesgcm")))
    assert await reloader.look() and engine.is_stale("/core/secrets/default/x")
    await engine.commit(Write("/core/secrets/default/x", VALUE))
    assert not engine.is_stale("/core/secrets/default/x")
    page = generate_latest(registry).decode()
    assert 'automatic_reloads_total{apiserver_id_hash="",status="success"} 1.0' in page


async def test_a_broken_file_changes_nothing_until_it_is_mended(tmp_path: Path) -> None:
    engine, (reloader, registry), file = await opened(tmp_path, keyed("aesgcm"))
    for text in ("", "kind: [", document({"kms": {}})):
        file.write_text(text)
        assert not await reloader.look()
    await engine.commit(Write("/core/secrets/default/x", VALUE))
    page = generate_latest(registry).decode()
    assert 'automatic_reloads_total{apiserver_id_hash="",status="failure"} 3.0' in page
    file.write_text(document(keyed("aesgcm", "two", OTHER)))
    assert await reloader.look()


async def test_what_is_sealed_and_opened_is_counted_by_key_and_resource(tmp_path: Path) -> None:
    engine, (_, registry), _ = await opened(tmp_path, keyed("aesgcm"), {"identity": {}})
    await engine.commit(Write("/core/secrets/default/x", VALUE))
    assert operations(registry, "to_storage", "k8s:enc:aesgcm:v1:one:") == 1.0
    stored = Change(2, "/core/secrets/default/y", VALUE, 0)
    engine.unseal(stored)
    assert operations(registry, "from_storage", "identity") == 1.0
    engine.unseal(Change(3, "/core/secrets/default/y", b"k8s:enc:aesgcm:v1:one:broken", 0))
    assert operations(registry, "from_storage", "unknown", "unknown-non-grpc") == 1.0
    engine.unseal(Change(4, "/core/pods/default/y", VALUE, 0))  # nobody asked for these
    assert 'resource="pods"' not in generate_latest(registry).decode()


def operations(
    registry: CollectorRegistry, direction: str, prefix: str, status: str = "OK"
) -> float | None:
    labels = {"resource": "secrets", "transformation_type": direction, "status": status}
    name = "apiserver_storage_transformation_operations_total"
    return registry.get_sample_value(name, {**labels, "transformer_prefix": prefix})
