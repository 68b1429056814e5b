"""A profile that pods are scheduled by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tiphys.client.events import EventRecorder
from tiphys.scheduler.extenders.chain import ExtenderChain
from tiphys.scheduler.framework import Framework


@dataclass(frozen=True)
class ActiveProfile:
    framework: Framework
    extenders: ExtenderChain
    recorder: EventRecorder


# By the name that pods have as `spec.schedulerName`.
ActiveProfiles = Mapping[str, ActiveProfile]
