"""The elements of a set or map in the kernel, as pods come and go. Pure.

Both kinds note what was touched, so that only this has to be written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Elements:
    """Elements of a set. One that several pods bring (an address that is used again) stays until
    the last one goes."""

    def __init__(self) -> None:
        self._count: dict[str, int] = {}
        self._was_in: dict[str, bool] = {}  # what was touched since `take`

    def __len__(self) -> int:
        return len(self._count)

    def __iter__(self) -> Iterator[str]:
        return iter(self._count)

    def add(self, element: str) -> None:
        count = self._count.get(element, 0)
        self._was_in.setdefault(element, count > 0)
        self._count[element] = count + 1

    def discard(self, element: str) -> None:
        count = self._count[element]
        self._was_in.setdefault(element, True)
        if count > 1:
            self._count[element] = count - 1
        else:
            del self._count[element]

    def replace(self, old: Iterable[str], new: Iterable[str]) -> None:
        for element in new:
            self.add(element)
        for element in old:
            self.discard(element)

    def take(self) -> tuple[list[str], list[str]]:
        """(added, removed) since the last call."""
        added: list[str] = []
        removed: list[str] = []
        for element, was_in in self._was_in.items():
            is_in = element in self._count
            if is_in and not was_in:
                added.append(element)
            elif was_in and not is_in:
                removed.append(element)
        self._was_in.clear()
        return added, removed


class Verdicts:
    """Elements of a map from addresses to chains. Where two pods claim an address, the later one's
    chain counts: the earlier one has ended, and its object has not gone yet."""

    def __init__(self) -> None:
        self._owners: dict[str, dict[str, str]] = {}  # address → pod → verdict
        self._written: dict[str, str] = {}
        self._touched: set[str] = set()

    def __len__(self) -> int:
        return len(self._owners)

    def __iter__(self) -> Iterator[str]:
        return (f"{address} : {self._verdict(address)}" for address in self._owners)

    def put(self, address: str, pod: str, verdict: str) -> None:
        owners = self._owners.setdefault(address, {})
        owners.pop(pod, None)
        owners[pod] = verdict
        self._touched.add(address)

    def drop(self, address: str, pod: str) -> None:
        owners = self._owners[address]
        del owners[pod]
        if not owners:
            del self._owners[address]
        self._touched.add(address)

    def _verdict(self, address: str) -> str:
        """That of the pod that claimed the address last; empty when there is none."""
        owners = self._owners.get(address)
        return next(reversed(owners.values())) if owners else ""

    def take(self) -> tuple[list[str], list[str]]:
        """(added, removed) since the last call; an address that leads elsewhere is in both."""
        added: list[str] = []
        removed: list[str] = []
        for address in self._touched:
            before = self._written.get(address, "")
            after = self._verdict(address)
            if before == after:
                continue
            if before:
                removed.append(f"{address} : {before}")
            if after:
                added.append(f"{address} : {after}")
                self._written[address] = after
            else:
                del self._written[address]
        self._touched.clear()
        return added, removed
