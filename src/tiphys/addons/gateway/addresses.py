"""Which address a Gateway has: one of a range to itself, the same as long as it lives."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

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
        """One address for everything: Gateways share its ports."""
        return self._network.num_addresses == 1

    @property
    def first(self) -> str:
        """What Ingresses have."""
        return str(self._first)

    def has(self, address: str) -> bool:
        try:
            return ipaddress.ip_address(address) in self._network
        except ValueError:
            return False

    def assign(self, wanted: Iterable[tuple[str, str | None, str | None]]) -> dict[str, str]:
        """An address for each (key, asked for, had before), in the order of who comes first.

        Who asks for one has that, if it is in the range and nobody else has it; the rest have what they had, or the
        next free one. Who gets none is missing.
        """
        listed = list(wanted)
        if self.is_shared:
            return {key: self.first for key, asked, _ in listed if asked in (None, self.first)}
        given: dict[str, str] = {}
        used = {self.first}
        for choose in (1, 2):  # what is asked for, then what was had
            for entry in listed:
                address = entry[choose]
                if entry[0] in given or (choose == 2 and entry[1]):
                    continue
                if address and self.has(address) and address not in used:
                    given[entry[0]] = address
                    used.add(address)
        free = (str(self._first + offset) for offset in range(1, self._network.num_addresses))
        for key, asked, _ in listed:
            if key in given or asked:
                continue
            address = next((one for one in free if one not in used and self.has(one)), None)
            if address is None:
                break
            given[key] = address
            used.add(address)
        return given
