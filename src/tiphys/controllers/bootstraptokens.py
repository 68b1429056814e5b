"""Bootstrap tokens: cluster-info is signed with each of them, and they go when they expire.

Upstream's bootstrap-signer-controller and token-cleaner-controller.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

from tiphys.api import core_v1
from tiphys.client.informer import Informer
from tiphys.controllers.shell import Context, Controller
from tiphys.machinery import bootstraptokens
from tiphys.machinery.bootstraptokens import SIGNATURE_PREFIX, SIGNING, TYPE

_INFO = ("kube-public", "cluster-info")
_CONTENT = "kubeconfig"


def signed(
    data: dict[str, str], secrets: Iterable[core_v1.Secret], now: float
) -> dict[str, str] | None:
    """The data of cluster-info with a signature for each token that may sign, and no others; None
    when there is nothing to sign."""
    content = data.get(_CONTENT)
    if content is None:
        return None
    kept = {key: text for key, text in data.items() if not key.startswith(SIGNATURE_PREFIX)}
    for secret in secrets:
        token = bootstraptokens.token_of(secret)
        if token is None or bootstraptokens.is_expired(secret, now):
            continue
        if bootstraptokens.serves(secret, SIGNING):
            kept[SIGNATURE_PREFIX + token.id] = bootstraptokens.signature(content, token)
    return kept


class _TokenController(Controller):
    """Watches the Secrets that are bootstrap tokens."""

    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        namespace = bootstraptokens.NAMESPACE
        self._tokens = Informer(self.client, core_v1.Secret, namespace, fields=f"type={TYPE}")

    async def run(self) -> None:
        self.context.tasks.start(self._tokens.run(), f"{self.name}-secrets", vital=True)
        await self._tokens.synced.wait()
        await super().run()


class BootstrapSigner(_TokenController):
    name = "bootstrap-signer"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        namespace, name = _INFO
        self._infos = Informer(
            self.client, core_v1.ConfigMap, namespace, fields=f"metadata.name={name}"
        )

    def watch(self) -> None:
        key = "/".join(_INFO)
        self._tokens.on_change(lambda old, new: self.queue.add(key))
        self._infos.on_change(lambda old, new: self.queue.add(key))

    async def run(self) -> None:
        self.context.tasks.start(self._infos.run(), f"{self.name}-info", vital=True)
        await self._infos.synced.wait()
        await super().run()

    async def reconcile(self, key: str) -> float | None:
        info = self._infos.get(key)
        if info is None:
            return None
        data = signed(info.data, self._tokens, self.context.now())
        if data is not None and data != info.data:
            changed = copy.deepcopy(info)
            changed.data = data
            await self.client.update(changed)
        return None


class TokenCleaner(_TokenController):
    name = "token-cleaner"

    def watch(self) -> None:
        self._tokens.on_change(self.enqueue)

    async def reconcile(self, key: str) -> float | None:
        secret = self._tokens.get(key)
        if secret is None:
            return None
        left = bootstraptokens.seconds_left(secret, self.context.now())
        if left is None or left > 0:
            return left
        await self.delete(secret)
        return None
