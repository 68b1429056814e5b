"""Which metrics there are, and what to ask Prometheus for one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tiphys.addons.custommetrics.resources import Resource, Resources
from tiphys.addons.custommetrics.rules import Rule, matcher, named
from tiphys.machinery.selectors import Requirement

Series = Mapping[str, str]
"""The labels of a series, its name among them (``__name__``)."""


class Metric(NamedTuple):
    """`resource` is its name in paths."""

    resource: str
    is_namespaced: bool
    name: str


class Source(NamedTuple):
    series: str
    rule: Rule


class Question(NamedTuple):
    """`label` has the objects' names in the answer."""

    query: str
    label: str


class Catalog:
    """Of several series that would be the same metric, the last one is it, as in the adapter."""

    def __init__(
        self, known: Resources, series_by_rule: Iterable[tuple[Rule, Sequence[Series]]]
    ) -> None:
        self.known = known
        self._sources: dict[Metric, Source] = {}
        for rule, series in series_by_rule:
            for metric, source in _of_rule(rule, series, known):
                self._sources[metric] = source

    def __len__(self) -> int:
        return len(self._sources)

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._sources)

    def source(self, resource: Resource, namespace: str, name: str) -> Source | None:
        """Where a metric of a resource comes from."""
        return self._sources.get(Metric(resource.name, bool(namespace), name))

    def question(
        self,
        source: Source,
        resource: Resource,
        namespace: str,
        names: Sequence[str],
        selector: Sequence[Requirement],
    ) -> Question:
        """The metric of objects of these names. Raises RuleError."""
        matchers = [matcher(one) for one in selector]
        if namespace:
            space = self.known.find("", "namespaces")
            assert space is not None  # a metric with a namespace was found by its label
            matchers.append((source.rule.label_of(space), "=", namespace))
        label = source.rule.label_of(resource)
        matchers.append(named(label, names))
        return Question(source.rule.query(source.series, matchers, label), label)


def _of_rule(
    rule: Rule, series: Sequence[Series], known: Resources
) -> Iterator[tuple[Metric, Source]]:
    shapes = {(one.get("__name__", ""), tuple(sorted(one))) for one in series}
    for name, labels in sorted(shapes):
        metric = rule.metric_name(name) if name and rule.takes(name) else ""
        if not metric:
            continue
        resources = rule.resources_in([one for one in labels if one != "__name__"], known)
        has_namespace = any(one.name == "namespaces" for one in resources)
        for resource in resources:
            is_namespaced = has_namespace and resource.is_namespaced
            yield Metric(resource.name, is_namespaced, metric), Source(name, rule)
