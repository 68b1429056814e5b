"""Rules of prometheus-adapter: which series are metrics, of what, under which name, and the PromQL
that asks for them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec
import yaml

from tiphys.addons.custommetrics.resources import Resource, Resources
from tiphys.api.base import Struct, from_builtins
from tiphys.machinery.regexp import RegexpError, compiled
from tiphys.machinery.selectors import Requirement

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_LONGEST = 256 << 10  # bytes of a ConfigMap's rules: reading takes 10 µs for each
_ACTION = re.compile(r"<<-?\s*(.*?)\s*-?>>")
_INDEX = re.compile(r'index\s+\.LabelValuesByName\s+"([^"]*)"\Z')
_REFERENCE = re.compile(r"\$(\$|\w+|\{\w+\})")
_SPECIAL = re.compile(r"([.+*?()|\[\]{}^$\\])")

DEFAULT = """
rules:
- seriesQuery: '{__name__=~".+_total",namespace!=""}'
  resources: {template: "<<.Resource>>"}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
- seriesQuery: '{__name__!~".+_total|.+_bucket|.+_created",namespace!=""}'
  resources: {template: "<<.Resource>>"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
"""
"""Counters as rates under another name, all else as it is."""


class RuleError(ValueError):
    """A rule, or a query by it, is invalid; the text is the reason."""


class Filter(Struct):
    is_: str = msgspec.field(name="is", default="")
    is_not: str = ""


class GroupResource(Struct):
    group: str = ""
    resource: str = ""


class ResourceMapping(Struct):
    template: str = ""
    overrides: dict[str, GroupResource] = {}


class NameMapping(Struct):
    matches: str = ""
    as_: str = msgspec.field(name="as", default="")


class Rule(Struct):
    series_query: str = ""
    series_filters: list[Filter] = []
    resources: ResourceMapping = msgspec.field(default_factory=ResourceMapping)
    name: NameMapping = msgspec.field(default_factory=NameMapping)
    metrics_query: str = ""

    def takes(self, series: str) -> bool:
        """Whether its filters let a series through."""
        return all(
            (not one.is_ or bool(compiled(one.is_).search(series)))
            and not (one.is_not and compiled(one.is_not).search(series))
            for one in self.series_filters
        )

    def metric_name(self, series: str) -> str:
        """Empty when the rule has none for it."""
        pattern = compiled(self.name.matches or ".*")
        match = pattern.search(series)
        if match is None:
            return ""
        as_ = self.name.as_ or ("$1" if pattern.groups == 1 else "$0")
        return _expanded(as_, match)

    def label_of(self, resource: Resource) -> str:
        """The label whose values are names of a resource. Raises RuleError."""
        for label, wanted in self.resources.overrides.items():
            words = (resource.plural, resource.singular)
            if wanted.group == resource.group and wanted.resource.lower() in words:
                return label
        if not self.resources.template:
            raise RuleError(f"no label of the series names {resource.name}")
        values = {
            ".Group": resource.group.replace(".", "_"),
            ".Resource": resource.singular,
        }
        return _filled(self.resources.template, values.__getitem__)

    def resources_in(self, labels: Sequence[str], known: Resources) -> list[Resource]:
        """What labels name, each once."""
        by_name = {}
        pattern = _label_pattern(self.resources.template) if self.resources.template else None
        for label in labels:
            resource = self._named_by(label, pattern, known)
            if resource is not None:
                by_name[resource.name] = resource
        return list(by_name.values())

    def _named_by(
        self, label: str, pattern: re.Pattern[str] | None, known: Resources
    ) -> Resource | None:
        override = self.resources.overrides.get(label)
        if override is not None:
            return known.find(override.group, override.resource)
        match = pattern.match(label) if pattern is not None else None
        if match is None:
            return None
        parts = match.groupdict()
        if not parts.get("group"):
            return known.find_anywhere(parts["resource"])
        return known.find(parts["group"].replace("_", "."), parts["resource"])

    def query(self, series: str, matchers: Sequence[tuple[str, str, str]], group_by: str) -> str:
        """PromQL. `matchers` are (label, operator, value). Raises RuleError."""
        exact = {label: value for label, sign, value in matchers if sign in ("=", "=~")}
        values = {
            ".Series": series,
            ".LabelMatchers": ",".join(
                f"{label}{sign}{quoted(value)}" for label, sign, value in matchers
            ),
            ".GroupBy": group_by,
        }

        def value_of(action: str) -> str:
            index = _INDEX.match(action)
            return quoted(exact.get(index[1], ""))[1:-1] if index else values[action]

        return _filled(self.metrics_query, value_of)


class Configuration(Struct):
    rules: list[Rule] = []


def read(text: str) -> list[Rule]:
    """Rules out of YAML. Raises RuleError with the number of the rule."""
    if len(text) > _LONGEST:
        raise RuleError(f"the rules are longer than {_LONGEST} bytes")
    try:
        rules = from_builtins(yaml.safe_load(text) or {}, Configuration).rules
    except (yaml.YAMLError, msgspec.ValidationError, RecursionError) as error:
        raise RuleError(f"unable to load metrics discovery config: {error}") from None
    for number, parsed_rule in enumerate(rules):
        try:
            _check(parsed_rule)
        except (RuleError, RegexpError, KeyError) as error:
            raise RuleError(f"rules[{number}]: {error}") from None
    return rules


_POD = Resource("", "v1", "pods", "pod", "Pod", True)


def _check(rule: Rule) -> None:
    """Tries all that a later question would trip over."""
    if not rule.series_query or not rule.metrics_query:
        raise RuleError("seriesQuery and metricsQuery must be given")
    if not rule.resources.template and not rule.resources.overrides:
        raise RuleError("resources must have a template or overrides")
    if rule.resources.template:
        _label_pattern(rule.resources.template)
        rule.label_of(_POD)
    for series_filter in rule.series_filters:
        rule_patterns = [
            pattern for pattern in (series_filter.is_, series_filter.is_not) if pattern
        ]
        for pattern in rule_patterns:
            compiled(pattern)
    if not rule.name.as_ and compiled(rule.name.matches or ".*").groups > 1:
        raise RuleError("name.as must be given when name.matches has several groups")
    rule.metric_name("series")
    rule.query("series", [], "pod")


# --- templates ---


def _filled(template: str, value_of: Callable[[str], str]) -> str:
    def value(action: re.Match[str]) -> str:
        try:
            return value_of(action[1])
        except KeyError:
            raise RuleError(f"the template's action <<{action[1]}>> is not supported") from None

    return _ACTION.sub(value, template)


def _label_pattern(template: str) -> re.Pattern[str]:
    """What finds group and resource in a label that a template made. Raises RuleError."""
    # Names of resources have no underscores; those of groups have them where dots were.
    groups = {".Group": "(?P<group>.*)", ".Resource": "(?P<resource>[^_]+)"}
    pieces = _ACTION.split(template)
    pattern = ""
    for place, piece in enumerate(pieces):
        if place % 2 == 0:
            pattern += re.escape(piece)
        elif piece in groups:
            pattern += groups.pop(piece)
        else:
            raise RuleError(f"the template's action <<{piece}>> is not supported, or comes twice")
    if ".Resource" in groups:
        raise RuleError("the template must have <<.Resource>>")
    return re.compile(pattern + r"\Z")


def _expanded(template: str, match: re.Match[str]) -> str:
    """As Go's Regexp.Expand: ``$1``, ``${1}``, ``${name}``; a name is as long as it can be, and
    what there is not is empty."""

    def value(reference: re.Match[str]) -> str:
        name = reference[1].strip("{}")
        if name == "$":
            return "$"
        try:
            return match.group(int(name) if name.isdecimal() else name) or ""
        except (IndexError, KeyError):
            return ""

    return _REFERENCE.sub(value, template)


# --- matchers ---


def quoted(text: str) -> str:
    """A string of PromQL."""
    return json.dumps(text, ensure_ascii=False)


def any_of(values: Sequence[str]) -> str:
    """A regular expression for these texts and no others."""
    return "|".join(_SPECIAL.sub(r"\\\1", value) for value in values)


def named(label: str, names: Sequence[str]) -> tuple[str, str, str]:
    """The matcher of objects' names."""
    return (label, "=", names[0]) if len(names) == 1 else (label, "=~", any_of(names))


def matcher(wanted: Requirement) -> tuple[str, str, str]:
    """That of a requirement on a metric's labels. Raises RuleError."""
    if not _LABEL.match(wanted.key):
        raise RuleError(f"{wanted.key!r} is no label of Prometheus")
    by_operator: Mapping[str, tuple[str, str]] = {
        "=": ("=", "".join(wanted.values)),
        "!=": ("!=", "".join(wanted.values)),
        "in": ("=~", any_of(wanted.values)),
        "notin": ("!~", any_of(wanted.values)),
        "exists": ("!=", ""),
        "!": ("=", ""),
    }
    if wanted.operator not in by_operator:
        raise RuleError(f"the operator {wanted.operator} is not supported for labels of metrics")
    sign, value = by_operator[wanted.operator]
    return wanted.key, sign, value
