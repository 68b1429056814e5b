"""The metrics of an API server. Names, labels and buckets are those of upstream's
`apiserver/pkg/endpoints/metrics`.

What happens with every request is tallied by series that are found once (`_Series`): to look one up
by the strings of a request's path costs less than half a microsecond, as does each tally. What can
be read off the server's own state is read at the scrape (`StateCollector`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
)
from prometheus_client.registry import Collector

from tiphys.api.catalog import Resource
from tiphys.apiserver.access.fairness import Fairness
from tiphys.apiserver.eventloop.watchdog import Watchdog
from tiphys.apiserver.http.request import Call, RequestInfo
from tiphys.apiserver.registry.served import ServedResources
from tiphys.client.exposition import (
    LATENCY_BUCKETS,
    CounterRow,
    HistogramRow,
    LazyCounter,
    LazyHistogram,
    Tally,
    exponential_buckets,
)
from tiphys.store.store import Store

if TYPE_CHECKING:
    from tiphys.apiserver.http.openwatches import OpenWatches

_PLACE = ("group", "version", "resource", "subresource", "scope", "component")
_COMPONENT = "apiserver"
_APPLY = "application/apply-patch"
# Verbs as upstream's metrics have them. What is no verb of a resource is a method.
_VERBS = {
    "get": "GET",
    "list": "LIST",
    "watch": "WATCH",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETECOLLECTION",
    "post": "POST",
    "put": "PUT",
    "head": "GET",
}
_OTHER = "other"
_CONNECTING = frozenset(("log", "exec", "portforward", "attach", "proxy"))
_MUTATING = frozenset(("create", "update", "patch", "delete", "deletecollection"))
_HEALTH = frozenset(("/healthz", "/livez", "/readyz"))  # upstream counts these pages, too
_SIZES = exponential_buckets(1000, 10, 7)  # bytes
_WINDOW = 1.0  # seconds over which the most requests at a time are reported


class _Place(NamedTuple):
    """What a request is about, as the labels of `_PLACE` have it."""

    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    scope: str = ""
    component: str = _COMPONENT


class _Series:
    """The requests of one verb about one resource. `codes`: how many there were, by the status of
    the answer. `sizes`: of answers to reads. `elapsed` and `own` are about requests
    that have waited for others: how long they took, and how long without that."""

    __slots__ = ("codes", "dry_run", "duration", "elapsed", "own", "place", "sizes", "verb")

    def __init__(self, verb: str, dry_run: str, place: _Place) -> None:
        self.verb = verb
        self.dry_run = dry_run
        self.place = place
        self.duration = Tally(LATENCY_BUCKETS)
        self.codes: dict[int, int] = {}
        self.sizes = Tally(_SIZES) if verb in ("GET", "LIST") else None
        self.elapsed: Tally | None = None
        self.own: Tally | None = None

    def waited(self, seconds: float, waited: float) -> None:
        if self.elapsed is None or self.own is None:
            self.elapsed = Tally(LATENCY_BUCKETS)
            self.own = Tally(LATENCY_BUCKETS)
        self.elapsed.observe(seconds)
        self.own.observe(max(seconds - waited, 0.0))


class InFlight:
    """How many requests of one kind are served: the most at a time within the last second, as
    upstream has it. What a page of metrics saw at the moment would be little more than itself."""

    def __init__(self) -> None:
        self._now = 0
        self._most = 0
        self._most_before = 0  # in the window before this one
        self._window_began = 0.0

    def enter(self) -> None:
        self._now += 1
        self._move_on(time.monotonic())
        if self._now > self._most:
            self._most = self._now

    def leave(self) -> None:
        self._now -= 1

    def most(self) -> int:
        self._move_on(time.monotonic())
        return max(self._most, self._most_before)

    def _move_on(self, now: float) -> None:
        passed = now - self._window_began
        if passed >= _WINDOW:
            self._most_before = self._most if passed < 2 * _WINDOW else self._now
            self._most = self._now
            self._window_began = now


class SentEvents:
    """How many events the watchers of one resource were sent. The event loop alone counts: a
    Counter's lock and checks would be a tenth of what an event takes."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class RequestMetrics:
    """What is counted of requests. `served` decides which names of a path become labels: requests
    for what does not exist must not create series."""

    def __init__(self, registry: CollectorRegistry, served: ServedResources) -> None:
        self._served = served
        self._series: dict[tuple[str, ...], _Series] = {}
        self._watched: dict[tuple[str, str, str], SentEvents] = {}
        self._mutating = InFlight()
        self._read_only = InFlight()
        self._long_running = Gauge(
            "apiserver_longrunning_requests",
            "Requests under way that last as long as their client likes: watches, exec, logs.",
            ("verb", *_PLACE),
            registry=registry,
        )
        in_flight = Gauge(
            "apiserver_current_inflight_requests",
            "The most requests that were served at a time within the last second.",
            ("request_kind",),
            registry=registry,
        )
        in_flight.labels("mutating").set_function(self._mutating.most)
        in_flight.labels("readOnly").set_function(self._read_only.most)

    def in_flight(self, verb: str) -> InFlight:
        """Of the requests of that verb's kind."""
        return self._mutating if verb in _MUTATING else self._read_only

    def answered(self, call: Call, status: int, seconds: float, size: int) -> None:
        """Takes note of an answer: its status, how long it took, and its bytes."""
        series = self._series_of(call)
        series.codes[status] = series.codes.get(status, 0) + 1
        series.duration.observe(seconds)
        if series.sizes is not None:
            series.sizes.observe(size)
        if call.warnings.waited:
            series.waited(seconds, call.warnings.waited)

    def families(self) -> Iterator[Metric]:
        """What is put together at a scrape. May be called on any thread."""
        series = list(self._series.values())
        events = CounterMetricFamily(
            "apiserver_watch_events_total",
            "Events sent to watchers.",
            labels=("group", "version", "resource"),
        )
        for key, sent in list(self._watched.items()):
            events.add_metric(key, sent.count)
        yield LazyCounter(
            "apiserver_request",
            "Requests by verb, dry run, resource, scope and status.",
            ("verb", "dry_run", *_PLACE, "code"),
            lambda: chain.from_iterable(map(_code_rows, series)),
        )
        yield LazyHistogram(
            "apiserver_request_duration_seconds",
            "Seconds from the head of a request to the end of its answer.",
            ("verb", "dry_run", *_PLACE),
            lambda: map(_duration_row, series),
        )
        yield LazyHistogram(
            "apiserver_response_sizes",
            "Bytes of answers to reads.",
            ("verb", *_PLACE),
            lambda: (_size_row(one, one.sizes) for one in series if one.sizes is not None),
        )
        yield LazyHistogram(
            "apiserver_request_sli_duration_seconds",
            "Seconds of requests without those in which they waited for webhooks and for seats.",
            ("verb", *_PLACE),
            lambda: (_sli_row(one) for one in series if not one.dry_run),
        )
        yield events

    def long_running(self, call: Call) -> Gauge:
        """The gauge of requests like this one."""
        series = self._series_of(call)
        return self._long_running.labels(series.verb, *series.place)

    def watch_events(self, resource: Resource) -> SentEvents:
        """The count of the events that watchers of a resource are sent."""
        return self._watched.setdefault(resource.path_key, SentEvents())

    def _series_of(self, call: Call) -> _Series:
        info = call.info
        verb = info.verb
        if verb == "patch" and call.http.headers.get("Content-Type", "").startswith(_APPLY):
            verb = "apply"
        key = (
            verb,
            info.group,
            info.version,
            info.resource,
            info.subresource if info.is_resource else info.path,
            _scope(info),
            _dry_run(call),
        )
        series = self._series.get(key)
        if series is not None:
            return series
        known = self._known_key(key, info)
        series = self._series.get(known)
        if series is None:
            series = self._series[known] = self._bind(known)
        return series

    def _known_key(self, key: tuple[str, ...], info: RequestInfo) -> tuple[str, ...]:
        """The key without what is not served, and so may be anything."""
        verb, group, version, plural, subresource, scope, dry_run = key
        if verb not in _VERBS and verb != "apply":
            verb = ""
        if not info.is_resource:
            return (verb, "", "", "", subresource if subresource in _HEALTH else "", "", dry_run)
        resource = self._served.find(group, version, plural)
        if resource is None:
            return (verb, "", "", "", "", scope, dry_run)
        if subresource and resource.subresource(subresource) is None:
            subresource = ""
        return (verb, group, version, plural, subresource, scope, dry_run)

    def _bind(self, key: tuple[str, ...]) -> _Series:
        verb, group, version, resource, subresource, scope, dry_run = key
        place = _Place(group, version, resource, subresource, scope)
        shown = "APPLY" if verb == "apply" else _VERBS.get(verb, _OTHER)
        if subresource in _CONNECTING:
            shown = "CONNECT"
        return _Series(shown, dry_run, place)


def _code_rows(series: _Series) -> Iterator[CounterRow]:
    every = (series.verb, series.dry_run, *series.place)
    for code, count in list(series.codes.items()):
        yield CounterRow((*every, str(code)), count)


def _duration_row(series: _Series) -> HistogramRow:
    labels = (series.verb, series.dry_run, *series.place)
    return HistogramRow(labels, series.duration.buckets(), series.duration.sum)


def _size_row(series: _Series, sizes: Tally) -> HistogramRow:
    return HistogramRow((series.verb, *series.place), sizes.buckets(), sizes.sum)


def _sli_row(series: _Series) -> HistogramRow:
    """A series' durations without waiting. Few requests wait: what they took is replaced, so that
    the others are observed once."""
    labels = (series.verb, *series.place)
    buckets = series.duration.buckets()
    total = series.duration.sum
    if series.elapsed is None or series.own is None:
        return HistogramRow(labels, buckets, total)
    rows = zip(buckets, series.elapsed.buckets(), series.own.buckets(), strict=True)
    corrected = [(bound, count - elapsed + own) for (bound, count), (_, elapsed), (_, own) in rows]
    return HistogramRow(labels, corrected, total - series.elapsed.sum + series.own.sum)


def _scope(info: RequestInfo) -> str:
    if info.name or info.verb == "create":
        return "resource"
    if info.namespace:
        return "namespace"
    return "cluster" if info.is_resource else ""


def _dry_run(call: Call) -> str:
    dry_run = call.query.get("dryRun", "")
    return dry_run if dry_run in ("", "All") else "invalid"


# --- what is read off the server's state ---


class StateCollector(Collector):
    """The parts of a server that have numbers of their own.

    They are read on a thread: each copies what the event loop may change meanwhile.
    """

    def __init__(
        self,
        version: dict[str, str],
        requests: RequestMetrics,
        store: Store,
        watches: OpenWatches,
        fairness: Fairness,
        watchdog: Watchdog,
    ) -> None:
        self._version = version
        self._requests = requests
        self._store = store
        self._watches = watches
        self._fairness = fairness
        self._watchdog = watchdog

    def collect(self) -> Iterator[Metric]:
        yield _build_info(self._version)
        yield from _objects(self._store.counts())
        watchers = GaugeMetricFamily(
            "apiserver_registered_watchers", "Watches that are open or about to be."
        )
        watchers.add_metric((), self._watches.requests)
        yield watchers
        commits = CounterMetricFamily(
            "apiserver_storage_commits_total", "Writes that the store has made durable."
        )
        commits.add_metric((), self._store.commits)
        yield commits
        yield from self._requests.families()
        yield from self._fairness.metrics()
        yield from self._watchdog.metrics()


def _build_info(version: dict[str, str]) -> Metric:
    labels = {
        "major": version["major"],
        "minor": version["minor"],
        "git_version": version["gitVersion"],
        "build_date": version["buildDate"],
        "compiler": version["compiler"],
        "platform": version["platform"],
    }
    family = GaugeMetricFamily(
        "kubernetes_build_info", "The version; always 1.", labels=list(labels)
    )
    family.add_metric(list(labels.values()), 1)
    return family


def _objects(counts: dict[str, int]) -> Iterator[Metric]:
    """`counts` is by prefix, ``/group/plural/``."""
    by_name = GaugeMetricFamily(
        "apiserver_storage_objects", "Objects stored, by resource.", labels=("resource",)
    )
    by_group = GaugeMetricFamily(
        "apiserver_resource_objects",
        "Objects stored, by group and resource.",
        labels=("group", "resource"),
    )
    for prefix, count in sorted(counts.items()):
        _, group, plural, _ = prefix.split("/")
        if group == "core":
            group = ""
        by_name.add_metric((f"{plural}.{group}" if group else plural,), count)
        by_group.add_metric((group, plural), count)
    yield by_name
    yield by_group
