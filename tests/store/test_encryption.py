"""Encryption at rest: what is stored, who can open it, and what a configuration may say."""

from __future__ import annotations

import base64
import json
import re
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
from tiphys.store.encryption.configuration import ConfigurationError, parse, read, violations_of
from tiphys.store.encryption.metrics import EncryptionMetrics
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
    ("provider", "size", "words"),
    [
        ("aesgcm", 11, "the stored data was shorter than the required size"),
        ("aesgcm", 12, "cipher: message authentication failed"),
        ("aescbc", 15, "the stored data was shorter than the required size"),
        ("aescbc", 17, "the stored data is not a multiple of the block size"),
        ("aescbc", 16, "invalid PKCS7 data"),
        ("secretbox", 39, "the stored data was shorter than the required size"),
        ("secretbox", 40, "output array was not large enough for encryption"),
    ],
)
def test_what_is_too_short_to_be_sealed_says_so(provider: str, size: int, words: str) -> None:
    stored = f"k8s:enc:{provider}:v1:one:".encode() + bytes(size)
    assert words in str(opened_by(transformers(keyed(provider)), stored))


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
        (document(kms(endpoint="vault")), 'resources[0].providers[0].kms.endpoint: Invalid value: "vault": unsupported scheme "" for KMS provider, only unix is supported'),
        (document(kms(timeout="-1s")), 'resources[0].providers[0].kms.timeout: Invalid value: "-1s": timeout should be a positive value'),
        (document(kms(timeout="soon")), 'resources[0].providers[0].kms.timeout: Invalid value: "soon": timeout should be a positive value'),
        (document(kms(apiVersion="v3")), 'resources[0].providers[0].kms.apiVersion: Invalid value: "v3": unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported'),
        (document(kms(apiVersion="v1", name="a:b", cachesize=9)), 'resources[0].providers[0].kms.apiVersion: Invalid value: "v1": KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead'),
        (document({}), "resources[0].providers[0]: Invalid value: {}: provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity"),
        (document(keyed("aesgcm") | {"identity": {}}), 'resources[0].providers[0]: Invalid value: "REDACTED": more than one provider specified in a single element, should split into different list elements'),
        (document({"aesgcm": {"keys": []}}), "resources[0].providers[0].aesgcm.keys: Required value: at least one keys is required"),
        (document(keyed("secretbox", secret="")), "resources[0].providers[0].secretbox.keys[0].secret: Required value: secret is a mandatory field for a key"),
        (document(keyed("aesgcm", secret="c2hvcnQ=")), 'resources[0].providers[0].aesgcm.keys[0].secret: Invalid value: "REDACTED": secret is not of the expected length, got 5, expected one of [16 24 32]'),
        (document({"identity": {}}, resources=("secrets", "secrets")), 'resources[0].resources: Invalid value: ["secrets","secrets"]: the same resource cannot be specified multiple times'),
        (document({"identity": {}}, resources=("deployments.apps", "*.apps")), 'resources[0].resources: Invalid value: ["deployments.apps","*.apps"]: using overlapping resources such as \'secrets\' and \'*.\' in the same resource list is not allowed as they will be masked'),
        (document({"identity": {}}, resources=("apiserveripinfo",)), 'resources[0].resources[0]: Invalid value: "apiserveripinfo": resources which do not have REST API/s cannot be encrypted'),
        (document({"identity": {}}, resources=("events.events.k8s.io",)), "resources[0].resources[0]: Invalid value: \"events.events.k8s.io\": '*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file"),
        (document({"identity": {}}, resources=("ingresses.extensions",)), "resources[0].resources[0]: Invalid value: \"ingresses.extensions\": 'extensions' group has been removed and cannot be used for encryption"),
        (document({"identity": {}}, resources=("secrets.*",)), 'resources[0].resources[0]: Invalid value: "secrets.*": encrypting the same resource across groups is not supported'),
        ('{"apiVersion":"apiserver.config.k8s.io/v1","kind":"EncryptionConfiguration"}', "resources: Required value: at least one resources is required"),
        (document(kms(cachesize=9)), 'resources[0].providers[0].kms.cachesize: Invalid value: 9: cachesize is not supported in v2'),
    ],
)  # fmt: skip
def test_a_broken_configuration_is_refused_in_upstreams_words(text: str, problem: str) -> None:
    assert [str(one) for one in violations_of(parse(text.encode()))] == [problem]


def rules(*lists: tuple[str, ...]) -> str:
    """A configuration of a rule for each list of resources."""
    made = json.loads(document())
    providers = [{"identity": {}}]
    made["resources"] = [{"resources": list(texts), "providers": providers} for texts in lists]
    return json.dumps(made)


@pytest.mark.parametrize(
    ("lists", "problems"),
    [
        ([("secrets",), ("configmaps",)], []),
        ([("secrets",), ("*.",), ("*.*",)], []),  # the narrower comes first
        ([("secrets", "*.apps"), ("deployments",)], []),
        ([("*.apps",), ("deployments.apps",)], ['[1].resources[0]: Invalid value: "deployments.apps": resource "deployments.apps" is masked by earlier rule "*.apps"']),
        ([("*.",), ("pods.apps", "secrets")], ['[1].resources[1]: Invalid value: "secrets": resource "secrets" is masked by earlier rule "*."']),
        ([("*.*",), ("*.apps",)], ['[1].resources[0]: Invalid value: "*.apps": resource "*.apps" is masked by earlier rule "*.*"']),
        ([("*.", "*.apps"), ("*.*",), ("secrets",)], ['[2].resources[0]: Invalid value: "secrets": resource "secrets" is masked by earlier rule "*."']),
        ([("*.*",), ("*.*",)], ['[1].resources[0]: Invalid value: "*.*": resource "*.*" is masked by earlier rule "*.*"']),
    ],
)  # fmt: skip
def test_a_rule_that_an_earlier_one_masks_is_refused(
    lists: list[tuple[str, ...]], problems: list[str]
) -> None:
    found = [str(one) for one in violations_of(parse(rules(*lists).encode()))]
    assert found == [f"resources{problem}" for problem in problems]


@pytest.mark.parametrize("secret", ["a" * 16, "a" * 24, "a" * 32])
def test_keys_of_aes_are_of_three_sizes(secret: str) -> None:
    text = document(keyed("aesgcm", secret=base64.b64encode(secret.encode()).decode()))
    assert not list(violations_of(parse(text.encode())))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "error reading encryption provider configuration file"),
        ("", "is empty"),
        ("kind: Pod", "error decoding encryption provider configuration file"),
        ("resources:\n- [", "line 3: did not find expected node content"),
        ("kinds: Pod", "error decoding .* unknown field `kinds`"),
        (document(keyed("aesgcm", name="")), "name is a mandatory field for a key$"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: str | None, words: str
) -> None:
    file = tmp_path / "encryption.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=words) as refused:
        read(file)
    assert str(file) in str(refused.value)


def test_no_message_shows_a_secret() -> None:
    for text in (
        f"resources:\n- {KEY}: [",
        f"apiVersion: {{}}\nsecret: {KEY}",
        f'kind: "{KEY[:9]}',
    ):
        with pytest.raises(ConfigurationError) as refused:
            parse(text.encode())
        assert KEY not in str(refused.value)


async def test_what_is_sealed_and_opened_is_counted_by_key_and_resource() -> None:
    registry = CollectorRegistry()
    configuration = parse(document(keyed("aesgcm"), {"identity": {}}).encode())
    engine = SealedEngine(
        MemoryEngine(), Transformers(configuration, metrics=EncryptionMetrics(registry))
    )
    await engine.open(lambda changes: None)
    await engine.commit(Write("/core/secrets/default/x", VALUE))
    assert operations(registry, "to_storage", "k8s:enc:aesgcm:v1:one:") == 1.0
    stored = Change(2, "/core/secrets/default/y", VALUE, 0)
    engine.unseal(stored)
    assert operations(registry, "from_storage", "identity") == 1.0
    engine.unseal(Change(3, "/core/secrets/default/y", b"k8s:enc:aesgcm:v1:one:broken", 0))
    assert operations(registry, "from_storage", "unknown", "unknown-non-grpc") == 1.0
    engine.unseal(Change(4, "/core/pods/default/y", VALUE, 0))  # nobody asked for these
    assert 'resource="pods"' not in generate_latest(registry).decode()


async def test_how_long_it_took_is_observed_of_what_was_done_alone() -> None:
    registry = CollectorRegistry()
    metrics = EncryptionMetrics(registry)
    for prefix, status, seconds in (("k", "OK", 2e-6), ("k", "OK", 3.0), ("k", "NotFound", 3.0)):
        metrics.transformed("/apps/deployments/", "to_storage", prefix.encode(), status, seconds)
    labels = {"transformation_type": "to_storage", "transformer_prefix": "k"}
    name = "apiserver_storage_transformation_duration_seconds"
    assert registry.get_sample_value(f"{name}_count", labels) == 2
    assert registry.get_sample_value(f"{name}_bucket", {**labels, "le": "5e-06"}) == 1
    for status, count in (("OK", 2), ("NotFound", 1)):
        named = {**labels, "resource": "deployments.apps", "status": status}
        name = "apiserver_storage_transformation_operations_total"
        assert registry.get_sample_value(name, named) == count


def test_the_hundred_keys_that_were_used_last_are_shown() -> None:
    registry = CollectorRegistry()
    metrics = EncryptionMetrics(registry)
    for number in [*range(100), 0, 100]:
        metrics.key_used("to_storage", "v", f"{number}")
        metrics.key_reported("v", f"{number}")
    page = generate_latest(registry).decode()
    for name in ("key_id_hash_total", "key_id_hash_last_timestamp_seconds"):
        name = f"apiserver_envelope_encryption_{name}"
        shown = re.findall(rf'^{name}{{.*key_id_hash="(\d+)"', page, re.MULTILINE)
        assert sorted(map(int, shown)) == [0, *range(2, 101)]
    name = "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds"
    assert page.count(f"{name}{{") == 100


def operations(
    registry: CollectorRegistry, direction: str, prefix: str, status: str = "OK"
) -> float | None:
    labels = {"resource": "secrets", "transformation_type": direction, "status": status}
    name = "apiserver_storage_transformation_operations_total"
    return registry.get_sample_value(name, {**labels, "transformer_prefix": prefix})
