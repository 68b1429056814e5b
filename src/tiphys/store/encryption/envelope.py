"""Values sealed by a KMS plugin's key, as upstream's KMS v2 has it, byte for byte.

The plugin encrypts one seed; from that, each write derives a key of its own (HKDF) for AES-GCM. The
encrypted seed is stored with each value, so a server asks the plugin once for each seed there is,
and for none when it writes. A new seed is made when the plugin's key changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tiphys.client.reloadmetrics import hashed
from tiphys.machinery import protobuf
from tiphys.machinery.names import dns_subdomain_errors
from tiphys.machinery.protobuf import WireError
from tiphys.store.encryption import kmspb as pb
from tiphys.store.encryption.ciphers import GCM, Cipher, OpenError
from tiphys.store.encryption.metrics import (
    FROM_STORAGE,
    TO_STORAGE,
    EncryptionMetrics,
    uncounted,
)

log = logging.getLogger(__name__)

WRITES_FOR = 180.0  # seconds after its last good word that a plugin's seed is written with
HEALTHY_EVERY = 60.0  # seconds until a healthy plugin is asked again
FAILING_EVERY = 10.0  # and one that is not
_VERSIONS = ("v2", "v2beta1")
_INFO = 32  # bytes from which each write derives its key
_SEED = 32
_NONCE = 12
_LONGEST_ID = _LONGEST_SOURCE = 1024  # bytes
_LONGEST_ANNOTATIONS = 32 * 1024


class PluginError(Exception):
    """The plugin does not answer, or answers with an error."""


class Plugin(Protocol):
    """Who has the key of keys. Raises PluginError."""

    async def status(self) -> pb.StatusResponse: ...

    async def encrypt(self, plain: bytes) -> pb.EncryptResponse: ...

    async def decrypt(self, source: pb.EncryptedObject) -> bytes: ...

    async def close(self) -> None: ...


class SealError(Exception):
    """The value cannot be sealed now. The text is upstream's."""


class Derived:
    """AES-GCM with a key of its own for each value, derived from a seed: nonces cannot repeat,
    however much is written."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) < _SEED:
            raise OpenError(f"invalid seed length {len(seed)} used for key generation")
        self._seed = seed

    def _aead(self, info: bytes) -> AESGCM:
        return AESGCM(HKDFExpand(SHA256(), 32, info).derive(self._seed))

    def seal(self, value: bytes, context: bytes) -> bytes:
        info = os.urandom(_INFO)
        nonce = os.urandom(_NONCE)
        return info + nonce + self._aead(info).encrypt(nonce, value, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        if len(sealed) < _INFO + _NONCE:
            raise OpenError("the stored data was shorter than the required size")
        info = sealed[:_INFO]
        nonce = sealed[_INFO : _INFO + _NONCE]
        try:
            return self._aead(info).decrypt(nonce, sealed[_INFO + _NONCE :], context)
        except InvalidTag:
            raise OpenError("cipher: message authentication failed") from None


@dataclass(frozen=True)
class _State:
    """What is written with: the seed, how the plugin has encrypted it, and until when."""

    source: pb.EncryptedObject
    cipher: Derived
    until: float


class Envelope:
    """A cipher whose keys a plugin opens. `mark` is the same for the same key of the plugin's."""

    def __init__(
        self,
        name: str,
        prefix: bytes,
        plugin: Plugin,
        now: Callable[[], float] = time.monotonic,
        metrics: EncryptionMetrics | None = None,
    ) -> None:
        self.name = name
        self.prefix = prefix  # of what it has sealed
        self._plugin = plugin
        self._now = now
        self._metrics = metrics or uncounted()
        self._ciphers: dict[bytes, Cipher] = {}  # of seeds that are known, by their encrypted form
        self._state: _State | None = None
        self._version = ""
        self.asked = asyncio.Event()  # whether it was, once
        self.fault = "it was not asked yet"  # what is wrong with the plugin, "" for nothing

    @property
    def mark(self) -> bytes:
        """Of what is written now."""
        return self._mark_of(self._state.source.key_id if self._state else "")

    def _mark_of(self, key_id: str) -> bytes:
        return self.prefix + hashlib.sha256(key_id.encode()).digest()

    @property
    def is_used(self) -> bool:
        """Whether it has been well before, so that there is something to write with."""
        return self._state is not None

    # --- values ---

    def seal(self, value: bytes, context: bytes) -> bytes:
        """Raises SealError."""
        state = self._state
        if state is None:
            raise SealError("got unexpected nil transformer")
        if self._now() > state.until:
            raise SealError(
                f'encryptedDEKSource with keyID hash "{hashed(state.source.key_id)}" expired'
            )
        sealed = msgspec.structs.replace(state.source, data=state.cipher.seal(value, context))
        self._metrics.key_used(TO_STORAGE, self.name, hashed(state.source.key_id))
        return protobuf.encode(sealed)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        return self.opened(sealed, context)[0]

    def opened(self, sealed: bytes, context: bytes) -> tuple[bytes, bytes]:
        """The value, and the mark of the key. Raises OpenError, also when the seed is not known."""
        encrypted = _read(sealed)
        cipher = self._ciphers.get(_cache_key(encrypted))
        if cipher is None:
            raise OpenError(f"failed to decrypt DEK, error: {self.fault or 'not asked for'}")
        value = cipher.open(encrypted.data, context)
        self._metrics.key_used(FROM_STORAGE, self.name, hashed(encrypted.key_id))
        return value, self._mark_of(encrypted.key_id)

    # --- the plugin ---

    def unknown(self, sealed: bytes) -> pb.EncryptedObject | None:
        """What has to be learned before a value can be opened; None when nothing has."""
        try:
            encrypted = _read(sealed)
        except OpenError:
            return None
        return None if _cache_key(encrypted) in self._ciphers else encrypted

    async def learn(self, source: pb.EncryptedObject) -> None:
        """Has the plugin open a seed. Raises PluginError."""
        if _cache_key(source) in self._ciphers:
            return
        self._metrics.seed_missed()
        plain = await self._plugin.decrypt(source)
        try:
            cipher = Derived(plain) if source.source_type == pb.SEED else GCM(plain)
        except (OpenError, ValueError) as error:
            raise PluginError(f"what it has decrypted is no key: {error}") from None
        self._remember(source, cipher)

    def _remember(self, source: pb.EncryptedObject, cipher: Cipher) -> None:
        self._ciphers[_cache_key(source)] = cipher
        self._metrics.seeds_known(self.name, len(self._ciphers))

    async def probe(self) -> bool:
        """Asks how the plugin is, and for a new seed when its key has changed; returns whether all
        is well. What was written with goes on for `WRITES_FOR` when it is not."""
        before = self.fault
        try:
            await self._probe()
            self.fault = ""
        except PluginError as error:
            self.fault = f"kmsv2 Provider {self.name} is not healthy, error: {error}"
        self.asked.set()
        if self.fault and self.fault != before:
            log.error("%s", self.fault)
        return not self.fault

    async def _probe(self) -> None:
        until = self._now() + WRITES_FOR
        status = await self._plugin.status()
        faults = []
        if status.healthz != "ok":
            faults.append(f"got unexpected healthz status: {status.healthz}")
        if status.version not in _VERSIONS:
            faults.append(f"expected KMSv2 API version v2, got {status.version}")
        elif status.version != (self._version or status.version):
            faults.append(
                "KMSv2 API version should not change after the initial status response version "
                f"{self._version}, got {status.version}"
            )
        else:
            self._version = status.version
        fault = _id_fault(status.key_id)
        if fault:
            faults.append(f'got invalid KMSv2 KeyID hash "{hashed(status.key_id)}": {fault}')
            self._metrics.key_invalid(self.name, "too_long" if status.key_id else "empty")
        else:
            self._metrics.key_reported(self.name, hashed(status.key_id))
            await self._keep_seed(status.key_id, until)
        if faults:
            raise PluginError("; ".join(faults))

    async def _keep_seed(self, key_id: str, until: float) -> None:
        state = self._state
        if state is not None and state.source.key_id == key_id:
            self._state = _State(state.source, state.cipher, until)
            return
        began = time.perf_counter()
        seed = os.urandom(_SEED)
        self._metrics.seed_made(time.perf_counter() - began)
        answer = await self._plugin.encrypt(seed)
        source = pb.EncryptedObject(
            key_id=answer.key_id,
            source=answer.ciphertext,
            annotations=answer.annotations,
            source_type=pb.SEED,
        )
        fault = _source_fault(source)
        if not fault and answer.key_id != key_id:
            fault = "the key it has encrypted with is not the one of its status"
        if fault:
            raise PluginError(f"failed to rotate DEK: {fault}")
        cipher = Derived(seed)
        self._remember(source, cipher)
        self._state = _State(source, cipher, until)
        log.info("KMS provider %s encrypts with key %s", self.name, hashed(key_id))

    async def close(self) -> None:
        await self._plugin.close()


def _read(sealed: bytes) -> pb.EncryptedObject:
    """Raises OpenError."""
    try:
        encrypted = protobuf.decode(sealed, kind=pb.EncryptedObject)
    except WireError as error:
        raise OpenError(f"proto: {error}") from None
    fault = "encrypted data is empty" if not encrypted.data else _source_fault(encrypted)
    if fault:
        raise OpenError(fault)
    return encrypted


def _source_fault(source: pb.EncryptedObject) -> str:
    """Upstream's rules for what a plugin may answer; "" when it keeps them."""
    if source.source_type not in (pb.KEY, pb.SEED):
        return f"unknown encryptedDEKSourceType: {source.source_type}"
    if not source.source:
        return "failed to validate encrypted DEK source: encrypted DEK source is empty"
    if len(source.source) > _LONGEST_SOURCE:
        return (
            "failed to validate encrypted DEK source: encrypted DEK source is "
            f"{len(source.source)} bytes, which exceeds the max size of {_LONGEST_SOURCE}"
        )
    fault = _id_fault(source.key_id)
    if fault:
        return f"failed to validate key id: {fault}"
    size = sum(len(key.encode()) + len(value) for key, value in source.annotations.items())
    if size > _LONGEST_ANNOTATIONS:
        return (
            f"failed to validate annotations: total size of annotations is {size}, which exceeds "
            f"the max size of {_LONGEST_ANNOTATIONS}"
        )
    for key in source.annotations:
        if "." not in key or dns_subdomain_errors(key):
            return f"failed to validate annotations: {key!r} is no fully qualified domain name"
    return ""


def _id_fault(key_id: str) -> str:
    if not key_id:
        return "keyID is empty"
    size = len(key_id.encode())
    if size > _LONGEST_ID:
        return f"keyID is {size} bytes, which exceeds the max size of {_LONGEST_ID}"
    return ""


def _cache_key(source: pb.EncryptedObject) -> bytes:
    """The same for the same encrypted seed, with all that the plugin is given of it."""
    rows = [source.source_type, source.source, source.key_id, sorted(source.annotations.items())]
    return msgspec.msgpack.encode(rows)
