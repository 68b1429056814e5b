"""What is sent to the wrong path is refused in upstream's words."""

from __future__ import annotations

import pytest

from tiphys.api import apps_v1, core_v1
from tiphys.apiserver.registry.kinds import FieldValidation, Strict, check_kind
from tiphys.machinery.errors import StatusError


def sent(api_version: str, kind: str) -> core_v1.ConfigMap:
    return core_v1.ConfigMap(api_version=api_version, kind=kind)


@pytest.mark.parametrize(
    ("api_version", "kind", "why"),
    [
        (
            "apps/v1",
            "Deployment",
            'Deployment in version "v1" cannot be handled as a ConfigMap:'
            " converting (v1.Deployment) to (core.ConfigMap): unknown conversion",
        ),
        (
            "v1",
            "Thing",
            'Thing in version "v1" cannot be handled as a ConfigMap:'
            ' no kind "Thing" is registered for version "v1" in scheme "tiphys"',
        ),
        (
            "v7",
            "ConfigMap",
            'ConfigMap in version "v7" cannot be handled as a ConfigMap:'
            ' no kind "ConfigMap" is registered for version "v7" in scheme "tiphys"',
        ),
    ],
)
def test_another_kind_is_not_handled_as_this_one(api_version: str, kind: str, why: str) -> None:
    with pytest.raises(StatusError) as refused:
        check_kind(sent(api_version, kind), core_v1.ConfigMap)
    assert (refused.value.code, refused.value.status.message) == (400, why)


def test_the_same_kind_in_another_served_version_is_told_which_is_expected() -> None:
    event = core_v1.Event(api_version="events.k8s.io/v1", kind="Event")
    with pytest.raises(StatusError) as refused:
        check_kind(event, core_v1.Event)
    assert refused.value.status.message == (
        "the API version in the data (events.k8s.io/v1) does not match the expected"
        " API version (v1)"
    )


def test_the_right_kind_passes() -> None:
    check_kind(sent("v1", "ConfigMap"), core_v1.ConfigMap)
    check_kind(apps_v1.Deployment(), apps_v1.Deployment)


def test_unknown_fields_are_told_ignored_or_refused() -> None:
    FieldValidation("Ignore").report(["unknown field"])
    FieldValidation("Strict").report([])
    with pytest.raises(Strict, match="strict decoding error: a, b"):
        FieldValidation("Strict").report(["a", "b"])
