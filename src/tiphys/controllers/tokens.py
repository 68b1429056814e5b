"""Secrets of type ``kubernetes.io/service-account-token``: a token that stays, for whom a
short-lived one will not do.

The token is bound to its secret: it is valid as long as the secret is there.
"""

from __future__ import annotations

from typing import Any

from tiphys.api import authentication_v1, core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.client.client import MERGE
from tiphys.client.informer import Informer
from tiphys.controllers.shell import Context, Controller

TYPE = "kubernetes.io/service-account-token"
ACCOUNT = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"
_LONGEST = (1 << 32) - 1  # seconds: the most that may be asked for
_ACCOUNTS = resource_of(core_v1.ServiceAccount)


def is_of(secret: core_v1.Secret, account: core_v1.ServiceAccount) -> bool:
    """Whether a secret is about this account, and not about an earlier one of the same name."""
    uid = secret.metadata.annotations.get(ACCOUNT_UID)
    return not uid or uid == account.metadata.uid


class TokenSecretController(Controller):
    name = "serviceaccount-token"
    workers = 2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._secrets = Informer(self.client, core_v1.Secret, fields=f"type={TYPE}")

    def watch(self) -> None:
        self._accounts = self.informer(core_v1.ServiceAccount)
        self._secrets.index("account", _account_index)
        self._secrets.on_change(self.enqueue)
        self._accounts.on_change(self._account_changed)

    def _account_changed(self, old: Any, new: Any) -> None:
        meta = (new or old).metadata
        for secret in self._secrets.by("account", f"{meta.namespace}/{meta.name}"):
            self.enqueue(None, secret)

    async def run(self) -> None:
        self.context.tasks.start(self._secrets.run(), "token-secrets", vital=True)
        await self._secrets.synced.wait()
        await super().run()

    async def reconcile(self, key: str) -> float | None:
        secret = self._secrets.get(key)
        if secret is None or secret.metadata.deletion_timestamp:
            return None
        meta = secret.metadata
        account = await self._account(meta.namespace, meta.annotations.get(ACCOUNT, ""))
        if account is None or not is_of(secret, account):
            await self.delete(secret, unchanged=True)
            return None
        wanted = {
            "ca.crt": self.context.settings["ca"].encode(),
            "namespace": meta.namespace.encode(),
        }
        is_filled = all(secret.data.get(name) == value for name, value in wanted.items())
        if is_filled and "token" in secret.data:
            return None
        token = secret.data.get("token") or await self._token(secret, account.metadata.name)
        change = {
            "metadata": {
                "resourceVersion": meta.resource_version,
                "annotations": {ACCOUNT_UID: account.metadata.uid},
            },
            "data": {**wanted, "token": token},
        }
        await self.client.patch(core_v1.Secret, meta.name, change, meta.namespace, media=MERGE)
        return None

    async def _account(self, namespace: str, name: str) -> core_v1.ServiceAccount | None:
        """The account. One that is not known here is asked of the server: no secret is deleted
        because an informer is late."""
        account: core_v1.ServiceAccount | None = self._accounts.get(f"{namespace}/{name}")
        if account is not None or not name:
            return account
        return await self.live(core_v1.ServiceAccount, name, namespace)

    async def _token(self, secret: core_v1.Secret, account: str) -> bytes:
        meta = secret.metadata
        request = authentication_v1.TokenRequest()
        request.spec.expiration_seconds = _LONGEST
        request.spec.bound_object_ref = authentication_v1.BoundObjectReference(
            api_version="v1", kind="Secret", name=meta.name, uid=meta.uid
        )
        answer = await self.client.post(_ACCOUNTS, meta.namespace, account, "token", request)
        return decode(answer, authentication_v1.TokenRequest).status.token.encode()


def _account_index(secret: core_v1.Secret) -> list[str]:
    return [f"{secret.metadata.namespace}/{secret.metadata.annotations.get(ACCOUNT, '')}"]
