"""The shell around the table: informers in, nft out, several changes at once.

The kernel's table outlives the agent: until a new one has synced its informers, what the last one
wrote is in force; then the whole is replaced in one transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tiphys.api import core_v1, discovery_v1, networking_v1
from tiphys.client.informer import Informer, Informers, key_of
from tiphys.network.nft import NftError, nft
from tiphys.network.policy.model import AnyPod, address_of, facts_of, read
from tiphys.network.policy.script import IPV4, Version, base, script
from tiphys.network.policy.table import PolicyTable
from tiphys.network.policy.watched import WatchedPod

log = logging.getLogger(__name__)

_BATCH_SECONDS = 0.01  # to wait for more changes of the same moment
_CHECK_SECONDS = 15.0  # between checks of a table that has not changed
_RETRY_SECONDS = 1.0  # after a transaction that failed
_ISOLATION_SECONDS = 20.0  # that a container waits for its pod's isolation
_DNS_SERVICE = ("kube-system", "kube-dns")


def table_name(table: str) -> str:
    """The table of policies beside that of the service proxy."""
    return f"{table}-policy"


class _Sandbox(NamedTuple):
    """A local pod's, from its start until its end."""

    uid: str
    address: str


class PolicyEnforcer:
    """Keeps the nft table `table` as the policies about the pods of `node` are.

    `pods` are all of the cluster's. `write` takes a transaction (blocking; raises NftError).
    `transactions` counts those that were written.
    """

    def __init__(
        self,
        informers: Informers,
        pods: Informer[WatchedPod],
        node: str,
        table: str,
        write: Callable[[str], None] = nft,
        version: Version = IPV4,
    ) -> None:
        self._pods = pods
        self._policies = informers.of(networking_v1.NetworkPolicy)
        self._namespaces = informers.of(core_v1.Namespace)
        self._slices = informers.of(discovery_v1.EndpointSlice)
        self._write = write
        self._name = table
        self._version = version
        self._table = PolicyTable(node, version)
        self.transactions = 0
        self._looked_at = 0.0  # at the table, or wrote it
        self._synced = asyncio.Event()  # once the table has what the server has
        self._changed = asyncio.Event()
        self._settled = asyncio.Condition()
        self._last_change = 0  # changes are numbered
        self._in_force = 0  # the last that the kernel has
        self._sandboxes: dict[str, _Sandbox] = {}  # by the local pod's key
        # Local pods whose objects are gone and whose containers may still run.
        self._deleted: set[str] = set()

    # --- for the agent ---

    async def isolate(self, pod: core_v1.Pod, addresses: Sequence[str]) -> None:
        """Returns once the policies about a local pod are in force. One that has addresses, and
        none of this version of IP, is not isolated in it.

        Raises TimeoutError when they cannot be: then no container of the pod may start.
        """
        address = address_of(addresses, self._version.number)
        if pod.spec.host_network or (addresses and not address):
            return
        try:
            await self._isolate(pod, address)
        except TimeoutError as error:
            reason = str(error) or "see the log of the node's agent"
            raise TimeoutError(
                f"network policies about the pod are not in force: {reason}"
            ) from None

    async def _isolate(self, pod: core_v1.Pod, address: str) -> None:
        key = key_of(pod)
        sandbox = _Sandbox(pod.metadata.uid, address)
        async with asyncio.timeout(_ISOLATION_SECONDS):
            await self._synced.wait()
            if self._sandboxes.get(key) != sandbox:
                self._sandboxes[key] = sandbox
                self._deleted.discard(key)
                self._put(self._pods.get(key) or pod)
            if not self._table.isolates(key):
                return
            if not address:
                raise TimeoutError("the pod's address is not known")
            number = self._last_change
            async with self._settled:
                await self._settled.wait_for(lambda: self._in_force >= number)

    def release(self, pod: core_v1.Pod) -> None:
        """No container of a local pod runs any more."""
        key = key_of(pod)
        sandbox = self._sandboxes.get(key)
        if sandbox is None or sandbox.uid != pod.metadata.uid:
            return
        del self._sandboxes[key]
        remaining = self._pods.get(key)
        if key in self._deleted:
            self._deleted.discard(key)
            self._table.drop_pod(key)
            self._note_change()
        elif remaining is not None:
            self._put(remaining)

    # --- changes of objects ---

    def _note_change(self) -> None:
        self._last_change += 1
        self._changed.set()

    def _put(self, pod: AnyPod) -> None:
        key = f"{pod.metadata.namespace}/{pod.metadata.name}"
        sandbox = self._sandboxes.get(key)
        self._table.put_pod(facts_of(pod, sandbox.address if sandbox else "", self._version.number))
        self._note_change()

    def _pod_changed(self, old: WatchedPod | None, new: WatchedPod | None) -> None:
        if new is not None:
            self._deleted.discard(key_of(new))
            self._put(new)
        elif old is not None:
            key = key_of(old)
            if key in self._sandboxes:
                # Deleted by force: it stays isolated until its containers have ended.
                self._deleted.add(key)
                return
            self._table.drop_pod(key)
            self._note_change()

    def _policy_changed(
        self, old: networking_v1.NetworkPolicy | None, new: networking_v1.NetworkPolicy | None
    ) -> None:
        if new is not None:
            self._table.put_policy(key_of(new), read(new))
        elif old is not None:
            self._table.put_policy(key_of(old), None)
        self._note_change()

    def _namespace_changed(
        self, old: core_v1.Namespace | None, new: core_v1.Namespace | None
    ) -> None:
        if new is None:
            if old is not None:
                self._table.put_namespace(old.metadata.name, None)
                self._note_change()
        elif old is None or old.metadata.labels != new.metadata.labels:
            self._table.put_namespace(new.metadata.name, new.metadata.labels)
            self._note_change()

    def _slice_changed(
        self, old: discovery_v1.EndpointSlice | None, new: discovery_v1.EndpointSlice | None
    ) -> None:
        if _is_dns(old) or _is_dns(new):
            self._table.put_dns(dns_addresses(self._slices, self._version.number))
            self._note_change()

    # --- the loop ---

    async def run(self) -> None:
        self._namespaces.on_change(self._namespace_changed)
        self._policies.on_change(self._policy_changed)
        self._slices.on_change(self._slice_changed)
        self._pods.on_change(self._pod_changed)
        for informer in (self._pods, self._policies, self._namespaces, self._slices):
            await informer.synced.wait()
        self._synced.set()
        from_scratch = True
        while True:
            number = self._last_change
            self._changed.clear()
            try:
                await self._apply(from_scratch)
            except (NftError, subprocess.TimeoutExpired, OSError) as error:
                log.warning("nft refused a change, all policies are written again: %s", error)
                from_scratch = True
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            from_scratch = False
            async with self._settled:
                self._in_force = number
                self._settled.notify_all()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _CHECK_SECONDS)
            await asyncio.sleep(_BATCH_SECONDS)

    async def _apply(self, from_scratch: bool) -> None:
        """Writes what has changed, or the whole table."""
        if from_scratch:
            changes = self._table.everything()
            text = base(self._name, self._version) + script(self._name, changes, self._version)
        else:
            text = script(self._name, self._table.changes(), self._version)
        now = time.monotonic()
        is_due = now - self._looked_at >= _CHECK_SECONDS
        if not text and not is_due:
            return  # a pod that no policy is about changes nothing
        self._looked_at = now
        # Without changes, checks that the table still exists: it may have been removed.
        look = f"list chain {self._version.ip} {self._name} ingress-forward\n"
        await asyncio.to_thread(self._write, text or look)
        self.transactions += bool(text)


class EveryVersion:
    """The enforcers of a node, one for each version of IP of its pods."""

    def __init__(self, enforcers: Sequence[PolicyEnforcer]) -> None:
        self._enforcers = enforcers

    async def isolate(self, pod: core_v1.Pod, addresses: Sequence[str]) -> None:
        """Raises TimeoutError."""
        for enforcer in self._enforcers:
            await enforcer.isolate(pod, addresses)

    def release(self, pod: core_v1.Pod) -> None:
        for enforcer in self._enforcers:
            enforcer.release(pod)


def _is_dns(endpoint_slice: discovery_v1.EndpointSlice | None) -> bool:
    if endpoint_slice is None:
        return False
    meta = endpoint_slice.metadata
    return (meta.namespace, meta.labels.get("kubernetes.io/service-name")) == _DNS_SERVICE


def dns_addresses(slices: Iterable[discovery_v1.EndpointSlice], version: int = 4) -> set[str]:
    """Those of a version of IP of the DNS servers that are no pods (pods are known anyway)."""
    return {
        address
        for endpoint_slice in slices
        if _is_dns(endpoint_slice)
        for endpoint in endpoint_slice.endpoints
        if endpoint.target_ref is None
        for address in endpoint.addresses
        if (":" in address) == (version == 6)
    }
