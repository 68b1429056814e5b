"""What to attach to a node, and what to detach: the core of `attachdetach`. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from tiphys.api import core_v1, storage_v1
from tiphys.controllers.shell import sooner
from tiphys.machinery.nodes import is_out_of_service

# seconds a node is waited for that uses what no pod there wants (maxWaitForUnmount)
PATIENCE = 360.0
ATTACHING = 120.0  # seconds between events about a volume that is not attached yet, as upstream
_NAME = re.compile(r"csi-[0-9a-f]{64}")  # the names that we give; others are deleted by others
_EXCLUSIVE_MODES = {"ReadWriteOnce", "ReadWriteOncePod"}

Attachment = storage_v1.VolumeAttachment


@dataclass(frozen=True)
class Wish:
    """One volume that should be attached to one node; `volume` is the PersistentVolume's name."""

    driver: str
    handle: str
    volume: str
    node: str

    @property
    def name(self) -> str:
        """The name of the attachment, which upstream makes alike."""
        digest = hashlib.sha256((self.handle + self.driver + self.node).encode()).hexdigest()
        return f"csi-{digest}"

    @property
    def unique_name(self) -> str:
        """The volume as nodes call it in their status."""
        return unique_name(self.driver, self.handle)


def unique_name(driver: str, handle: str) -> str:
    return f"kubernetes.io/csi/{driver}^{handle}"


@dataclass
class Plan:
    """What to do for one node. `refused` are wishes that another node's hold on the volume forbids,
    `late` those whose attacher is waited for in vain; `attached` is what the node's status should
    say; `wake` is when to reconcile again, in seconds."""

    create: list[Wish] = field(default_factory=list)
    delete: list[Attachment] = field(default_factory=list)
    refused: list[Wish] = field(default_factory=list)
    late: list[Wish] = field(default_factory=list)
    attached: list[core_v1.AttachedVolume] = field(default_factory=list)
    wake: float | None = None


@dataclass
class Surroundings:
    """What a look at a node needs to know beside it.

    `is_elsewhere` says whether a volume may not be on this node because it is on another;
    `unique_name_of` how the node calls the volume of an attachment. `unwanted_since` remembers
    since when nobody wants an attachment, and `awaited_since` since when one is waited for that is
    wanted, in seconds; both are updated.
    """

    is_elsewhere: Callable[[Wish], bool]
    unique_name_of: Callable[[Attachment], str]
    unwanted_since: dict[str, float] = field(default_factory=dict)
    awaited_since: dict[str, float] = field(default_factory=dict)


def plan(
    node: core_v1.Node | None,
    wishes: list[Wish],
    standing: list[Attachment],
    around: Surroundings,
    now: float,
) -> Plan:
    """One look at a node, None if it is gone: the wishes of its pods, and its attachments."""
    result = Plan()
    wanted = {wish.name: wish for wish in wishes}
    present = {attachment.metadata.name for attachment in standing}
    for name, wish in wanted.items():
        around.unwanted_since.pop(name, None)
        if name in present:
            continue
        if around.is_elsewhere(wish):
            result.refused.append(wish)
        else:
            result.create.append(wish)
    for attachment in standing:
        name = attachment.metadata.name
        is_leaving = bool(attachment.metadata.deletion_timestamp)
        if name not in wanted and not is_leaving and _NAME.fullmatch(name):
            wait = _wait(node, attachment, around, now)
            if wait <= 0:
                result.delete.append(attachment)
                around.unwanted_since.pop(name, None)
                continue
            result.wake = sooner(result.wake, wait)
        _look_whether_late(result, attachment, wanted.get(name), around, now)
        if attachment.status.attached and not is_leaving:
            unique = around.unique_name_of(attachment)
            result.attached.append(core_v1.AttachedVolume(name=unique, device_path=""))
    result.attached.sort(key=lambda volume: volume.name)
    return result


def _look_whether_late(
    result: Plan, attachment: Attachment, wish: Wish | None, around: Surroundings, now: float
) -> None:
    status = attachment.status
    name = attachment.metadata.name
    if wish is None or status.attached or status.attach_error is not None:
        around.awaited_since.pop(name, None)
        return
    waited = now - around.awaited_since.setdefault(name, now)
    if waited >= ATTACHING:
        result.late.append(wish)
        around.awaited_since[name] = now
        waited = 0.0
    result.wake = sooner(result.wake, ATTACHING - waited)


def _wait(
    node: core_v1.Node | None, attachment: Attachment, around: Surroundings, now: float
) -> float:
    """Seconds that an unwanted attachment has to stay; 0 or less: it may be detached."""
    since = around.unwanted_since.setdefault(attachment.metadata.name, now)
    if node is None or is_out_of_service(node):
        return 0.0
    if around.unique_name_of(attachment) not in node.status.volumes_in_use:
        return 0.0
    return since + PATIENCE - now


def is_exclusive(volume: core_v1.PersistentVolume) -> bool:
    """Whether a volume may be attached to one node only."""
    return set(volume.spec.access_modes) <= _EXCLUSIVE_MODES
