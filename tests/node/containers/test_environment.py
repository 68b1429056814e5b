"""The environment variables of containers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.node.containers.environment import (
    ContainerFacts,
    environment,
    expand,
    service_variables,
)
from tiphys.node.runtime import RuntimeFault

CONFIG = core_v1.ConfigMap(metadata=ObjectMeta(name="config"), data={"color": "red"})
SECRET = core_v1.Secret(metadata=ObjectMeta(name="keys"), data={"raw": b"\xff", "token": b"t"})


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)-$(B)", "x-$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$x"),
        ("$A", "$A"),
        ("$(A", "$(A"),
    ],
)
def test_references_to_variables(text: str, expanded: str) -> None:
    assert expand(text, {"A": "x"}) == expanded


def service(name: str, namespace: str = "default", ip: str = "10.0.0.1") -> core_v1.Service:
    made = core_v1.Service(metadata=ObjectMeta(name=name, namespace=namespace))
    made.spec.cluster_ip = ip
    made.spec.ports = [
        core_v1.ServicePort(port=5432, protocol="TCP"),
        core_v1.ServicePort(port=53, protocol="UDP", name="dns-udp"),
    ]
    return made


def test_the_variables_of_a_service() -> None:
    assert service_variables([service("my-db")], "default", True) == {
        "MY_DB_SERVICE_HOST": "10.0.0.1",
        "MY_DB_SERVICE_PORT": "5432",
        "MY_DB_SERVICE_PORT_DNS_UDP": "53",
        "MY_DB_PORT": "tcp://10.0.0.1:5432",
        "MY_DB_PORT_5432_TCP": "tcp://10.0.0.1:5432",
        "MY_DB_PORT_5432_TCP_PROTO": "tcp",
        "MY_DB_PORT_5432_TCP_PORT": "5432",
        "MY_DB_PORT_5432_TCP_ADDR": "10.0.0.1",
        "MY_DB_PORT_53_UDP": "udp://10.0.0.1:53",
        "MY_DB_PORT_53_UDP_PROTO": "udp",
        "MY_DB_PORT_53_UDP_PORT": "53",
        "MY_DB_PORT_53_UDP_ADDR": "10.0.0.1",
    }


@pytest.mark.parametrize(
    ("one", "namespace", "links", "shown"),
    [
        (service("db"), "default", True, True),
        (service("db"), "default", False, False),
        (service("db"), "other", True, False),
        (service("kubernetes"), "other", False, True),
        (service("kubernetes", "other"), "default", True, False),
        (service("db", ip="None"), "default", True, False),
        (service("db", ip=""), "default", True, False),
    ],
)
def test_which_services_have_variables(
    one: core_v1.Service, namespace: str, links: bool, shown: bool
) -> None:
    assert bool(service_variables([one], namespace, links)) is shown


async def get(kind: Any, namespace: str, name: str) -> Any:
    for one in (CONFIG, SECRET):
        if isinstance(one, kind) and one.metadata.name == name:
            return one
    return None


async def variables(*env: dict[str, Any], folder: str = "", **more: Any) -> dict[str, str]:
    """The environment of a container with `env`, at 10.0.0.9 on the node 1.2.3.4."""
    one = pod(containers=[{"name": "c", "image": "i", "env": list(env), **more}])
    facts = ContainerFacts(
        one, one.spec.containers[0], ("10.0.0.9",), ("1.2.3.4",), {"memory": "1Gi"}
    )
    references: Any = SimpleNamespace(get=get)
    return await environment(facts, references, [], {"v": folder} if folder else {})


def ref(**source: Any) -> dict[str, Any]:
    return {"name": "A", "valueFrom": source}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ({"configMapKeyRef": {"name": "config", "key": "color"}}, "red"),
        ({"secretKeyRef": {"name": "keys", "key": "token"}}, "t"),
        ({"secretKeyRef": {"name": "keys", "key": "raw"}}, "\udcff"),
        ({"fieldRef": {"fieldPath": "status.podIP"}}, "10.0.0.9"),
        ({"fieldRef": {"fieldPath": "status.hostIP"}}, "1.2.3.4"),
        ({"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}, "1024"),
        ({"configMapKeyRef": {"name": "config", "key": "none", "optional": True}}, None),
        ({"configMapKeyRef": {"name": "none", "key": "color", "optional": True}}, None),
    ],
)
async def test_values_of_variables(source: dict[str, Any], value: str | None) -> None:
    assert (await variables(ref(**source))).get("A") == value


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "none", "key": "k"}}, 'configmap "none" not found'),
        (
            {"configMapKeyRef": {"name": "config", "key": "k"}},
            "couldn't find key k in ConfigMap default/config",
        ),
        ({"secretKeyRef": {"name": "none", "key": "k"}}, 'secret "none" not found'),
        (
            {"fileKeyRef": {"volumeName": "v", "path": "f", "key": "K"}},
            'cannot find the volume "v" referenced by FileKeyRef',
        ),
    ],
)
async def test_what_is_missing_keeps_a_container_from_starting(
    source: dict[str, Any], message: str
) -> None:
    with pytest.raises(RuntimeFault) as fault:
        await variables(ref(**source))
    assert (fault.value.reason, str(fault.value)) == ("CreateContainerConfigError", message)


async def test_variables_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("K='v'\n")
    wanted = {"volumeName": "v", "path": "f", "key": "K"}
    assert (await variables(ref(fileKeyRef=wanted), folder=str(tmp_path)))["A"] == "v"
    absent = {**wanted, "key": "L", "optional": True}
    assert "A" not in await variables(ref(fileKeyRef=absent), folder=str(tmp_path))
    with pytest.raises(RuntimeFault, match='environment variable key "L" not found in file'):
        await variables(ref(fileKeyRef={**absent, "optional": False}), folder=str(tmp_path))
    with pytest.raises(RuntimeFault, match="couldn't parse env file"):
        await variables(ref(fileKeyRef={**wanted, "path": "g"}), folder=str(tmp_path))


async def test_variables_refer_to_those_before_them() -> None:
    address = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    env = await variables(address, {"name": "URL", "value": "http://$(IP)/"})
    assert env["URL"] == "http://10.0.0.9/"


async def test_own_variables_count_before_those_of_whole_objects() -> None:
    sources = [
        {"prefix": "X_", "configMapRef": {"name": "config"}},
        {"secretRef": {"name": "none", "optional": True}},
    ]
    env = await variables({"name": "X_color", "value": "blue"}, envFrom=sources)
    assert env["X_color"] == "blue"
    assert (await variables(envFrom=sources))["X_color"] == "red"
    with pytest.raises(RuntimeFault, match='secret "none" not found'):
        await variables(envFrom=[{"secretRef": {"name": "none"}}])
