"""Shapes of names and amounts that several resources share."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from tiphys.addons.kueue import GROUP
from tiphys.api.base import F
from tiphys.api.meta_v1 import Condition

API_VERSION = f"{GROUP}/v1beta2"
DNS = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
INT32 = 2**31 - 1

Name = Annotated[str, Meta(max_length=253, pattern=DNS)]
PodSetName = Annotated[str, Meta(max_length=63, pattern=LABEL)]
CheckName = Annotated[str, Meta(min_length=1, max_length=316)]
Count = Annotated[int, Meta(ge=0, le=INT32)]
Conditions = Annotated[list[Condition], F(0, list="map", keys=("type",)), Meta(max_length=16)]
