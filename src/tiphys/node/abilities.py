"""What a runtime and its machine can do beyond what every one can. Pure.

containerd reports it since 1.7 (user namespaces) and 2.0 (the rest). Of an older one nothing is
known, and pods that ask for more are refused in upstream's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class HandlerAbilities(NamedTuple):
    """Of what a RuntimeClass calls a handler; "" is the usual one."""

    recursive_read_only: bool = False
    user_namespaces: bool = False


NOTHING = HandlerAbilities()
EVERYTHING = HandlerAbilities(recursive_read_only=True, user_namespaces=True)


@dataclass(frozen=True)
class RuntimeAbilities:
    """
    handlers:      by name
    others:        of handlers that are not among them
    strict_groups: whether groups of the image's /etc/group can be left out; None if it is not known
    app_armor:     whether the kernel has it
    """

    handlers: Mapping[str, HandlerAbilities] = field(default_factory=dict)
    others: HandlerAbilities = NOTHING
    strict_groups: bool | None = None
    app_armor: bool = False

    def of(self, handler: str) -> HandlerAbilities:
        return self.handlers.get(handler, self.others)


class IdRange(NamedTuple):
    """The users and groups of the machine that those of a pod are, from 0 on."""

    first: int
    length: int
