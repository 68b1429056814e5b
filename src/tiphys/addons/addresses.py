"""Which addresses of a pool the objects of an add-on have: one of a range each, or those that they
ask for, the same as long as they live."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from tiphys.addons.installing import AddonError


class Pool:
    """An address, or a range in CIDR notation. Raises AddonError for what is neither."""

    def __init__(self, addresses: str) -> None:
        try:
            self._network = ipaddress.ip_network(addresses, strict=False)
            text = addresses.partition("/")[0]
            self._first = ipaddress.ip_address(text)
        except ValueError:
            message = f"addresses={addresses} is neither an address nor a range of them"
            raise AddonError(message) from None
        if self.is_shared:
            return
        if self._first == self._network.network_address:
            self._first += 1

    @property
    def is_shared(self) -> bool:
        """One address for everything: all share its ports."""
        return self._network.num_addresses == 1

    @property
    def first(self) -> str:
        """What is never given to a single one."""
        return str(self._first)

    def has(self, address: str) -> bool:
        try:
            return ipaddress.ip_address(address) in self._network
        except ValueError:
            return False

    def assign(
        self, wanted: Iterable[tuple[str, Sequence[str], Sequence[str]]]
    ) -> dict[str, list[str]]:
        """Addresses for each (key, requested, had before), in the order of arrival.

        A request is met as far as it is in the range and no other has the address; the
        rest have the one that they had, or the next free one. Who gets none has an empty list.
        """
        listed = list(wanted)
        if self.is_shared:
            return {key: [self.first] if self._is_met(asked) else [] for key, asked, _ in listed}
        assigned: dict[str, list[str]] = {key: [] for key, _, _ in listed}
        used = {self.first}

        def give(key: str, address: str) -> None:
            if self.has(address) and address not in used:
                assigned[key].append(address)
                used.add(address)

        for key, asked, _ in listed:
            for address in asked:
                give(key, address)
        unasked = [(key, had) for key, asked, had in listed if not asked]
        for key, had in unasked:
            for address in had[:1]:
                give(key, address)
        free = (str(self._first + offset) for offset in range(1, self._network.num_addresses))
        for key, _ in unasked:
            while not assigned[key] and (address := next(free, "")):
                give(key, address)
        return assigned

    def _is_met(self, asked: Sequence[str]) -> bool:
        """Of the one address that there is."""
        return not asked or self.first in asked
