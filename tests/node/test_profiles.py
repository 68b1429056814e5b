"""Profiles of seccomp and AppArmor."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tiphys.node.profiles import Profile, app_armor_of, needs_app_armor, seccomp_of

FILE = {"type": "Localhost", "localhostProfile": "a/b.json"}
DEFAULT = {"type": "RuntimeDefault"}
NONE = {"type": "Unconfined"}


def of(kind: str, own: Any, shared: Any) -> Any:
    container = {"name": "c", "image": "i", "securityContext": {kind: own} if own else {}}
    return pod(containers=[container], securityContext={kind: shared} if shared else {}).spec


@pytest.mark.parametrize(
    ("own", "shared", "expected"),
    [
        (None, None, Profile("Unconfined")),
        (None, DEFAULT, Profile("RuntimeDefault")),
        (NONE, DEFAULT, Profile("Unconfined")),
        (FILE, NONE, Profile("Localhost", "/root/a/b.json")),
    ],
)
def test_seccomp(own: Any, shared: Any, expected: Profile) -> None:
    spec = of("seccompProfile", own, shared)
    found = seccomp_of(spec, spec.containers[0], "Unconfined", lambda name: f"/root/{name}")
    assert found == expected


def test_a_node_may_confine_those_who_say_nothing() -> None:
    spec = of("seccompProfile", None, None)
    assert seccomp_of(spec, spec.containers[0], "RuntimeDefault", str).type == "RuntimeDefault"


def test_a_file_must_be_named() -> None:
    spec = of("seccompProfile", {"type": "Localhost"}, None)
    with pytest.raises(ValueError, match="localhostProfile must be set"):
        seccomp_of(spec, spec.containers[0], "Unconfined", str)


@pytest.mark.parametrize(
    ("own", "shared", "expected", "needed"),
    [
        (None, None, None, False),
        (None, DEFAULT, Profile("RuntimeDefault"), True),
        (NONE, DEFAULT, Profile("Unconfined"), False),
        ({"type": "Localhost", "localhostProfile": "p"}, NONE, Profile("Localhost", "p"), True),
    ],
)
def test_app_armor(own: Any, shared: Any, expected: Profile | None, needed: bool) -> None:
    spec = of("appArmorProfile", own, shared)
    assert app_armor_of(spec, spec.containers[0]) == expected
    assert needs_app_armor(spec) is needed
