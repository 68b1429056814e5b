"""Types of events.k8s.io/v1: names, tags, keys and defaults from the published API of release 1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Int32, MicroTime, Struct, Time, always, always_list
from tiphys.api.core_v1 import EventSource, ObjectReference
from tiphys.api.meta_v1 import ListMeta, Object, TypeMeta


class Event(Object):
    api_version: str = always("events.k8s.io/v1")
    kind: str = always("Event")
    event_time: Annotated[MicroTime | None, F(2, req=True)] = None
    series: Annotated[EventSeries | None, F(3)] = None
    reporting_controller: Annotated[str, F(4)] = ""
    reporting_instance: Annotated[str, F(5)] = ""
    action: Annotated[str, F(6)] = ""
    reason: Annotated[str, F(7)] = ""
    regarding: Annotated[ObjectReference, F(8, atomic=True)] = field(
        default_factory=ObjectReference
    )
    related: Annotated[ObjectReference | None, F(9, atomic=True)] = None
    note: Annotated[str, F(10)] = ""
    type: Annotated[str, F(11)] = ""
    deprecated_source: Annotated[EventSource, F(12)] = field(default_factory=EventSource)
    deprecated_first_timestamp: Annotated[Time | None, F(13)] = None
    deprecated_last_timestamp: Annotated[Time | None, F(14)] = None
    deprecated_count: Annotated[Int32, F(15)] = 0


class EventList(TypeMeta):
    api_version: str = always("events.k8s.io/v1")
    kind: str = always("EventList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[Event], F(2, req=True)] = always_list()


class EventSeries(Struct):
    count: Annotated[Int32, F(1, req=True)] = always(0)
    last_observed_time: Annotated[MicroTime | None, F(2, req=True)] = None
