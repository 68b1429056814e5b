"""Secrets of type ``kubernetes.io/service-account-token``: a token that stays, for whom a short one will not do.

The token is bound to its secret: with the secret it loses its force.
"""

from __future__ import annotations

from typing import Any

from tiphys.api import authentication_v1, core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.client.client import MERGE
from tiphys.client.informer import Informer
from tiphys.controllers.shell import Context, Controller
from tiphys.machinery.errors import StatusError

TYPE = "kubernetes.io/service-account-token"
ACCOUNT, ACCOUNT_UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
_FOREVER = (1 << 32) - 1  # seconds: the most that may be asked for
_ACCOUNTS = resource_of(core_v1.ServiceAccount)


class TokenSecretController(Controller):
    name = "serviceaccount-token"
    workers = 2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._secrets = Informer(self.client, core_v1.Secret, fields=f"type={TYPE}")

    def watch(self) -> None:
        self._accounts = self.informer(core_v1.ServiceAccount)
        self._secrets.index(
            "account",
            lambda s: [f"{s.metadata.namespace}/{s.metadata.annotations.get(ACCOUNT, '')}"],
        )
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
        if account is None or meta.annotations.get(ACCOUNT_UID) not in (
            None,
            "",
            account.metadata.uid,
        ):
            await self._remove(secret)
            return None
        ca = self.context.settings["ca"].encode()
        wanted = {"ca.crt": ca, "namespace": meta.namespace.encode()}
        if "token" in secret.data and all(
            secret.data.get(name) == value for name, value in wanted.items()
        ):
            return None
        wanted["token"] = secret.data.get("token") or await self._token(
            secret, account.metadata.name
        )
        change = {
            "metadata": {
                "resourceVersion": meta.resource_version,
                "annotations": {ACCOUNT_UID: account.metadata.uid},
            },
            "data": wanted,
        }
        await self.client.patch(core_v1.Secret, meta.name, change, meta.namespace, media=MERGE)
        return None

    async def _account(self, namespace: str, name: str) -> core_v1.ServiceAccount | None:
        """Asks the server itself: a secret is not taken away on hearsay."""
        found = self._accounts.get(f"{namespace}/{name}")
        if found is not None or not name:
            return found
        try:
            return await self.client.get(core_v1.ServiceAccount, name, namespace)
        except StatusError as error:
            if error.code != 404:
                raise
            return None

    async def _token(self, secret: core_v1.Secret, account: str) -> bytes:
        meta, request = secret.metadata, authentication_v1.TokenRequest()
        request.spec.expiration_seconds = _FOREVER
        request.spec.bound_object_ref = authentication_v1.BoundObjectReference(
            api_version="v1", kind="Secret", name=meta.name, uid=meta.uid
        )
        answer = await self.client.post(_ACCOUNTS, meta.namespace, account, "token", request)
        return decode(answer, authentication_v1.TokenRequest).status.token.encode()

    async def _remove(self, secret: core_v1.Secret) -> None:
        meta = secret.metadata
        try:
            await self.client.delete(
                core_v1.Secret,
                meta.name,
                meta.namespace,
                uid=meta.uid,
                revision=meta.resource_version,
            )
        except StatusError as error:
            if error.code not in (404, 409):
                raise
