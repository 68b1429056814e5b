"""A trigger: what is measured, and what it is to be kept at."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from tiphys.api.base import F, Struct, always, always_dict

_KINDS = ["TriggerAuthentication", "ClusterTriggerAuthentication"]


class AuthenticationRef(Struct):
    """Where a trigger's credentials stand. Without a kind it is a TriggerAuthentication."""

    name: Annotated[str, F(0, req=True)] = always("")
    kind: Annotated[str, Meta(extra_json_schema={"enum": _KINDS})] = ""


class Trigger(Struct):
    """`metadata` is the trigger's own: its type defines the names."""

    type: Annotated[str, F(0, req=True), Meta(extra_json_schema={"min_length": 1})] = always("")
    name: str = ""
    use_cached_metrics: bool = False
    metadata: Annotated[dict[str, str], F(0, req=True)] = always_dict()
    authentication_ref: AuthenticationRef | None = None
    metric_type: str = ""
