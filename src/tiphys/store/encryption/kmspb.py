"""The protocol of KMS plugins (package v2 of k8s.io/kms), and the stored form of values
that they have a part in (upstream's kmsv2.EncryptedObject)."""

from __future__ import annotations

from typing import Annotated

from tiphys.api.base import F, Int32, Struct


class StatusRequest(Struct):
    pass


class StatusResponse(Struct):
    version: Annotated[str, F(1)] = ""  # v2 or v2beta1
    healthz: Annotated[str, F(2)] = ""  # "ok", or what is wrong
    key_id: Annotated[str, F(3)] = ""  # of the key that encrypts now


class DecryptRequest(Struct):
    ciphertext: Annotated[bytes, F(1)] = b""
    uid: Annotated[str, F(2)] = ""
    key_id: Annotated[str, F(3)] = ""
    annotations: Annotated[dict[str, bytes], F(4)] = {}


class DecryptResponse(Struct):
    plaintext: Annotated[bytes, F(1)] = b""


class EncryptRequest(Struct):
    plaintext: Annotated[bytes, F(1)] = b""
    uid: Annotated[str, F(2)] = ""


class EncryptResponse(Struct):
    ciphertext: Annotated[bytes, F(1)] = b""
    key_id: Annotated[str, F(2)] = ""
    annotations: Annotated[dict[str, bytes], F(3)] = {}


KEY, SEED = 0, 1  # what the plugin has encrypted: a key of AES-GCM, or what keys are derived from


class EncryptedObject(Struct):
    """A stored value: sealed with a key (`source_type`) that the plugin alone can open."""

    data: Annotated[bytes, F(1)] = b""
    key_id: Annotated[str, F(2)] = ""
    source: Annotated[bytes, F(3)] = b""
    annotations: Annotated[dict[str, bytes], F(4)] = {}
    source_type: Annotated[Int32, F(5)] = 0
