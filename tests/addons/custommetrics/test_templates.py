"""Rules of the adapter one by one: filters, names, labels, templates, matchers."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons.custommetrics.answers import Value, resource_rows, value_list
from tiphys.addons.custommetrics.catalog import Metric
from tiphys.addons.custommetrics.resources import Resource, Resources
from tiphys.addons.custommetrics.rules import Rule, RuleError, any_of, matcher, named, read
from tiphys.addons.custommetrics.serving import _label_selector
from tiphys.api.base import from_builtins
from tiphys.machinery.selectors import Requirement, parse_labels

PODS = Resource("", "v1", "pods", "pod", "Pod", True)
SPACES = Resource("", "v1", "namespaces", "namespace", "Namespace", False)
INGRESSES = Resource("networking.k8s.io", "v1", "ingresses", "ingress", "Ingress", True)
OTHER_PODS = Resource("metrics.k8s.io", "v1", "pods", "pod", "PodMetrics", True)
KNOWN = Resources([SPACES, PODS, INGRESSES, OTHER_PODS])
POD = {"pod": {"resource": "pod"}}


def rule(**fields: Any) -> Rule:
    whole = {"seriesQuery": "s", "metricsQuery": "q", "resources": {"overrides": POD}, **fields}
    made: Rule = from_builtins(whole, Rule)
    return made


# --- which series ---


@pytest.mark.parametrize(
    ("filters", "series", "taken"),
    [
        ([], "any", True),
        ([{"is": "^a"}], "abc", True),
        ([{"is": "^a"}], "bca", False),
        ([{"isNot": "_total$"}], "a_total", False),
        ([{"isNot": "_total$"}], "a_total_b", True),
        ([{"is": "^a"}, {"is": "b$"}], "acb", True),
        ([{"is": "^a"}, {"is": "b$"}], "ac", False),
        ([{"is": "^a", "isNot": "b"}], "acb", False),
    ],
)
def test_all_filters_let_a_series_through(filters: Any, series: str, taken: bool) -> None:
    assert rule(seriesFilters=filters).takes(series) is taken


@pytest.mark.parametrize(
    ("name", "series", "metric"),
    [
        ({}, "a_b", "a_b"),
        ({"matches": "^(.*)_total$"}, "a_total", "a"),
        ({"matches": "^(.*)_total$"}, "a", ""),
        ({"matches": "^x_(.*)$", "as": "y_$1"}, "x_a", "y_a"),
        ({"matches": "^x_(.*)$", "as": "${1}_y"}, "x_a", "a_y"),
        ({"matches": "^x_(.*)$", "as": "$1_y"}, "x_a", ""),
        ({"matches": "^(?P<n>.*)_total$", "as": "${n}_s"}, "a_total", "a_s"),
        ({"matches": "^(a)(b)?$", "as": "$1$2"}, "a", "a"),
        ({"matches": "b", "as": "$$$0"}, "abc", "$b"),
        ({"matches": "b"}, "abc", "b"),
        ({"matches": "b", "as": "$7x"}, "abc", ""),
    ],
)
def test_a_metric_is_called_as_go_expands_it(name: Any, series: str, metric: str) -> None:
    """Regexp.Expand: the longest name counts, and what there is not is empty."""
    assert rule(name=name).metric_name(series) == metric


# --- which objects ---


@pytest.mark.parametrize(
    ("resources", "labels", "found"),
    [
        ({"overrides": POD}, ["pod", "namespace"], ["pods"]),
        ({"overrides": {"p": {"resource": "Pods"}}}, ["p"], ["pods"]),
        ({"overrides": {"p": {"group": "metrics.k8s.io", "resource": "pod"}}}, ["p"],
         ["pods.metrics.k8s.io"]),
        ({"overrides": {"p": {"resource": "robot"}}}, ["p"], []),
        ({"template": "<<.Resource>>"}, ["pod", "namespace", "code"], ["pods", "namespaces"]),
        ({"template": "<<.Resource>>"}, ["pod", "pods"], ["pods"]),
        ({"template": "k_<<.Group>>_<<.Resource>>"}, ["k_networking_k8s_io_ingress", "k__pod"],
         ["ingresses.networking.k8s.io", "pods"]),
        ({"template": "k_<<.Resource>>"}, ["pod", "k_pod_x", "xk_pod"], []),
        ({"template": "<<.Resource>>", "overrides": {"pod": {"resource": "namespace"}}}, ["pod"],
         ["namespaces"]),
    ],
)  # fmt: skip
def test_labels_name_objects(resources: Any, labels: list[str], found: list[str]) -> None:
    made = rule(resources=resources).resources_in(labels, KNOWN)
    assert [one.name for one in made] == found


@pytest.mark.parametrize(
    ("resources", "resource", "label"),
    [
        ({"overrides": POD}, PODS, "pod"),
        ({"overrides": {"p": {"resource": "PODS"}}}, PODS, "p"),
        ({"overrides": {"p": {"group": "x", "resource": "pod"}}}, PODS, "no label of the series names pods"),
        ({"overrides": POD}, SPACES, "no label of the series names namespaces"),
        ({"template": "<<.Resource>>"}, SPACES, "namespace"),
        ({"template": "k_<<.Group>>_<<.Resource>>"}, INGRESSES, "k_networking_k8s_io_ingress"),
        ({"template": "<<.Resource>>", "overrides": POD}, SPACES, "namespace"),
        ({"template": "<< .Resource >>x"}, PODS, "podx"),
    ],
)  # fmt: skip
def test_objects_have_a_label(resources: Any, resource: Resource, label: str) -> None:
    try:
        assert rule(resources=resources).label_of(resource) == label
    except RuleError as error:
        assert str(error) == label


def test_resources_are_found_by_words() -> None:
    assert KNOWN.find("", "POD") is PODS is KNOWN.find_anywhere("pods")
    assert KNOWN.find("metrics.k8s.io", "pods") is OTHER_PODS is KNOWN.named("pods.metrics.k8s.io")
    assert KNOWN.named("pods") is PODS and KNOWN.named("robots") is None
    assert (PODS.api_version, INGRESSES.api_version) == ("v1", "networking.k8s.io/v1")


# --- what is asked ---


@pytest.mark.parametrize(
    ("template", "query"),
    [
        ("<<.Series>>", "s"),
        ("<<- .Series ->>", "s"),
        ("f(<<.Series>>{<<.LabelMatchers>>})", 'f(s{pod=~"a|b",x!="y"})'),
        ("by (<<.GroupBy>>)", "by (pod)"),
        ('at="<<index .LabelValuesByName "pod">>"', 'at="a|b"'),
        ('at="<<index .LabelValuesByName "x">>"', 'at=""'),
        ('at="<<index .LabelValuesByName "none">>"', 'at=""'),
        ("<<.Other>>", "the template's action <<.Other>> is not supported"),
    ],
)
def test_a_template_is_filled(template: str, query: str) -> None:
    matchers = [("pod", "=~", "a|b"), ("x", "!=", "y")]
    try:
        assert rule(metricsQuery=template).query("s", matchers, "pod") == query
    except RuleError as error:
        assert str(error) == query


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("a=b", ("a", "=", "b")),
        ("a!=b", ("a", "!=", "b")),
        ("a in (b,c.d)", ("a", "=~", r"b|c\.d")),
        ("a notin (b)", ("a", "!~", "b")),
        ("a", ("a", "!=", "")),
        ("!a", ("a", "=", "")),
    ],
)
def test_a_requirement_is_a_matcher(selector: str, found: tuple[str, str, str]) -> None:
    (wanted,) = parse_labels(selector).requirements
    assert matcher(wanted) == found


def test_what_is_no_matcher_is_refused() -> None:
    for key in ("a-b", "a/b", "1a"):
        with pytest.raises(RuleError, match="is no label of Prometheus"):
            matcher(Requirement(key, "=", ("x",)))
    with pytest.raises(RuleError, match="the operator gt is not supported"):
        matcher(Requirement("a", "gt", ("1",)))


def test_one_name_is_itself_and_several_an_expression() -> None:
    assert named("pod", ["a.b"]) == ("pod", "=", "a.b")
    assert named("pod", ["a.b", "c"]) == ("pod", "=~", r"a\.b|c")
    assert any_of(["a+b(c)[d]{e}^f$g|h?i\\j"]) == r"a\+b\(c\)\[d\]\{e\}\^f\$g\|h\?i\\j"


@pytest.mark.parametrize(
    ("selector", "shown"),
    [
        ("", None),
        ("a=b", {"matchLabels": {"a": "b"}}),
        ("a", {"matchExpressions": [{"key": "a", "operator": "Exists"}]}),
        ("!a", {"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}),
        (
            "a=b,c in (d),e notin (f),g!=h",
            {
                "matchLabels": {"a": "b"},
                "matchExpressions": [
                    {"key": "c", "operator": "In", "values": ["d"]},
                    {"key": "e", "operator": "NotIn", "values": ["f"]},
                    {"key": "g", "operator": "NotIn", "values": ["h"]},
                ],
            },
        ),
    ],
)
def test_the_selector_of_an_answer_is_a_label_selector(selector: str, shown: Any) -> None:
    assert _label_selector(parse_labels(selector).requirements) == shown


# --- what is answered ---


@pytest.mark.parametrize(
    ("value", "text"), [(1.5, "1500m"), (2.0, "2"), (0.0004, "0"), (1e6, "1M"), (0.0006, "1m")]
)
def test_values_are_quantities(value: float, text: str) -> None:
    rows = [Value(PODS, "lab", "p", value), Value(SPACES, "", "lab", 1)]
    listed = value_list("v1beta2", "m", rows, "now", {"a": "b"})
    first, second = listed["items"]
    assert first["value"] == text
    assert first["metric"] == {"name": "m", "selector": {"a": "b"}}
    assert "namespace" not in second["describedObject"]
    old = value_list("v1beta1", "m", rows, "now", None)["items"][0]
    assert (old["metricName"], "metric" in old) == ("m", False)


def test_metrics_are_listed_in_the_order_of_their_names() -> None:
    rows = resource_rows([Metric("pods", True, "z"), Metric("nodes", False, "a")])
    assert [(row["name"], row["namespaced"]) for row in rows] == [
        ("nodes/a", False),
        ("pods/z", True),
    ]


# --- rules that cannot be ---

BEFORE = "rules: [{seriesQuery: a, metricsQuery: b, resources: {template: "


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("rules: []", ""),
        (f"{BEFORE}<<.Resource>>}}}}]", ""),
        (f"{BEFORE}<<.Resource>>_<<.Resource>>}}}}]", "<<.Resource>> is not supported, or comes twice"),
        (f"{BEFORE}<<.Name>>}}}}]", "<<.Name>> is not supported, or comes twice"),
        (f"{BEFORE}<<.Resource>>}}, seriesFilters: [{{is: '('}}]}}]", "rules[0]: "),
        (f"{BEFORE}<<.Resource>>}}, seriesFilters: [{{isNot: '('}}]}}]", "rules[0]: "),
        (f"{BEFORE}<<.Resource>>}}, name: {{matches: '(a)(b)', as: x}}}}]", ""),
        (f"{BEFORE}<<.Resource>>}}, name: {{matches: '(a)'}}}}]", ""),
        ("rules: [{metricsQuery: b, resources: {template: x}}]", "seriesQuery and metricsQuery"),
        ("[" * 500, "unable to load metrics discovery config"),
        ("#" + "x" * (256 << 10), "the rules are longer than 262144 bytes"),
        ("#" + "x" * ((256 << 10) - 1), ""),
    ],
)  # fmt: skip
def test_rules_are_tried_when_they_are_read(text: str, words: str) -> None:
    try:
        read(text)
    except RuleError as error:
        assert words and words in str(error)
    else:
        assert not words
