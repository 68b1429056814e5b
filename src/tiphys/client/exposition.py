"""What every component of the cluster has in common in its metrics: the registry of a process, the
page that shows it, and buckets.

A registry belongs to one component, not to the process: two servers in one process, as in tests, do
not add to each other's numbers.
"""

from __future__ import annotations

import copy
import re
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice
from typing import ClassVar, Generic, NamedTuple, TypeVar

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

_FAST = 1  # level of compression: a page shrinks to a tenth, higher levels hardly gain
_GZIP = 16 + zlib.MAX_WBITS  # zlib's word for gzip's format
_AT_ONCE = 1000  # samples that are lines at a time
_OPEN = "application/openmetrics-text"
_END = b"# EOF\n"  # of OpenMetrics
_HEAD = re.compile(rb"\A(?:#[^\n]*\n)+")  # what stands before the samples of a metric

# Upstream's components have no `_created` series.
disable_created_metrics()  # type: ignore[no-untyped-call]

# Of requests to the API server and to its store: the objectives of latency are read off them.
LATENCY_BUCKETS = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0),
    *(4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0),
)


def exponential_buckets(start: float, factor: float, count: int) -> tuple[float, ...]:
    """`count` upper bounds, each `factor` times the one before it."""
    return tuple(start * factor**power for power in range(count))


def component_registry() -> CollectorRegistry:
    """A registry with the metrics of the process: memory, processor time, files, collections."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class Tally:
    """A histogram for what happens with every request, in a fifth of the time that one of
    prometheus_client's takes. One thread observes; any may read."""

    __slots__ = ("_bounds", "counts", "first", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.first = bounds[0]
        self.counts = [0] * (len(bounds) + 1)
        """By bucket: what is not above its bound, and above that of the one before it."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many are not above it), as the text format has them."""
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        return list(zip(names, accumulate(self.counts), strict=True))


class HistogramRow(NamedTuple):
    """One series of a histogram. `labels` are the values; `buckets` as of `Tally.buckets`."""

    labels: Sequence[str]
    buckets: list[tuple[str, float]]
    sum: float


class CounterRow(NamedTuple):
    """One series of a counter. `labels` are the values."""

    labels: Sequence[str]
    value: float


_Row = TypeVar("_Row", HistogramRow, CounterRow)


class _Lazy(Metric, Generic[_Row]):
    """A metric of so many series that their samples are made one by one, as the page is written:
    all together take a hundred times the memory that the series do."""

    kind: ClassVar[str]

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        rows: Callable[[], Iterable[_Row]],
    ) -> None:
        super().__init__(name, documentation, self.kind)
        self._labels = labels
        self._rows: Callable[[], Iterable[_Row]] = rows
        self.samples = _Samples(self._made)  # type: ignore[assignment]

    def _made(self) -> Iterator[Sample]:
        for row in self._rows():
            yield from self._of(row, dict(zip(self._labels, row.labels, strict=True)))

    def _of(self, row: _Row, labels: dict[str, str]) -> Iterator[Sample]:
        """The samples of one series."""
        raise NotImplementedError


class _Samples:
    """Those that a function makes, each time anew."""

    def __init__(self, make: Callable[[], Iterator[Sample]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Sample]:
        return self._make()


class LazyHistogram(_Lazy[HistogramRow]):
    """A histogram of many series."""

    kind = "histogram"

    def _of(self, row: HistogramRow, labels: dict[str, str]) -> Iterator[Sample]:
        for bound, count in row.buckets:
            yield Sample(f"{self.name}_bucket", {**labels, "le": bound}, count)
        yield Sample(f"{self.name}_count", labels, row.buckets[-1][1])
        yield Sample(f"{self.name}_sum", labels, row.sum)


class LazyCounter(_Lazy[CounterRow]):
    """A counter of many series. `name` is without ``_total``."""

    kind = "counter"

    def _of(self, row: CounterRow, labels: dict[str, str]) -> Iterator[Sample]:
        yield Sample(f"{self.name}_total", labels, row.value)


class Page(NamedTuple):
    """A page of metrics. `headers` say its format and its compression."""

    body: bytes
    headers: dict[str, str]


def render(registry: CollectorRegistry, accept: str = "", accept_encoding: str = "") -> Page:
    """The metrics in OpenMetrics or the text format, as the headers Accept and Accept-Encoding
    have it.

    Takes a millisecond for 300 lines: servers call it on a thread. A server that is asked for all
    that it serves has some 300,000; no more than a part of them is in memory as strings.
    """
    encode, media_type = choose_encoder(accept)
    headers = {"Content-Type": media_type}
    parts = _parts(registry, encode)
    if media_type.startswith(_OPEN):
        parts = chain(parts, [_END])
    if "gzip" in accept_encoding:
        headers["Content-Encoding"] = "gzip"
        parts = _compressed(parts)
    return Page(b"".join(parts), headers)


class _Part(NamedTuple):
    """A registry of one metric."""

    metric: Metric

    def collect(self) -> Iterator[Metric]:
        yield self.metric


def _parts(registry: CollectorRegistry, encode: Callable[[_Part], bytes]) -> Iterator[bytes]:
    """The page in pieces, without its end."""
    for metric in registry.collect():
        samples = iter(metric.samples)
        part = copy.copy(metric)
        part.samples = list(islice(samples, _AT_ONCE))
        yield encode(_Part(part)).removesuffix(_END)
        while more := list(islice(samples, _AT_ONCE)):
            part.samples = more
            yield _HEAD.sub(b"", encode(_Part(part)).removesuffix(_END))


def _compressed(parts: Iterable[bytes]) -> Iterator[bytes]:
    compressor = zlib.compressobj(_FAST, wbits=_GZIP)
    for part in parts:
        yield compressor.compress(part)
    yield compressor.flush()
