"""Tokens by which machines join."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.bootstraptokens import NODE_GROUP, TYPE, Token
from tiphys.testing import LocalCluster


async def token(cluster: LocalCluster, made: Token, values: dict[str, str] | None = None) -> None:
    meta = ObjectMeta(name=f"bootstrap-token-{made.id}", namespace="kube-system")
    texts = {
        "token-id": made.id,
        "token-secret": made.secret,
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true",
        "auth-extra-groups": NODE_GROUP,
        **(values or {}),
    }
    data = {key: text.encode() for key, text in texts.items()}
    await cluster.client.create(core_v1.Secret(metadata=meta, type=TYPE, data=data))
