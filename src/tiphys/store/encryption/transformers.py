"""Which key seals and which keys open the values of a resource: the providers of a configuration,
in order.

The first seals; on reading, the prefix of the stored bytes selects those that may open them:
``k8s:enc:PROVIDER:v1:KEY:``, or ``k8s:enc:kms:v2:NAME:``. Values without one are plain, for whom
`identity` is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from tiphys.store.corruption import ENCRYPTED, IDENTITY_FAULT
from tiphys.store.encryption.ciphers import GCM, CBCCipher, Cipher, OpenError, SecretBox
from tiphys.store.encryption.configuration import (
    KMS,
    EncryptionConfiguration,
    GroupResource,
    Keys,
    Provider,
    group_resource,
)
from tiphys.store.encryption.envelope import Envelope
from tiphys.store.encryption.metrics import EncryptionMetrics, uncounted

_ANY = GroupResource("*", "*")


class Transformer(NamedTuple):
    """One key of one provider.

    prefix: of what it has sealed; empty for identity, which leaves values as they are
    mark:   the same for the same key in any configuration
    """

    prefix: bytes
    cipher: Cipher | None
    mark: bytes = b""


_IDENTITY = Transformer(b"", None)


class Opened(NamedTuple):
    """A value, and the mark of the key that it was sealed with. `prefix` is what that marks values
    with."""

    value: bytes
    mark: bytes
    prefix: bytes = b""


class Chain:
    """The transformers of one resource. The first seals."""

    def __init__(self, transformers: list[Transformer]) -> None:
        self.is_configured = transformers != [_IDENTITY]
        self._transformers = transformers
        first = transformers[0]
        self._mark = first.mark
        self.prefix = first.prefix  # of what it seals
        self._cipher = first.cipher

    @property
    def mark(self) -> bytes:
        """Of what it seals now: a plugin's key may change."""
        return self._cipher.mark if isinstance(self._cipher, Envelope) else self._mark

    @property
    def envelope(self) -> Envelope | None:
        """The plugin's cipher, when it is one that seals."""
        return self._cipher if isinstance(self._cipher, Envelope) else None

    def envelope_of(self, stored: bytes) -> Envelope | None:
        """The plugin's cipher that may open stored bytes, if one may."""
        for prefix, cipher, _ in self._transformers:
            if isinstance(cipher, Envelope) and stored.startswith(prefix):
                return cipher
        return None

    def seal(self, value: bytes, context: bytes) -> bytes:
        """The value as it is stored; the same object when the resource is stored plain. Raises
        SealError."""
        if self._cipher is None:
            return value
        return self.prefix + self._cipher.seal(value, context)

    def open(self, stored: bytes, context: bytes) -> Opened:
        """Tries every transformer whose prefix the bytes have: two keys may share a name. Raises
        OpenError."""
        faults: list[str] = []
        for prefix, cipher, mark in self._transformers:
            if cipher is None:
                if not stored.startswith(ENCRYPTED):
                    return Opened(stored, mark)
            elif stored.startswith(prefix):
                try:
                    sealed = stored[len(prefix) :]
                    if isinstance(cipher, Envelope):
                        return Opened(*cipher.opened(sealed, context), prefix)
                    return Opened(cipher.open(sealed, context), mark, prefix)
                except OpenError as error:
                    faults.append(str(error))
        if len(self._transformers) == 1 and self._cipher is None:
            raise OpenError(IDENTITY_FAULT)
        raise OpenError(_fault(faults))


def _fault(faults: list[str]) -> str:
    if not faults:
        return "no matching prefix found"
    return faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"


class Transformers:
    """The chains of a configuration, by resource. `known` is the one before it: plugins that both
    have go on as they are, and so do the `metrics`."""

    def __init__(
        self,
        configuration: EncryptionConfiguration,
        known: Transformers | None = None,
        metrics: EncryptionMetrics | None = None,
    ) -> None:
        if metrics is None:
            metrics = known.metrics if known is not None else uncounted()
        self.metrics: EncryptionMetrics = metrics
        rules: dict[GroupResource, list[Transformer]] = {}
        self.envelopes: dict[KMS, Envelope] = {}
        self._known = known.envelopes if known is not None else {}
        for rule in configuration.resources:
            transformers = [
                transformer
                for provider in rule.providers
                for transformer in self._of_provider(provider)
            ]
            for text in rule.resources:
                rules.setdefault(group_resource(text), []).extend(transformers)
        self._chains = {named: Chain(transformers) for named, transformers in rules.items()}
        self._by_prefix: dict[str, Chain] = {}  # of resources that were asked for

    def of(self, prefix: str) -> Chain:
        """The chain of a resource; `prefix` is ``/group/plural/``, with `core` for the core
        group."""
        chain = self._by_prefix.get(prefix)
        if chain is None:
            chain = self._by_prefix[prefix] = self._choose(prefix)
        return chain

    def _choose(self, prefix: str) -> Chain:
        _, group, plural, _ = prefix.split("/")
        group = "" if group == "core" else group
        for named in (GroupResource(plural, group), GroupResource("*", group), _ANY):
            if named in self._chains:
                return self._chains[named]
        return _PLAIN

    def _of_provider(self, provider: Provider) -> Iterator[Transformer]:
        if provider.kms is None:
            yield from _of_provider(provider)
            return
        kms = provider.kms
        prefix = ENCRYPTED + f"kms:v2:{kms.name}:".encode()
        envelope = self.envelopes.get(kms) or self._known.get(kms)
        if envelope is None:
            from tiphys.store.encryption.plugins import Plugin  # gRPC, which few need

            plugin = Plugin(kms.endpoint, kms.seconds, partial(self.metrics.asked, kms.name))
            envelope = Envelope(kms.name, prefix, plugin, metrics=self.metrics)
        self.envelopes[kms] = envelope
        yield Transformer(prefix, envelope)


_PLAIN = Chain([_IDENTITY])


def _of_provider(provider: Provider) -> Iterator[Transformer]:
    if provider.secretbox is not None:
        yield from _of_keys("secretbox", SecretBox, provider.secretbox)
    elif provider.aesgcm is not None:
        yield from _of_keys("aesgcm", GCM, provider.aesgcm)
    elif provider.aescbc is not None:
        yield from _of_keys("aescbc", CBCCipher, provider.aescbc)
    else:
        yield _IDENTITY


def _of_keys(name: str, cipher: Callable[[bytes], Cipher], keys: Keys) -> Iterator[Transformer]:
    for key in keys.keys:
        prefix = ENCRYPTED + f"{name}:v1:{key.name}:".encode()
        mark = prefix + hashlib.sha256(key.bytes).digest()
        yield Transformer(prefix, cipher(key.bytes), mark)
