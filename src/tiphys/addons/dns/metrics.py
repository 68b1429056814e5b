"""What the server counts, under the names that CoreDNS' metrics have.

A reply that was given before takes the server ten microseconds, most of them in the kernel. So it
counts with plain numbers, and they become metrics at a scrape (`collect`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import dns.rcode
import dns.rdatatype
from dns.rcode import Rcode
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tiphys.client.exposition import exponential_buckets

_BUCKETS = exponential_buckets(0.00025, 2, 16)  # seconds, CoreDNS' plugin/metrics
_SERVER = "dns://:53"
# Types that have a label of their own (CoreDNS' plugin/metrics/vars); others are counted together.
_TYPES = frozenset(
    (
        *("A", "AAAA", "CNAME", "DNSKEY", "DS", "HTTPS", "MX", "NS", "NSEC", "NSEC3"),
        *("NSEC3PARAM", "PTR", "SOA", "SRV", "TXT"),
    )
)


class Kind(NamedTuple):
    """What queries are counted by. `zone`: the cluster's domain, or "." for others' names."""

    zone: str
    protocol: str
    rdtype: str
    rcode: str


class Tally:
    """How many queries of one kind were answered."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class DNSMetrics(Collector):
    """`registry` has them all; `cache_entries` is called at each scrape."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.cache_hits = 0
        self.cache_misses = 0
        self.cache_entries: Callable[[], int] = int
        self._tallies: defaultdict[Kind, Tally] = defaultdict(Tally)
        self._forwarded = Histogram(
            "coredns_proxy_request_duration_seconds",
            "Seconds that other servers took to reply.",
            ("proxy_name", "to", "rcode"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._unanswered: defaultdict[str, int] = defaultdict(int)
        self.registry.register(self)

    def tally(self, zone: str, protocol: str, rdtype: int, rcode: int) -> Tally:
        """The one for queries of a kind; who answers them adds to its `count`."""
        written = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rdtype))
        kind = Kind(
            zone,
            protocol,
            written if written in _TYPES else "other",
            dns.rcode.to_text(Rcode.make(rcode)),
        )
        return self._tallies[kind]

    def forwarded(self, to: str, rcode: Rcode, seconds: float) -> None:
        """to: ADDRESS:PORT of the server that replied"""
        self._forwarded.labels("forward", to, dns.rcode.to_text(rcode)).observe(seconds)

    def not_forwarded(self, to: str) -> None:
        """A server did not reply in time."""
        self._unanswered[to] += 1

    @property
    def answered(self) -> int:
        """Queries that had a reply."""
        return sum(tally.count for tally in self._tallies.values())

    def collect(self) -> Iterable[Metric]:
        requests: defaultdict[tuple[str, ...], int] = defaultdict(int)
        responses: defaultdict[tuple[str, ...], int] = defaultdict(int)
        for kind, tally in list(self._tallies.items()):
            requests[_SERVER, kind.zone, kind.protocol, kind.rdtype] += tally.count
            responses[_SERVER, kind.zone, kind.rcode] += tally.count
        yield _counter(
            "coredns_dns_requests",
            "Queries, by zone, protocol and type.",
            ("server", "zone", "proto", "type"),
            requests,
        )
        yield _counter(
            "coredns_dns_responses", "Replies, by code.", ("server", "zone", "rcode"), responses
        )
        for name, text, count in (
            ("coredns_cache_hits", "Others' answers that were kept.", self.cache_hits),
            ("coredns_cache_misses", "Others' answers that were not.", self.cache_misses),
        ):
            yield _counter(name, text, ("server",), {(_SERVER,): count})
        entries = GaugeMetricFamily("coredns_cache_entries", "Answers kept.", labels=("server",))
        entries.add_metric([_SERVER], self.cache_entries())
        yield entries
        unanswered: dict[tuple[str, ...], int] = {
            ("forward", to): count for to, count in list(self._unanswered.items())
        }
        yield _counter(
            "coredns_proxy_healthcheck_failures",
            "Queries that another server did not reply to in time.",
            ("proxy_name", "to"),
            unanswered,
        )


def _counter(
    name: str, text: str, labels: tuple[str, ...], counts: Mapping[tuple[str, ...], int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family
