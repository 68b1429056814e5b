"""What the flags of who is let in and who decides say, and how a changed file is taken over."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.apiserver.tables import each_row
from tiphys.api.base import to_builtins
from tiphys.apiserver.access.authenticationoptions import (
    AuthenticationOptions,
    OIDCOptions,
    _anonymous,
    _check_flags,
)
from tiphys.apiserver.access.authenticationoptions import _of_flags as issuer_of_flags
from tiphys.apiserver.access.authenticationtypes import Anonymous
from tiphys.apiserver.access.authorizationoptions import AuthorizationOptions, _ttl
from tiphys.apiserver.access.authorizationoptions import _of_flags as chain_of_flags
from tiphys.apiserver.access.reloading import ConfigFile, NotYet
from tiphys.machinery.configfiles import ConfigFileError

BOTH = {"issuer_url": "https://i", "client_id": "c"}


def problem_of(step: Any, *args: Any) -> str:
    try:
        step(*args)
    except ConfigFileError as error:
        return str(error)
    return ""


@each_row(
    [
        (None, {}, ""),
        (None, BOTH, ""),
        (Path("/f"), {}, ""),
        (Path("/f"), BOTH, "authentication-config file and oidc-* flags are mutually exclusive"),
        (Path("/f"), {"client_id": "c"}, "mutually exclusive"),
        (None, {"issuer_url": "https://i"}, "must be specified together"),
        (None, {"client_id": "c"}, "must be specified together"),
        (None, {**BOTH, "signing_algs": ("RS256", "HS256")}, 'oidc: unsupported signing alg: "HS256"'),
        (None, {**BOTH, "signing_algs": ("RS256", "ES256")}, ""),
    ],
)  # fmt: skip
def test_which_flags_go_together(file: Path | None, oidc: dict[str, Any], problem: str) -> None:
    said = problem_of(_check_flags, AuthenticationOptions(file, oidc=OIDCOptions(**oidc)))
    assert problem in said and bool(problem) == bool(said)


@pytest.mark.parametrize(
    ("flags", "username", "groups"),
    [
        ({}, {"claim": "sub", "prefix": "https://i#"}, {}),
        ({"username_prefix": "p:"}, {"claim": "sub", "prefix": "p:"}, {}),
        ({"username_prefix": "-"}, {"claim": "sub", "prefix": ""}, {}),
        ({"username_claim": "email"}, {"claim": "email", "prefix": ""}, {}),
        ({"username_claim": "email", "username_prefix": "p:"}, {"claim": "email", "prefix": "p:"}, {}),
        ({"groups_claim": "g"}, {"claim": "sub", "prefix": "https://i#"}, {"claim": "g", "prefix": ""}),
        ({"groups_claim": "g", "groups_prefix": "x:"}, {"claim": "sub", "prefix": "https://i#"}, {"claim": "g", "prefix": "x:"}),
    ],
)  # fmt: skip
def test_the_flags_say_what_a_file_says(flags: Any, username: Any, groups: Any) -> None:
    mappings = to_builtins(issuer_of_flags(OIDCOptions(**BOTH, **flags)).claim_mappings)
    assert (mappings["username"], mappings.get("groups", {})) == (username, groups)


def test_claims_that_are_required() -> None:
    made = issuer_of_flags(OIDCOptions(**BOTH, required_claims=(("a", "b"), ("c", "d"))))
    rules = [(rule.claim, rule.required_value) for rule in made.claim_validation_rules]
    assert rules == [("a", "b"), ("c", "d")] and made.issuer.audiences == ["c"]


def test_an_authority_that_is_missing_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    said = problem_of(issuer_of_flags, OIDCOptions(**BOTH, ca_file=missing))
    assert said == f"{missing}: No such file or directory"


@pytest.mark.parametrize(
    ("configured", "flag", "enabled"),
    [
        (None, None, True),
        (None, True, True),
        (None, False, False),
        (Anonymous(enabled=False), None, False),
        (Anonymous(enabled=True), None, True),
        (Anonymous(enabled=True), True, None),
        (Anonymous(enabled=True), False, None),
    ],
)
def test_who_names_nobody(configured: Any, flag: bool | None, enabled: bool | None) -> None:
    if enabled is None:
        assert "--anonymous-auth flag cannot be set" in problem_of(_anonymous, configured, flag)
    else:
        assert _anonymous(configured, flag).enabled == enabled


# --- who decides ---

FILE = Path("/f")


@each_row(
    [
        (("Node", "RBAC"), None, None),
        (("RBAC", "Node"), None, ["rbac", "node"]),
        (("RBAC",), None, ["rbac"]),
        (("AlwaysAllow",), None, ["alwaysallow"]),
        (("Node", "RBAC", "Webhook"), FILE, ["node", "rbac", "webhook"]),
        (("Magic",), None, 'authorization-mode "Magic" is not a valid mode'),
        (("RBAC", "RBAC"), None, "has mode specified more than once"),
        (("Webhook",), None, "authorization-mode Webhook's authorization config file not passed"),
        (("RBAC",), FILE, "cannot specify --authorization-webhook-config-file without mode Webhook"),
        (("Node", "RBAC"), FILE, "without mode Webhook"),
    ],
)  # fmt: skip
def test_modes(modes: tuple[str, ...], file: Path | None, chain: Any) -> None:
    options = AuthorizationOptions(modes=modes, webhook_config_file=file)
    if isinstance(chain, str):
        assert chain in problem_of(chain_of_flags, options)
        return
    made = chain_of_flags(options)
    assert (made and [one.name for one in made.authorizers]) == chain
    for one in made.authorizers if made else ():
        assert (one.webhook is not None) == (one.type == "Webhook")


@pytest.mark.parametrize(("kept", "seconds"), [(True, 300.0), (False, 0.0)])
def test_how_long_answers_are_kept(kept: bool, seconds: float) -> None:
    assert _ttl(kept, "5m") == seconds


# --- a file that changes ---


class Watched:
    """A file, what was applied of it, and what metrics say."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "config.yaml"
        self.path.write_bytes(b"one")
        self.applied: list[bytes] = []
        self.told: list[str] = []
        self.error: Exception | None = None
        metrics = SimpleNamespace(loaded=lambda digest: self.told.append("loaded"), reloaded=self.told.append)  # fmt: skip
        self.file = ConfigFile(self.path, "test", metrics, self._apply)  # type: ignore[arg-type]

    async def _apply(self, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.applied.append(data)


async def test_a_changed_file_is_applied_once(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    assert watched.file.read() == b"one" and watched.told == ["loaded"]
    assert await watched.file._reload() and watched.applied == []
    watched.path.write_bytes(b"two")
    assert await watched.file._reload() and await watched.file._reload()
    assert watched.applied == [b"two"] and watched.told == ["loaded", "success", "loaded"]


@pytest.mark.parametrize(("error", "final"), [(ConfigFileError("bad"), True), (NotYet("later"), False)])  # fmt: skip
async def test_a_file_that_cannot_be_used_leaves_what_was(
    tmp_path: Path, error: Exception, final: bool
) -> None:
    watched = Watched(tmp_path)
    watched.file.read()
    watched.path.write_bytes(b"two")
    watched.error = error
    assert await watched.file._reload() == final
    assert watched.told == ["loaded", "failure"]
    watched.error = None
    assert await watched.file._reload() and watched.applied == [b"two"]


async def test_a_file_that_is_gone_is_looked_for_again(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.file.read()
    before = watched.file._stamp()
    watched.path.unlink()
    assert watched.file._stamp() is None and not await watched.file._reload()
    with pytest.raises(ConfigFileError, match="No such file"):
        watched.file.read()
    watched.path.write_bytes(b"three")
    assert watched.file._stamp() not in (None, before)
