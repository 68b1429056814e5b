"""Profiles of a KubeSchedulerConfiguration: which plugins filter and score."""

from __future__ import annotations

import pytest
import yaml

from tiphys.scheduler.configuration import (
    WEIGHTS,
    ConfigurationError,
    Profile,
    parse_profiles,
)
from tiphys.scheduler.plugins.registry import plugins_of

HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"


def read(text: str) -> list[Profile]:
    return parse_profiles(yaml.safe_load(HEAD + text))


def test_without_a_word_there_is_the_default_profile() -> None:
    (only,) = read("")
    assert (only.name, only.weights, only.filters) == (
        "default-scheduler",
        dict(WEIGHTS),
        frozenset(WEIGHTS),
    )


def test_plugins_are_disabled_and_weighed() -> None:
    (only,) = read("""
profiles:
- schedulerName: packed
  plugins:
    score:
      disabled: [{name: NodeResourcesBalancedAllocation}]
      enabled: [{name: NodeResourcesFit, weight: 7}]
    filter:
      disabled: [{name: TaintToleration}]
""")
    assert only.name == "packed"
    assert "NodeResourcesBalancedAllocation" not in only.weights
    assert only.weights["NodeResourcesFit"] == 7
    assert only.filters == frozenset(WEIGHTS) - {"TaintToleration"}


def test_all_may_be_disabled_and_some_enabled_again() -> None:
    (only,) = read("""
profiles:
- plugins:
    multiPoint:
      disabled: [{name: "*"}]
      enabled: [{name: NodeName}, {name: ImageLocality, weight: 5}]
""")
    assert only.filters == {"NodeName", "ImageLocality"}
    assert only.weights == {"NodeName": 0, "ImageLocality": 5}
    assert [p.name for p in plugins_of(only)] == ["NodeName", "ImageLocality"]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("profiles: [{schedulerName: a}, {schedulerName: a}]", r"profiles\[1\].schedulerName"),
        (
            "profiles: [{plugins: {score: {enabled: [{name: Nothing}]}}}]",
            r"plugins.score\[0\].name",
        ),
        ("profiles: [{plugins: {later: {}}}]", "plugins.later"),
        ("profiles: [{pluginConfig: [{name: Nothing}]}]", r"pluginConfig\[0\].name"),
        ("profiles: [{pluginConfig: [{name: NodeName}, {name: NodeName}]}]", r"pluginConfig\[1\]"),
    ],
)
def test_what_cannot_be_is_told_with_its_field(text: str, field: str) -> None:
    with pytest.raises(ConfigurationError, match=field):
        read(text)
