"""The ciphers of upstream's providers, byte for byte: what one server seals, the other opens.

Each seals one value; the nonce precedes the sealed bytes. `context` is the value's key in the
store: only AES-GCM binds a value to it, so that no writer to the store can put one Secret's
value in another's place.
"""

from __future__ import annotations

import os
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

_GCM_NONCE = 12  # bytes
_BLOCK = 16  # bytes of AES
_SECRETBOX_NONCE = 24
_SECRETBOX_TAG = 16
_TOO_SHORT = "the stored data was shorter than the required size"


class OpenError(Exception):
    """The sealed bytes cannot be opened. The text is upstream's."""


class Cipher(Protocol):
    """Seals and opens values with one key."""

    def seal(self, value: bytes, context: bytes) -> bytes: ...

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Raises OpenError."""
        ...


class GCM:
    """AES-GCM. Its nonces are random and of 96 bits, so upstream advises to use a key for 200,000
    writes at the most."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, value: bytes, context: bytes) -> bytes:
        nonce = os.urandom(_GCM_NONCE)
        return nonce + self._aead.encrypt(nonce, value, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        if len(sealed) < _GCM_NONCE:
            raise OpenError(_TOO_SHORT)
        try:
            return self._aead.decrypt(sealed[:_GCM_NONCE], sealed[_GCM_NONCE:], context)
        except InvalidTag:
            raise OpenError("cipher: message authentication failed") from None


class CBCCipher:
    """AES-CBC with PKCS#7 padding. It authenticates nothing: upstream advises against it."""

    def __init__(self, key: bytes) -> None:
        self._algorithm = AES(key)

    def seal(self, value: bytes, context: bytes) -> bytes:
        vector = os.urandom(_BLOCK)
        padding = _BLOCK - len(value) % _BLOCK
        encryptor = BlockCipher(self._algorithm, CBC(vector)).encryptor()
        return vector + encryptor.update(value + bytes([padding]) * padding) + encryptor.finalize()

    def open(self, sealed: bytes, context: bytes) -> bytes:
        if len(sealed) < _BLOCK:
            raise OpenError(_TOO_SHORT)
        if len(sealed) % _BLOCK:
            raise OpenError("the stored data is not a multiple of the block size")
        decryptor = BlockCipher(self._algorithm, CBC(sealed[:_BLOCK])).decryptor()
        padded = decryptor.update(sealed[_BLOCK:]) + decryptor.finalize()
        padding = padded[-1] if padded else 0
        if not padding or padding > len(padded):
            raise OpenError("invalid PKCS7 data (empty or not padded)")
        if padded[-padding:] != bytes([padding]) * padding:
            raise OpenError("invalid padding on input")
        return padded[:-padding]


class SecretBox:
    """XSalsa20 and Poly1305. Random nonces of 192 bits do not repeat, however much one key
    writes."""

    def __init__(self, key: bytes) -> None:
        from nacl.secret import SecretBox as Box

        self._box = Box(key)

    def seal(self, value: bytes, context: bytes) -> bytes:
        return bytes(self._box.encrypt(value, os.urandom(_SECRETBOX_NONCE)))

    def open(self, sealed: bytes, context: bytes) -> bytes:
        from nacl.exceptions import CryptoError

        if len(sealed) < _SECRETBOX_NONCE + _SECRETBOX_TAG:
            raise OpenError(_TOO_SHORT)
        try:
            return bytes(self._box.decrypt(sealed))
        except CryptoError:
            # Upstream's words for a value that no key at hand has sealed.
            raise OpenError("output array was not large enough for encryption") from None
