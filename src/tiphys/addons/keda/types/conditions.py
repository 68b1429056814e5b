"""Parts of a status: conditions without times, and which triggers are active."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from tiphys.api.base import F, Struct, always

COUNT: dict[str, Any] = {"format": "int32", "minimum": 0}

Count = Annotated[int, Meta(extra_json_schema=COUNT)]
"""A number from 0 on."""
Positive = Annotated[int, Meta(extra_json_schema={"format": "int32", "minimum": 1})]


class Condition(Struct):
    """`status` is True, False or Unknown. KEDA's conditions have no time of transition."""

    type: Annotated[str, F(0, req=True)] = always("")
    status: Annotated[str, F(0, req=True)] = always("")
    reason: str = ""
    message: str = ""


class TriggerActivity(Struct):
    is_active: bool = always(False)
