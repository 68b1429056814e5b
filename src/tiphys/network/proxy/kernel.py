"""The kernel's table of one version of IP: written as a whole, and changed."""

from __future__ import annotations

from typing import Protocol

from tiphys.network import nftables
from tiphys.network.netlink import transact
from tiphys.network.nft import nft
from tiphys.network.proxy.rules import LEAD
from tiphys.network.proxy.script import base, removal
from tiphys.network.proxy.table import Changes
from tiphys.network.proxy.wire import IPV4, IPV6, Family, messages


class Kernel(Protocol):
    """Both block. `script` raises NftError, `transact` NetlinkError."""

    def script(self, text: str) -> None: ...

    def transact(self, messages: list[bytes]) -> None: ...


class ThisKernel:
    """That of the network namespace that the process is in."""

    def script(self, text: str) -> None:
        nft(text)

    def transact(self, messages: list[bytes]) -> None:
        transact(messages)


class KernelTable:
    """A whole table is written beside the one in force, under the other of two names, and that one
    goes once the new one is complete: at no moment is a service not there."""

    def __init__(
        self,
        family: Family,
        name: str,
        pod_cidrs: list[str],
        service_cidrs: list[str],
        kernel: Kernel,
    ) -> None:
        self.family = family
        self._names = names(name)
        self._networks = pod_cidrs, service_cidrs
        self._kernel = kernel
        self._current = ""  # "" before this process has written any

    def replace(self, contents: Changes) -> None:
        """Writes everything. What an earlier process left is in force until then."""
        old = self._current or self._standing()
        new = self._names[1] if old == self._names[0] else self._names[0]
        text = base(self.family, new, *self._networks)
        self._kernel.script(removal(self.family, new) + text)
        self._kernel.transact(list(messages(self.family, new, contents)))
        if old:
            self._kernel.script(removal(self.family, old))
        self._current = new

    def _standing(self) -> str:
        """The table of an earlier process, "" for none."""
        for name in self._names:
            if self._exists(name):
                return name
        return ""

    def _exists(self, name: str) -> bool:
        try:
            self._kernel.transact([self._touch(name)])
        except OSError:
            return False
        return True

    def _touch(self, name: str) -> bytes:
        """Changes nothing, and fails where the table is not there."""
        return nftables.touch_chain(self.family.number, name, LEAD)

    def change(self, changes: Changes) -> None:
        """Without changes it checks that the table exists: it may have been removed."""
        encoded = list(messages(self.family, self._current, changes))
        self._kernel.transact(encoded or [self._touch(self._current)])

    def remove(self) -> None:
        for name in self._names:
            self._kernel.script(removal(self.family, name))


def names(table: str) -> tuple[str, str]:
    return table, f"{table}-2"


def families(networks: str) -> dict[Family, list[str]]:
    """Networks with commas between them, by version of IP."""
    by_family: dict[Family, list[str]] = {}
    for network in filter(None, networks.split(",")):
        by_family.setdefault(IPV6 if ":" in network else IPV4, []).append(network)
    return by_family
