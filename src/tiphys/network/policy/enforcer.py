"""The shell around the table: informers in, nft out, several changes at once.

The kernel's table outlives the agent: until a new one has synced its informers, what the last one
wrote is in force; then the whole is replaced in one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
from collections.abc import Callable, Iterable

from tiphys.api import core_v1, discovery_v1, networking_v1
from tiphys.client.informer import Informer, Informers, key_of
from tiphys.network.nft import NftError, nft
from tiphys.network.policy.model import AnyPod, facts_of, read
from tiphys.network.policy.script import base, script
from tiphys.network.policy.table import PolicyTable
from tiphys.network.policy.watched import WatchedPod

log = logging.getLogger(__name__)

_PATIENCE = 0.01  # seconds to wait for more changes of the same moment
_LOOK = 15.0  # seconds between looks at a table that has not changed
_RETRY = 1.0  # seconds after a transaction that failed
_LIMIT = 20.0  # seconds that a container waits for its pod's isolation
_DNS_SERVICE = ("kube-system", "kube-dns")


def table_name(table: str) -> str:
    """The table of policies beside that of the service proxy."""
    return f"{table}-policy"


class PolicyEnforcer:
    """`pods` are all of the cluster's; `node` is whose pods are isolated here, `table` the name of
    the nft table, `write` what takes a transaction (blocking; raises NftError)."""

    def __init__(
        self,
        informers: Informers,
        pods: Informer[WatchedPod],
        node: str,
        table: str,
        write: Callable[[str], None] = nft,
    ) -> None:
        self._pods, self._nft = pods, write
        self._policies = informers.of(networking_v1.NetworkPolicy)
        self._namespaces = informers.of(core_v1.Namespace)
        self._slices = informers.of(discovery_v1.EndpointSlice)
        self._node, self._name = node, table
        self._table = PolicyTable(node)
        self.transactions = 0  # how many have been written
        self._knowing = asyncio.Event()  # once the table has what the server has
        self._changed = asyncio.Event()
        self._settled = asyncio.Condition()
        self._wanted = self._written = (
            0  # numbers of the last change, and of the last that is in force
        )
        self._running: dict[
            str, tuple[str, str]
        ] = {}  # local pod → (uid, address) from its sandbox until its end
        self._deleted: set[str] = (
            set()
        )  # local pods whose objects are gone and whose containers may still run

    # --- for the agent ---

    async def isolate(self, pod: core_v1.Pod, address: str) -> None:
        """Returns once the policies about a local pod are in force. Raises TimeoutError: then it
        must not start."""
        if pod.spec.host_network:
            return
        try:
            await self._isolate(pod, address)
        except TimeoutError as error:
            why = str(error) or "see the log of the node's agent"
            raise TimeoutError(f"network policies about the pod are not in force: {why}") from None

    async def _isolate(self, pod: core_v1.Pod, address: str) -> None:
        key = key_of(pod)
        async with asyncio.timeout(_LIMIT):
            await self._knowing.wait()
            if self._running.get(key) != (pod.metadata.uid, address):
                self._running[key] = (pod.metadata.uid, address)
                self._deleted.discard(key)
                self._put(self._pods.get(key) or pod)
            if self._table.isolates(key):
                if not address:
                    raise TimeoutError("the pod's address is not known")
                number = self._wanted
                async with self._settled:
                    await self._settled.wait_for(lambda: self._written >= number)

    def release(self, pod: core_v1.Pod) -> None:
        """Nothing of a local pod runs any more."""
        key = key_of(pod)
        if self._running.get(key, ("", ""))[0] != pod.metadata.uid:
            return
        del self._running[key]
        if key in self._deleted:
            self._deleted.discard(key)
            self._table.drop_pod(key)
            self._touch()
        elif (left := self._pods.get(key)) is not None:
            self._put(left)

    # --- what informers say ---

    def _touch(self) -> None:
        self._wanted += 1
        self._changed.set()

    def _put(self, pod: AnyPod) -> None:
        key = f"{pod.metadata.namespace}/{pod.metadata.name}"
        _, address = self._running.get(key, ("", ""))
        self._table.put_pod(facts_of(pod, address))
        self._touch()

    def _pod_changed(self, old: WatchedPod | None, new: WatchedPod | None) -> None:
        if new is not None:
            self._deleted.discard(key_of(new))
            self._put(new)
        elif old is not None:
            key = key_of(old)
            if key in self._running:
                self._deleted.add(key)  # deleted by force: isolated until its containers have ended
                return
            self._table.drop_pod(key)
            self._touch()

    def _policy_changed(
        self, old: networking_v1.NetworkPolicy | None, new: networking_v1.NetworkPolicy | None
    ) -> None:
        if new is not None:
            self._table.put_policy(key_of(new), read(new))
        elif old is not None:
            self._table.put_policy(key_of(old), None)
        self._touch()

    def _namespace_changed(
        self, old: core_v1.Namespace | None, new: core_v1.Namespace | None
    ) -> None:
        if new is not None:
            if old is None or old.metadata.labels != new.metadata.labels:
                self._table.put_namespace(new.metadata.name, new.metadata.labels)
                self._touch()
        elif old is not None:
            self._table.put_namespace(old.metadata.name, None)
            self._touch()

    def _slice_changed(
        self, old: discovery_v1.EndpointSlice | None, new: discovery_v1.EndpointSlice | None
    ) -> None:
        if any(one is not None and _is_dns(one) for one in (old, new)):
            self._table.put_dns(_dns_addresses(self._slices))
            self._touch()

    # --- the loop ---

    async def run(self) -> None:
        self._namespaces.on_change(self._namespace_changed)
        self._policies.on_change(self._policy_changed)
        self._slices.on_change(self._slice_changed)
        self._pods.on_change(self._pod_changed)
        for informer in (self._pods, self._policies, self._namespaces, self._slices):
            await informer.synced.wait()
        self._knowing.set()
        anew = True
        while True:
            number = self._wanted
            self._changed.clear()
            try:
                await self._write(anew)
            except (NftError, subprocess.TimeoutExpired, OSError) as error:
                log.warning("nft: %s; writing all policies again", error)
                anew = True
                await asyncio.sleep(_RETRY)
                continue
            anew = False
            async with self._settled:
                self._written = number
                self._settled.notify_all()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _LOOK)
            await asyncio.sleep(_PATIENCE)

    async def _write(self, anew: bool) -> None:
        text = script(self._name, self._table.whole() if anew else self._table.changes())
        if anew:
            text = base(self._name) + text
        # Without changes a look at what is there: somebody may have taken it away.
        await asyncio.to_thread(self._nft, text or f"list chain ip {self._name} ingress-forward\n")
        self.transactions += bool(text)


def _is_dns(one: discovery_v1.EndpointSlice) -> bool:
    meta = one.metadata
    return (meta.namespace, meta.labels.get("kubernetes.io/service-name")) == _DNS_SERVICE


def _dns_addresses(slices: Iterable[discovery_v1.EndpointSlice]) -> set[str]:
    """Of the DNS servers that are no pods (pods are known anyway)."""
    endpoints = [endpoint for one in slices if _is_dns(one) for endpoint in one.endpoints]
    return {
        address
        for endpoint in endpoints
        if endpoint.target_ref is None
        for address in endpoint.addresses
    }
