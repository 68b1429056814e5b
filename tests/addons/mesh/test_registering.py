"""How the API server is told of the mesh's webhook, and what the add-on may do."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons import mesh
from tiphys.addons.mesh.webhook import configuration


def hook(address: str = "10.0.0.1") -> Any:
    [made] = configuration(address, 18101, "root").webhooks
    return made


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("10.0.0.1", "https://10.0.0.1:18101/inject"),
        ("fd00::1", "https://[fd00::1]:18101/inject"),
    ],
)
def test_the_webhook_is_known_by_the_meshs_own_authority(address: str, url: str) -> None:
    config = hook(address).client_config
    assert (config.url, config.ca_bundle) == (url, b"root")


def test_no_pod_is_created_without_its_sidecar() -> None:
    """A pod without one would speak and be spoken to in the open."""
    made = hook()
    assert (made.failure_policy, made.side_effects) == ("Fail", "None")
    assert made.timeout_seconds == 10, "upstream's own"
    [rule] = made.rules
    assert (rule.operations, rule.resources, rule.scope) == (["CREATE"], ["pods"], "Namespaced")


def test_only_namespaces_that_ask_for_it_are_meshed_and_never_the_systems() -> None:
    selector = hook().namespace_selector
    assert selector.match_labels == {"mesh.tiphys.dev/inject": "enabled"}
    [never] = selector.match_expressions
    assert (never.key, never.operator) == ("kubernetes.io/metadata.name", "NotIn")
    assert set(never.values) == {"kube-system", "tiphys-addons"}


def test_its_account_changes_its_own_two_objects_and_no_others() -> None:
    named = {
        (resource, name)
        for rule in mesh.ADDON.rights
        for resource in rule.resources
        for name in rule.resource_names
        if "patch" in rule.verbs
    }
    assert named == {
        ("secrets", mesh.AUTHORITY),
        ("mutatingwebhookconfigurations", mesh.WEBHOOK),
    }
    made: list[Any] = list(mesh.objects(mesh.Settings()))
    assert {(one.kind, one.metadata.name) for one in made} == {
        ("Secret", mesh.AUTHORITY),
        ("MutatingWebhookConfiguration", mesh.WEBHOOK),
    }
