"""Ranges of the machine's users and groups for pods with a user namespace of their own
(`hostUsers: false`), each pod's its own; upstream's `pkg/kubelet/userns`.

A pod's range is a file in its folder: it is taken as long as that is there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tiphys.node.abilities import IdRange

LENGTH = 65_536  # users and groups of a pod, as upstream
_FILE = "userns"
_MOST_BYTES = 4096


class NoRangeLeft(Exception):
    """All ranges are taken."""


class UserNamespaces:
    """`folder` gives the folder of a pod, `most` is how many pods may have a range."""

    def __init__(self, folder: Callable[[str], Path], most: int) -> None:
        self._folder = folder
        self._most = most
        self._taken: dict[str, IdRange] = {}  # by uid

    def load(self, uids: Iterable[str]) -> None:
        """Takes over what an agent before this one gave to these pods."""
        for uid in uids:
            if (id_range := self._read(uid)) is not None:
                self._taken[uid] = id_range

    def taken(self, uid: str) -> IdRange | None:
        return self._taken.get(uid)

    def take(self, uid: str) -> IdRange:
        """The pod's range, on disk before it is used. Raises NoRangeLeft, OSError."""
        if uid in self._taken:
            return self._taken[uid]
        self._forget_gone()
        used = {taken.first for taken in self._taken.values()}
        # The first range is the machine's own users.
        free = (LENGTH * number for number in range(1, self._most + 1))
        first = next((first for first in free if first not in used), None)
        if first is None:
            raise NoRangeLeft("could not find an empty slot to allocate a user namespace")
        id_range = IdRange(first, LENGTH)
        self._write(uid, id_range)
        self._taken[uid] = id_range
        return id_range

    def _forget_gone(self) -> None:
        for uid in list(self._taken):
            if not (self._folder(uid) / _FILE).exists():
                del self._taken[uid]

    def _write(self, uid: str, id_range: IdRange) -> None:
        folder = self._folder(uid)
        folder.mkdir(parents=True, exist_ok=True)
        mapping = [{"hostId": id_range.first, "containerId": 0, "length": id_range.length}]
        fresh = folder / f"{_FILE}.new"
        with fresh.open("w") as file:
            json.dump({"uidMappings": mapping, "gidMappings": mapping}, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(folder / _FILE)

    def _read(self, uid: str) -> IdRange | None:
        try:
            with (self._folder(uid) / _FILE).open("rb") as file:
                return _range_in(json.loads(file.read(_MOST_BYTES)))
        except (OSError, ValueError):
            return None


def _range_in(document: Any) -> IdRange | None:
    """Of a file; None of one that this node would not write."""
    try:
        [users], [groups] = document["uidMappings"], document["gidMappings"]
        first = users["hostId"]
        length = users["length"]
    except (TypeError, KeyError, ValueError):
        return None
    is_ours = users == groups and users.get("containerId") == 0 and length == LENGTH
    is_range = type(first) is int and first >= LENGTH and first % LENGTH == 0
    return IdRange(first, length) if is_ours and is_range else None
