"""Which volumes of drivers the node's pods have, and which they wait for.

What they have is on disk, too (`records`), each step before the driver is asked for it: an agent
that comes after this one takes it back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from tiphys.node.csi.records import Published, Records, Staged
from tiphys.node.csi.source import unique_name

log = logging.getLogger(__name__)

Device = tuple[str, str]  # a volume as its driver knows it: (driver, handle)


class Wish(NamedTuple):
    """A pod's volume that is not published yet: it is neither unstaged nor, if it `is_attached`,
    detached."""

    uid: str
    device: Device
    is_attached: bool


class Holdings:
    """
    unattached: drivers of which nothing needs to be attached any more, whatever was
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._published: dict[str, dict[str, Published]] = defaultdict(dict)  # by uid and name
        self._staged: dict[Device, Staged] = {}
        self._wishes: set[Wish] = set()
        self.unattached: set[str] = set()

    def load(self) -> None:
        """Reads what an agent before this one has mounted. Raises OSError."""
        for volume in self._records.published():
            self._published[volume.uid][volume.name] = volume
        for staged in self._records.staged():
            self._staged[staged.device] = staged

    # --- what there is ---

    def in_use(self) -> list[str]:
        """Names of the attached volumes that the node uses, for its status."""
        used = {volume.device for volume in self._all_published() if volume.attachment}
        used |= {volume.device for volume in self._staged.values() if volume.attachment}
        used |= {wish.device for wish in self._wishes if wish.is_attached}
        return sorted(unique_name(*device) for device in used if device[0] not in self.unattached)

    def attaching_drivers(self) -> set[str]:
        """Of volumes that were attached for pods."""
        return {volume.driver for volume in self._all_published() if volume.attachment}

    def pod_uids(self) -> set[str]:
        uids = {uid for uid, volumes in self._published.items() if volumes}
        return uids | {wish.uid for wish in self._wishes}

    def of_pod(self, uid: str) -> dict[str, Published]:
        """By the volume's name."""
        return dict(self._published.get(uid, {}))

    def staged(self, device: Device) -> Staged | None:
        return self._staged.get(device)

    def all_staged(self) -> list[Device]:
        return list(self._staged)

    def is_used(self, device: Device) -> bool:
        """Whether a pod has or waits for a volume."""
        is_wanted = any(wish.device == device for wish in self._wishes)
        return is_wanted or any(volume.device == device for volume in self._all_published())

    def has_another(self, uid: str, device: Device) -> bool:
        """Whether another pod has a volume."""
        return any(
            volume.device == device and volume.uid != uid for volume in self._all_published()
        )

    def _all_published(self) -> Iterator[Published]:
        return (volume for volumes in self._published.values() for volume in volumes.values())

    # --- what is waited for ---

    def wish(self, uid: str, device: Device, is_attached: bool) -> None:
        self._wishes.add(Wish(uid, device, is_attached))

    def fulfilled(self, uid: str, device: Device) -> set[Wish]:
        """A pod has what it waited for. Returns its wishes."""
        return self._take({wish for wish in self._wishes if wish[:2] == (uid, device)})

    def abandoned(self, uid: str) -> set[Wish]:
        """A pod waits no more. Returns its wishes."""
        return self._take({wish for wish in self._wishes if wish.uid == uid})

    def _take(self, wishes: set[Wish]) -> set[Wish]:
        self._wishes -= wishes
        return wishes

    # --- what changes, on disk first; all raise OSError ---

    async def keep_published(self, volume: Published) -> bool:
        """Before the driver is asked. Whether that is new."""
        is_new = volume.name not in self._published[volume.uid]
        await asyncio.to_thread(self._records.keep_published, volume)
        self._published[volume.uid][volume.name] = volume
        return is_new

    async def drop_published(self, volume: Published) -> None:
        await asyncio.to_thread(self._records.drop_published, volume)
        self._published[volume.uid].pop(volume.name, None)
        if not self._published[volume.uid]:
            del self._published[volume.uid]

    async def keep_staged(self, volume: Staged) -> bool:
        """Before the driver is asked. Whether that is new."""
        is_new = volume.device not in self._staged
        await asyncio.to_thread(self._records.keep_staged, volume)
        self._staged[volume.device] = volume
        return is_new

    async def drop_staged(self, volume: Staged) -> None:
        await asyncio.to_thread(self._records.drop_staged, volume)
        self._staged.pop(volume.device, None)

    async def forget_refused(self, volume: Published | Staged) -> None:
        """What a driver refused to do for good. If it left something at the place all the same,
        that is taken back later."""
        try:
            if isinstance(volume, Published):
                await self.drop_published(volume)
            else:
                await self.drop_staged(volume)
        except OSError as error:
            log.warning("A CSI driver refused a volume and left something: %s", error)
