"""What a KMS plugin says of itself, and when that is a fault."""

from __future__ import annotations

import pytest

from tiphys.store.encryption import kmspb as pb
from tiphys.store.encryption.envelope import Envelope


class Plugin:
    """Says what it is told to; its key turns everything round."""

    def __init__(self, status: pb.StatusResponse) -> None:
        self.answer = status

    async def status(self) -> pb.StatusResponse:
        return self.answer

    async def encrypt(self, plain: bytes) -> pb.EncryptResponse:
        return pb.EncryptResponse(ciphertext=plain[::-1], key_id=self.answer.key_id)

    async def decrypt(self, source: pb.EncryptedObject) -> bytes:
        return source.source[::-1]

    async def close(self) -> None: ...


def said(version: str = "v2", healthz: str = "ok", key_id: str = "k") -> pb.StatusResponse:
    return pb.StatusResponse(version=version, healthz=healthz, key_id=key_id)


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
