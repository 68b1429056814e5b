"""What enabling an add-on creates, and what its settings may be."""

from __future__ import annotations

from typing import Any

import pytest

import tiphys
from tiphys.addons import echo
from tiphys.addons.installing import (
    AddonError,
    check_dependencies,
    deployment,
    host_rights,
    manifest,
    settings_of,
    whole_manifest,
)
from tiphys.addons.optional import LABEL, Context, OptionalAddon, rule
from tiphys.api.base import Struct


class Settings(Struct):
    port: int = 80
    host_name: str = ""
    names: list[str] = []


async def nothing(context: Context) -> None: ...


SAMPLE = OptionalAddon(
    "sample",
    "for tests",
    nothing,
    settings=Settings,
    rights=(rule("get", "pods"),),
    extra="sample",
    modules=("json", "nonesuch", "nonesuch.inside"),
)


def test_settings_are_read_by_their_type() -> None:
    found = settings_of(SAMPLE, ["port=8080", "hostName=5", 'names=["a","b"]'])
    assert (found.port, found.host_name, found.names) == (8080, "5", ["a", "b"])


def test_settings_that_are_not_given_stay() -> None:
    assert settings_of(SAMPLE, ["port=1"], {"port": 2, "hostName": "h"}).host_name == "h"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("prot=1", "sample has the settings port, hostName, names"),
        ("port", "sample has the settings"),
        ("port=many", "Expected `int`, got `str` - at `$.port`"),
    ],
)
def test_settings_that_cannot_be_are_refused(assignment: str, message: str) -> None:
    with pytest.raises(AddonError) as refused:
        settings_of(SAMPLE, [assignment])
    assert message in str(refused.value)


def test_a_value_is_json_where_it_is_some_and_text_otherwise() -> None:
    assert settings_of(SAMPLE, ["hostName=[1]"]).host_name == "[1]"
    assert settings_of(SAMPLE, ["hostName=a=b"]).host_name == "a=b"
    assert settings_of(SAMPLE, ["hostName="], {"hostName": "h"}).host_name == ""


def test_settings_of_an_add_on_that_has_none_are_refused() -> None:
    with pytest.raises(AddonError, match="port=1: plain has the settings none"):
        settings_of(OptionalAddon("plain", "", nothing), ["port=1"])


def test_what_is_installed_is_not_missing() -> None:
    check_dependencies(OptionalAddon("sample", "", nothing, modules=("json", "tiphys.api")))


def test_what_is_not_installed_is_named_with_its_command() -> None:
    with pytest.raises(AddonError) as refused:
        check_dependencies(SAMPLE)
    assert str(refused.value) == (
        "sample needs nonesuch, nonesuch.inside: pip install 'tiphys[sample]'"
    )


def kinds(objects: list[Struct]) -> list[str]:
    return [obj.kind for obj in objects]  # type: ignore[attr-defined]


def test_an_account_has_the_declared_rights_and_its_own_status() -> None:
    role: Any = next(o for o in manifest(SAMPLE, Settings()) if o.kind == "ClusterRole")  # type: ignore[attr-defined]
    allowed = {(verb, resource) for r in role.rules for verb in r.verbs for resource in r.resources}
    assert {("create", "events"), ("patch", "events"), ("update", "events")} <= allowed
    assert ("get", "pods") in allowed and ("list", "pods") not in allowed
    own = [r for r in role.rules if r.api_groups == ["addons.tiphys.dev"]]
    assert [(r.verbs, r.resources, r.resource_names) for r in own] == [
        (["get"], ["addons"], ["sample"]),
        (["patch"], ["addons/status"], ["sample"]),
    ]


def test_everything_but_the_namespace_goes_with_the_add_on() -> None:
    for obj in manifest(echo.ADDON, echo.Settings())[1:]:
        assert obj.metadata.labels[LABEL] == "echo"  # type: ignore[attr-defined]


def test_a_manifest_runs_it_as_a_pod_elsewhere() -> None:
    objects: list[Any] = whole_manifest(echo.ADDON, echo.Settings(prefix="x"), "registry/t:1")
    assert kinds(objects)[0] == "Namespace" and kinds(objects)[-1] == "Deployment"
    assert objects[-1].spec.replicas == 1
    assert objects[-1].spec.strategy.type == "Recreate", "two of one would work against each other"
    assert objects[-1].spec.selector.match_labels == {LABEL: "echo"}
    assert objects[-1].spec.template.metadata.labels == {LABEL: "echo"}
    pod = objects[-1].spec.template.spec
    assert pod.service_account_name == "echo"
    assert pod.containers[0].image == "registry/t:1"
    assert pod.containers[0].args == [
        "addons",
        "--only",
        "echo",
        "--settings",
        '{"prefix":"x"}',
    ]


def test_a_pod_has_this_releases_image_unless_another_is_named() -> None:
    made = deployment(echo.ADDON, echo.Settings())
    [container] = made.spec.template.spec.containers
    assert container.image == f"tiphys:{tiphys.__version__}"
    security = container.security_context
    assert security is not None and security.allow_privilege_escalation is False
    assert security.capabilities is not None and security.capabilities.drop == ["ALL"]


def test_the_host_may_become_accounts_of_add_ons_and_nobody_elses() -> None:
    role: Any = next(o for o in host_rights() if o.kind == "Role")  # type: ignore[attr-defined]
    assert role.metadata.namespace == "tiphys-addons"
    assert [(r.verbs, r.resources) for r in role.rules] == [(["create"], ["serviceaccounts/token"])]
    everywhere: Any = next(o for o in host_rights() if o.kind == "ClusterRole")  # type: ignore[attr-defined]
    resources = {resource for r in everywhere.rules for resource in r.resources}
    assert resources == {"addons", "addons/status", "tokenreviews", "subjectaccessreviews"}
