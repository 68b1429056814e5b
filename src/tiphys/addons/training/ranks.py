"""Who has which rank. Pure.

A pod keeps the rank that its agent was started with as long as it can, so that a worker finds the
files that it left; what is free goes to pods without one, in the order of their index.
"""

from __future__ import annotations

from dataclasses import dataclass

from tiphys.addons.training.observation import AgentState, Member, Observation
from tiphys.addons.training.sizes import Group


@dataclass(frozen=True)
class Ranking:
    """`members` by rank. `missing` are ranks that no pod can take yet; `waiting` are members that
    have a rank and are not ready."""

    members: dict[int, Member]
    missing: tuple[int, ...]
    waiting: tuple[Member, ...]

    @property
    def is_complete(self) -> bool:
        return not self.missing and not self.waiting


def ranking_of(seen: Observation, groups: tuple[Group, ...], epoch: str) -> Ranking:
    """Ranks for a start that is called `epoch`. Members that run since that start count as
    ready."""
    members: dict[int, Member] = {}
    waiting: list[Member] = []
    missing: list[int] = []
    for group in groups:
        block = range(group.first_rank, group.first_rank + group.target)
        usable = [member for member in seen.of(group.name) if member.is_usable]
        kept = {member.rank: member for member in usable if member.rank in block}
        free = [
            member
            for member in usable
            if kept.get(member.rank) is not member and member.is_in(AgentState.READY)
        ]
        for rank in block:
            member = kept.get(rank) or (free.pop(0) if free else None)
            if member is None:
                missing.append(rank)
                continue
            members[rank] = member
            if not is_available(member, epoch):
                waiting.append(member)
    return Ranking(members, tuple(missing), tuple(waiting))


def is_available(member: Member, epoch: str) -> bool:
    """Whether it can be started, or was in this start."""
    return (
        member.is_in(AgentState.READY)
        or member.is_in(AgentState.RUNNING, epoch)
        or member.is_in(AgentState.COMPLETED, epoch)
    )
