"""What a trigger's authentication gives it, and what a container sees of its environment."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tiphys.addons.keda.authentication import AuthenticationError, Credentials, expanded
from tiphys.addons.keda.types import AuthenticationRef
from tiphys.addons.keda.types.authentication import (
    ClusterTriggerAuthentication,
    TriggerAuthentication,
)
from tiphys.addons.optional import NAMESPACE
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.machinery import errors


class Server:
    """Objects by kind, namespace and name."""

    def __init__(self) -> None:
        self.there: dict[tuple[Any, str, str], Any] = {}
        self.asked: list[tuple[str, str, str]] = []

    async def get(self, kind: Any, name: str, namespace: str = "") -> Any:
        self.asked.append((kind.__name__, namespace, name))
        found = self.there.get((kind, namespace, name))
        if found is None:
            raise errors.not_found(kind.__name__, name)
        return found

    def secret(self, name: str = "s", namespace: str = "lab", **data: bytes) -> None:
        made = core_v1.Secret()
        made.data = data
        self.there[core_v1.Secret, namespace, name] = made

    def config(self, name: str = "m", namespace: str = "lab", **data: str) -> None:
        made = core_v1.ConfigMap()
        made.data = data
        self.there[core_v1.ConfigMap, namespace, name] = made

    def authentication(self, cluster: bool = False, **spec: Any) -> None:
        kind: Any = ClusterTriggerAuthentication if cluster else TriggerAuthentication
        made = from_builtins({"metadata": {"name": "a"}, "spec": spec}, kind)
        self.there[kind, "" if cluster else "lab", "a"] = made


@pytest.fixture
def server() -> Server:
    return Server()


async def given(server: Server, kind: str = "", pod: Any = None, name: str = "a") -> Any:
    """The parameters, or what is wrong."""
    ref = AuthenticationRef(name=name, kind=kind)
    spec = from_builtins(pod, core_v1.PodSpec) if pod is not None else None
    try:
        return await Credentials(cast(Any, server), "lab").of(ref, spec)
    except AuthenticationError as error:
        return str(error)


def target(name: str, key: str, parameter: str = "p") -> dict[str, str]:
    return {"parameter": parameter, "name": name, "key": key}


# --- what an authentication gives ---


async def test_values_of_secrets_and_config_maps_are_parameters(server: Server) -> None:
    server.secret(password=b" secret\n", odd=b"\xff")
    server.config(user="me\n")
    server.authentication(
        secretTargetRef=[target("s", "password"), target("s", "odd", "o"), target("s", "no", "n")],
        configMapTargetRef=[target("m", "user", "u"), target("none", "user", "v")],
    )
    found = await given(server)
    assert found == {"p": "secret", "o": "\ufffd", "n": "", "u": "me", "v": ""}
    assert server.asked.count(("Secret", "lab", "s")) == 1, "each once"


async def test_a_secret_of_the_same_parameter_comes_last(server: Server) -> None:
    server.secret(k=b"of the secret")
    server.config(k="of the map")
    server.authentication(secretTargetRef=[target("s", "k")], configMapTargetRef=[target("m", "k")])
    assert await given(server) == {"p": "of the secret"}


async def test_an_authentication_of_the_cluster_reads_kedas_own_namespace(server: Server) -> None:
    server.secret(namespace=NAMESPACE, k=b"shared")
    server.secret(k=b"own")
    server.authentication(cluster=True, secretTargetRef=[target("s", "k")])
    server.authentication(secretTargetRef=[target("s", "k")])
    assert await given(server, "ClusterTriggerAuthentication") == {"p": "shared"}
    assert await given(server, "TriggerAuthentication") == {"p": "own"}
    assert await given(server) == {"p": "own"}


async def test_whoever_names_none_gets_nothing(server: Server) -> None:
    assert await given(server, name="") == {}
    assert await Credentials(cast(Any, server), "lab").of(None, None) == {}
    assert await given(server) == {}, "as with KEDA, one that is not there gives nothing"
    assert await given(server, "Other") == "unknown trigger auth kind Other"


OAUTH = {
    "type": "clientCredentials",
    "clientId": "id",
    "clientSecret": {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    "tokenUrl": "http://t",
}


@pytest.mark.parametrize(
    ("more", "also"),
    [
        ({}, {}),
        ({"scopes": ["a", "b"]}, {"scopes": "a,b"}),
        ({"tokenUrlParams": {"x": "y z"}}, {"endpointParams": "x=y+z"}),
    ],
)
async def test_oauth_gives_what_a_token_is_asked_with(
    server: Server, more: Any, also: dict[str, str]
) -> None:
    server.secret(k=b"hidden")
    server.authentication(oauth2={**OAUTH, **more})
    base = {"oauthTokenURI": "http://t", "clientID": "id", "clientSecret": "hidden"}
    assert await given(server) == {**base, **also}


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            {"podIdentity": {"provider": "aws"}},
            'a: podIdentity provider "aws" is not supported',
        ),
        ({"podIdentity": {"provider": "none"}}, ""),
        ({"hashiCorpVault": {"address": "x"}}, "a: hashiCorpVault is not supported"),
        (
            {"filePath": "/x"},
            "filePath is only supported for ClusterTriggerAuthentication, got kind: "
            "TriggerAuthentication",
        ),
    ],
)
async def test_what_is_not_carried_out_is_refused_by_name(
    server: Server, spec: Any, text: str
) -> None:
    server.authentication(**spec)
    found = await given(server)
    assert found == {} if not text else found.startswith(text)


async def test_files_are_not_read_for_the_cluster_either(server: Server) -> None:
    server.authentication(cluster=True, filePath="/x")
    found = await given(server, "ClusterTriggerAuthentication")
    assert found.startswith("a: filePath is not supported; use secretTargetRef")


# --- environments ---


def container(name: str = "c", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "i", **more}


async def environment(server: Server, *containers: Any, name: str = "") -> Any:
    pod = from_builtins({"containers": list(containers)}, core_v1.PodSpec)
    try:
        return await Credentials(cast(Any, server), "lab").environment(pod, name)
    except AuthenticationError as error:
        return str(error)


def referring(name: str, **source: Any) -> dict[str, Any]:
    return {"name": name, "valueFrom": source}


async def test_a_container_sees_its_variables_in_their_order(server: Server) -> None:
    server.secret(k=b"secret")
    server.config(k="map")
    env = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)-$(C)-$$(A)"},
        referring("C", secretKeyRef={"name": "s", "key": "k"}),
        referring("D", configMapKeyRef={"name": "m", "key": "k"}),
        referring("E", secretKeyRef={"name": "none", "key": "k"}),
        referring("F", fieldRef={"fieldPath": "metadata.name"}),
        {"name": "G"},
    ]
    assert await environment(server, container(env=env)) == {
        "A": "1",
        "B": "1-$(C)-$(A)",
        "C": "secret",
        "D": "map",
        "E": "",
        "F": "",
        "G": "",
    }


async def test_whole_sources_come_before_single_variables(server: Server) -> None:
    server.secret(a=b"1", b=b"2")
    server.config(b="3", c="4")
    sources = [
        {"secretRef": {"name": "s"}},
        {"prefix": "X_", "configMapRef": {"name": "m"}},
        {"configMapRef": {"name": "m"}},
    ]
    found = await environment(
        server, container(envFrom=sources, env=[{"name": "a", "value": "own"}])
    )
    assert found == {"a": "own", "b": "3", "c": "4", "X_b": "3", "X_c": "4"}


@pytest.mark.parametrize("kind", ["secretRef", "configMapRef"])
@pytest.mark.parametrize("optional", [True, False, None])
async def test_a_source_that_is_not_there_is_needed_or_not(
    server: Server, kind: str, optional: bool | None
) -> None:
    found = await environment(
        server, container(envFrom=[{kind: {"name": "x", "optional": optional}}])
    )
    assert found == ({} if optional else "error reading x on namespace lab")
    assert await environment(server, container(envFrom=[{"prefix": "p"}])) == {}


async def test_a_container_is_the_first_or_the_one_of_that_name(server: Server) -> None:
    both = [
        container("a", env=[{"name": "N", "value": "1"}]),
        container("b", env=[{"name": "N", "value": "2"}]),
    ]
    assert await environment(server, *both) == {"N": "1"}
    assert await environment(server, *both, name="b") == {"N": "2"}
    text = "couldn't find container with name c on Target object"
    assert await environment(server, *both, name="c") == text
    assert await environment(server) == "target object doesn't have containers"


@pytest.mark.parametrize(
    ("pod", "name", "value"),
    [
        ({"containers": [container(env=[{"name": "N", "value": "1"}])]}, "", "1"),
        ({"containers": [container(env=[{"name": "M", "value": "1"}])]}, "", ""),
        ({"containers": [container()]}, "none", ""),
        ({"containers": []}, "", ""),
        (None, "", ""),
    ],
)
async def test_an_authentication_may_read_the_targets_environment(
    server: Server, pod: Any, name: str, value: str
) -> None:
    row = {"parameter": "p", "name": "N", **({"containerName": name} if name else {})}
    server.authentication(env=[row])
    assert await given(server, pod=pod) == {"p": value}


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("$(A)", "1"),
        ("$(B)", "$(B)"),
        ("$$", "$"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("x$(A)y$(A)", "x1y1"),
    ],
)
def test_variables_are_replaced_by_those_that_are_known(text: str, made: str) -> None:
    assert expanded(text, {"A": "1"}) == made
