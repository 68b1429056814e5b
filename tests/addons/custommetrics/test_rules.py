"""Rules of prometheus-adapter, from series to metrics and from questions to PromQL."""

from __future__ import annotations

import pytest

from tiphys.addons.custommetrics.catalog import Catalog, Metric
from tiphys.addons.custommetrics.resources import Resource, Resources
from tiphys.addons.custommetrics.rules import DEFAULT, RuleError, any_of, read
from tiphys.machinery.selectors import parse_labels

PODS = Resource("", "v1", "pods", "pod", "Pod", True)
SPACES = Resource("", "v1", "namespaces", "namespace", "Namespace", False)
NODES = Resource("", "v1", "nodes", "node", "Node", False)
INGRESSES = Resource("networking.k8s.io", "v1", "ingresses", "ingress", "Ingress", True)
KNOWN = Resources([SPACES, PODS, NODES, INGRESSES])

ADAPTER = """
rules:
- seriesQuery: 'http_requests_total{kubernetes_namespace!="",kubernetes_pod_name!=""}'
  resources:
    overrides:
      kubernetes_namespace: {resource: "namespace"}
      kubernetes_pod_name: {resource: "pod"}
      exported_ingress: {group: networking.k8s.io, resource: ingress}
  name: {matches: "^(.*)_total", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'
- seriesQuery: '{__name__=~"^kube_.*"}'
  seriesFilters: [{isNot: "_created$"}, {is: "^kube_"}]
  resources: {template: "kube_<<.Group>>_<<.Resource>>"}
  name: {matches: "^kube_(.*)$"}
  metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>,at="<<index .LabelValuesByName "node">>"})'
"""
"""The first is the example of the adapter's own documentation, with an Ingress beside."""


def series(name: str, *labels: str) -> dict[str, str]:
    return {"__name__": name, **dict.fromkeys(labels, "x")}


@pytest.fixture
def catalog() -> Catalog:
    first, second = read(ADAPTER)
    requests = series(
        "http_requests_total", "kubernetes_namespace", "kubernetes_pod_name", "exported_ingress"
    )
    of_ingress = series("kube_load", "kube_networking_k8s_io_ingress", "kube__node")
    return Catalog(
        KNOWN, [(first, [requests]), (second, [of_ingress, series("kube_created", "kube__node")])]
    )


def test_series_become_metrics_of_what_their_labels_name(catalog: Catalog) -> None:
    assert set(catalog) == {
        Metric("pods", True, "http_requests_per_second"),
        Metric("namespaces", False, "http_requests_per_second"),
        Metric("ingresses.networking.k8s.io", True, "http_requests_per_second"),
        Metric("ingresses.networking.k8s.io", False, "load"),
        Metric("nodes", False, "load"),
    }


QUESTIONS = [
    (
        PODS, "shop", ["a", "b.c"], "",
        'sum(rate(http_requests_total{kubernetes_namespace="shop",'
        'kubernetes_pod_name=~"a|b\\\\.c"}[2m])) by (kubernetes_pod_name)',
    ),
    (
        INGRESSES, "shop", ["web"], "code=~x" and "code in (200,201),method!=GET",
        'sum(rate(http_requests_total{code=~"200|201",method!="GET",kubernetes_namespace="shop",'
        'exported_ingress="web"}[2m])) by (exported_ingress)',
    ),
    (
        SPACES, "", ["shop"], "code,!debug",
        'sum(rate(http_requests_total{code!="",debug="",kubernetes_namespace="shop"}[2m])) '
        "by (kubernetes_namespace)",
    ),
    (
        PODS, 'shop"} or up{a="', ["a"], "",
        'sum(rate(http_requests_total{kubernetes_namespace="shop\\"} or up{a=\\"",'
        'kubernetes_pod_name="a"}[2m])) by (kubernetes_pod_name)',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "namespace", "names", "selector", "query"), QUESTIONS)
def test_a_question_becomes_a_query(
    catalog: Catalog,
    resource: Resource,
    namespace: str,
    names: list[str],
    selector: str,
    query: str,
) -> None:
    source = catalog.source(resource, namespace, "http_requests_per_second")
    assert source is not None
    wanted = parse_labels(selector).requirements
    assert catalog.question(source, resource, namespace, names, wanted).query == query


def test_a_label_that_prometheus_cannot_have_is_refused(catalog: Catalog) -> None:
    source = catalog.source(PODS, "shop", "http_requests_per_second")
    assert source is not None
    with pytest.raises(RuleError, match="is no label of Prometheus"):
        wanted = parse_labels("app.kubernetes.io/name=x").requirements
        catalog.question(source, PODS, "shop", ["a"], wanted)


def test_a_regular_expression_of_names_has_no_signs_of_its_own() -> None:
    assert any_of(["a.b", "c*"]) == r"a\.b|c\*"


def test_without_rules_counters_are_rates_and_all_else_is_itself() -> None:
    counters, others = read(DEFAULT)
    made = Catalog(
        KNOWN,
        [
            (counters, [series("served_total", "namespace", "pod")]),
            (others, [series("queued", "namespace", "pod")]),
        ],
    )
    names = {one.name for one in made if one.resource == "pods"}
    assert names == {"served_per_second", "queued"}


RULE = "{seriesQuery: a, metricsQuery: b, resources: {template: <<.Resource>>}"
WRONG = [
    ("rules: [1]", "unable to load"),
    ("rules: [", "unable to load"),
    ("rules: [{seriesQuery: a}]", r"rules\[0\]: seriesQuery and metricsQuery"),
    ("rules: [{seriesQuery: a, metricsQuery: b}]", "template or overrides"),
    (f"rules: [{RULE}, name: {{matches: '('}}}}]", "missing closing"),
    (f"rules: [{RULE}, name: {{matches: '(a)(b)'}}}}]", "several groups"),
    (f"rules: [{RULE.replace('b,', '<<.Nothing>>,')}}}]", r"<<.Nothing>> is not supported"),
    (f"rules: [{RULE.replace('Resource', 'Group')}}}]", "must have <<.Resource>>"),
]


@pytest.mark.parametrize(("text", "reason"), WRONG)
def test_a_rule_that_cannot_be_is_refused_at_once(text: str, reason: str) -> None:
    with pytest.raises(RuleError, match=reason):
        read(text)
