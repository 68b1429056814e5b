"""Encryption configurations and what is made of them."""

from __future__ import annotations

import base64
from typing import Any

from tiphys.store.encryption.configuration import parse, violations_of
from tiphys.store.encryption.transformers import Transformers

KEY = base64.b64encode(b"k" * 32).decode()


OTHER = base64.b64encode(b"o" * 32).decode()


def keyed(provider: str, name: str = "one", secret: str = KEY) -> dict[str, Any]:
    return {provider: {"keys": [{"name": name, "secret": secret}]}}


def document(*providers: dict[str, Any], resources: tuple[str, ...] = ("secrets",)) -> str:
    import json

    rule = {"resources": list(resources), "providers": list(providers)}
    return json.dumps(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": [rule],
        }
    )


def transformers(
    *providers: dict[str, Any], resources: tuple[str, ...] = ("secrets",)
) -> Transformers:
    configuration = parse(document(*providers, resources=resources).encode())
    assert not list(violations_of(configuration))
    return Transformers(configuration)
