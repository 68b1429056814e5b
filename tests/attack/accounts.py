"""Accounts and tokens of attackers."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import jwt

from tests.apiserver.rights import grant
from tiphys.api import authentication_v1, core_v1, rbac_v1
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Client
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

ACCOUNTS = resource_of(core_v1.ServiceAccount)


REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


async def account(server: LocalCluster, name: str) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name=name, namespace="default"))
    )


async def jane_who_may(server: LocalCluster, *rules: rbac_v1.PolicyRule) -> Client:
    await grant(server, "jane", *rules)
    return server.client_as("jane")


async def token_of(server: LocalCluster, bound: Any = None, **spec: Any) -> str:
    request = authentication_v1.TokenRequest(
        spec=authentication_v1.TokenRequestSpec(bound_object_ref=bound, **spec)
    )
    with contextlib.suppress(StatusError):  # it is there already
        await account(server, "robot")
    return str(
        json.loads(await server.client.post(ACCOUNTS, "default", "robot", "token", request))[
            "status"
        ]["token"]
    )


def forged(server: LocalCluster, token: str, **changes: Any) -> str:
    """The token with other claims, signed with the cluster's own key: only what it says is wrong."""
    claims = jwt.decode(token, options={"verify_signature": False})
    for name, value in changes.items():
        claims[name.replace("__", ".")] = value
    tokens = server.server.server.authenticator.tokens
    return jwt.PyJWS().encode(
        json.dumps(claims).encode(), tokens._private, "ES256", {"kid": tokens.key_id}
    )
