"""Events, in their older form (core/v1) and the newer one (events.k8s.io/v1). Both are stored in
the older.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.core_v1 import Event, EventSeries, ObjectReference
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import WIDE, Column, since
from tiphys.apiserver.resources.lookups import Objects
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.store.cache import Selectable

# Characters, of events that have a time of their own.
_LONGEST_WORD = 128
_LONGEST_MESSAGE = 1024

# --- columns, of an event in either form ---


def _regarding(event: Any) -> ObjectReference:
    older: ObjectReference | None = getattr(event, "involved_object", None)
    return older or event.regarding


def _object(event: Any) -> str:
    reference = _regarding(event)
    kind = reference.kind.lower()
    return f"{kind}/{reference.name}" if reference.name else kind


def _source(event: Any) -> str:
    if not hasattr(event, "source"):
        return str(event.reporting_controller)
    component = event.source.component or event.reporting_component
    return f"{component}, {event.source.host}" if event.source.host else component


def _message(event: Any) -> str:
    return str(getattr(event, "message", None) or getattr(event, "note", "")).strip()


def _first_seen(event: Any) -> str:
    for name in ("first_timestamp", "deprecated_first_timestamp"):
        if timestamp := getattr(event, name, None):
            return since(timestamp)
    return since(event.event_time)


def _last_seen(event: Any) -> str:
    for name in ("last_timestamp", "deprecated_last_timestamp"):
        if timestamp := getattr(event, name, None):
            return since(timestamp)
    if event.series is not None:
        return since(event.series.last_observed_time)
    return since(event.event_time)


def _count(event: Any) -> int:
    in_series = event.series.count if event.series else 0
    return in_series or getattr(event, "count", 0) or 1


class EventStrategy(Strategy[Event]):
    # An event's name is arbitrary: it comes last, and only with -o wide.
    columns = (
        Column("Last Seen", _last_seen),
        Column("Type", lambda o: o.type),
        Column("Reason", lambda o: o.reason),
        Column("Object", _object),
        Column("Subobject", lambda o: _regarding(o).field_path, priority=WIDE),
        Column("Source", _source, priority=WIDE),
        Column("Message", _message),
        Column("First Seen", _first_seen, priority=WIDE),
        Column("Count", _count, priority=WIDE),
        Column("Name", lambda o: o.metadata.name, format="name", priority=WIDE),
    )
    fields = (
        Selectable("involvedObject.kind"),
        Selectable("involvedObject.namespace"),
        Selectable("involvedObject.name"),
        Selectable("involvedObject.uid"),
        Selectable("involvedObject.apiVersion"),
        Selectable("involvedObject.resourceVersion"),
        Selectable("involvedObject.fieldPath"),
        Selectable("reason"),
        Selectable("reportingComponent"),
        Selectable("source", path="source.component|reportingComponent"),
        Selectable("type"),
    )
    lifetime = 3600  # as upstream's --event-ttl
    create_on_update = True
    component_field = "reportingComponent"
    """What the form of the event calls who reports it."""

    def validate(self, obj: Event) -> list[FieldError]:
        if obj.event_time is None:
            return _namespace_errors(obj, _may_be_in(obj))
        violations = self._reporter_errors(obj)
        namespace = obj.metadata.namespace
        regards_somewhere = bool(obj.involved_object.namespace)
        fits = regards_somewhere or namespace in ("default", "kube-system")
        return violations + _namespace_errors(obj, fits)

    def _reporter_errors(self, event: Event) -> list[FieldError]:
        """Of an event that came through the newer API, or is written as one: it has a time of
        its own."""
        violations = checks.required(event.reporting_component, self.component_field)
        violations += checks.qualified_name(event.reporting_component, self.component_field)
        words = {
            "reportingInstance": event.reporting_instance,
            "action": event.action,
            "reason": event.reason,
        }
        for field, word in words.items():
            violations += checks.required(word, field)
        for field, word in words.items():
            violations += _length_errors(word, _LONGEST_WORD, field)
        return violations + _length_errors(event.message, _LONGEST_MESSAGE, "message")


def _may_be_in(event: Event) -> bool:
    """Whether an event of the older form is in the namespace of what it is about; what is in
    none has them in default."""
    regarding = event.involved_object.namespace
    namespace = event.metadata.namespace
    return namespace == regarding if regarding else namespace in ("", "default")


def _namespace_errors(event: Event, fits: bool) -> list[FieldError]:
    if fits:
        return []
    detail = "does not match event.namespace"
    namespace = event.involved_object.namespace
    return [errors.invalid_value("involvedObject.namespace", namespace, detail)]


def _length_errors(text: str, most: int, field: str) -> list[FieldError]:
    if len(text) <= most:
        return []
    return [errors.invalid_value(field, "", f"can have at most {most} characters")]


class EventsV1Strategy(EventStrategy):
    """Events that come through events.k8s.io: they have a time of their own, and are counted in
    series alone."""

    component_field = "reportingController"

    def validate_new(self, obj: Event, objects: Objects) -> list[FieldError]:
        violations = self.validate(obj) + _series_errors(obj.series)
        if obj.event_time is None:
            violations.append(errors.required("eventTime"))
        if obj.type not in ("Normal", "Warning"):
            violations.append(errors.invalid_value("type", "", f"has invalid value: {obj.type}"))
        older_fields = {
            "firstTimestamp": obj.first_timestamp,
            "lastTimestamp": obj.last_timestamp,
            "count": obj.count,
            "source": obj.source.component or obj.source.host,
        }
        for field, value in older_fields.items():
            if value:
                violations.append(errors.invalid_value(field, "", "needs to be unset"))
        return violations

    def validate_change(self, new: Event, old: Event) -> list[FieldError]:
        violations = self.validate(new)
        if new.series != old.series:
            violations += _series_errors(new.series)
        return violations


def _series_errors(series: EventSeries | None) -> list[FieldError]:
    if series is None:
        return []
    violations = []
    if series.count <= 1:
        violations.append(errors.invalid_value("series.count", "", "should be at least 2"))
    if series.last_observed_time is None:
        violations.append(errors.required("series.lastObservedTime"))
    return violations
