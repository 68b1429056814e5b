"""Services: upstream's ValidateService and what a service keeps and loses when it changes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.kit import SERVED, changed
from tests.apiserver.rules import STRATEGIES, built, fields, wrong_with
from tests.apiserver.tables import each_row
from tiphys.api.base import from_builtins, to_builtins
from tiphys.api.core_v1 import Service, ServiceSpec
from tiphys.apiserver.resources.services.changes import change_errors
from tiphys.apiserver.resources.services.rules import service_errors
from tiphys.apiserver.resources.services.strategy import ServiceStrategy

BALANCED = {"type": "LoadBalancer"}
STICKY = {"sessionAffinity": "ClientIP"}


def service(*ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {**spec, **({"ports": list(ports)} if ports else {})}}


def sticky(seconds: int) -> dict[str, Any]:
    return service(**STICKY, sessionAffinityConfig={"clientIP": {"timeoutSeconds": seconds}})


@each_row(
    [
        (service({"port": 1, "name": "a"}, {"port": 2, "name": "b"}), []),
        (service({"port": 1, "name": "A"}), ["ports[0].name"]),
        (service({"port": 1, "name": "a"}, {"port": 1, "name": "b", "protocol": "SCTP"}), []),
        (service({"port": 1, "name": "a"}, {"port": 2, "name": "b"}, {"port": 1, "name": "c"}), ["ports[2]"]),
        (service({"port": 1, "targetPort": "http"}), []),
        (service({"port": 1, "targetPort": "HTTP"}), ["ports[0].targetPort"] * 2),
        (service({"port": 1, "appProtocol": "kubernetes.io/h2c"}), []),
        (service({"port": 1, "nodePort": 30100}), ["ports[0].nodePort"]),
        (service({"port": 1, "nodePort": 30100}, type="NodePort"), []),
        (service({"port": 1, "nodePort": 30100}, **BALANCED), []),
        (service({"port": 1, "nodePort": 30100}, type="ExternalName", externalName="a"), ["ports[0].nodePort"]),
        (service(externalIPs=["10.1.1.1"]), []),
        (service(externalIPs=["127.0.0.1"]), ["externalIPs[0]"]),
        (service(externalIPs=["169.254.1.1"]), ["externalIPs[0]"]),
        # --- external names, headless ones ---
        (service(type="ExternalName", externalName="a.b."), []),
        (service(type="ExternalName", externalName="a", ipFamilyPolicy="SingleStack"), ["ipFamilyPolicy"]),
        (service(type="ExternalName", externalName="a", ipFamilies=["IPv4"]), ["ipFamilies"]),
        (service(type="ExternalName", externalName="a", clusterIP="10.0.0.1"), ["clusterIPs"]),
        ({"spec": {"clusterIP": "None", "ports": None}}, []),
        ({"spec": {"ports": None}}, ["ports"]),
        (service(clusterIP="None", type="NodePort"), ["clusterIPs[0]"]),
        (service(clusterIP="None", **BALANCED), ["clusterIPs[0]"]),
        # --- traffic ---
        (service(externalTrafficPolicy="Local"), ["externalTrafficPolicy"]),
        (service(externalTrafficPolicy="Local", externalIPs=["10.1.1.1"]), []),
        (service(externalTrafficPolicy="Local", type="NodePort"), []),
        (service(externalTrafficPolicy="Local", **BALANCED), []),
        (service(externalTrafficPolicy="Far", externalIPs=["10.1.1.1"]), ["externalTrafficPolicy"]),
        (service(internalTrafficPolicy="Local"), []),
        (service(trafficDistribution="PreferSameNode"), []),
        # --- load balancers ---
        (service(loadBalancerClass="a.b/c", **BALANCED), []),
        (service(loadBalancerClass="a b", **BALANCED), ["loadBalancerClass"]),
        (service(loadBalancerSourceRanges=["10.0.0.0/8", " 10.1.0.0/16 "], **BALANCED), []),
        (service(loadBalancerSourceRanges=["10.0.0.0/8"]), ["LoadBalancerSourceRanges"]),
        (service(allocateLoadBalancerNodePorts=False, **BALANCED), []),
        (service(allocateLoadBalancerNodePorts=False), ["allocateLoadBalancerNodePorts"]),
        (service(healthCheckNodePort=30900, externalTrafficPolicy="Local", **BALANCED), []),
        (service(healthCheckNodePort=30900, externalTrafficPolicy="Cluster", **BALANCED), ["healthCheckNodePort"]),
        (service(healthCheckNodePort=30900, externalTrafficPolicy="Local", type="NodePort"), ["healthCheckNodePort"]),
        (service(healthCheckNodePort=65536, externalTrafficPolicy="Local", **BALANCED), ["healthCheckNodePort"]),
        # --- affinity ---
        (sticky(1), []),
        (sticky(86400), []),
        (sticky(0), ["sessionAffinityConfig.clientIP.timeoutSeconds"]),
        (sticky(86401), ["sessionAffinityConfig.clientIP.timeoutSeconds"]),
        (service(**STICKY, sessionAffinityConfig={}), []),
        # --- addresses ---
        (service(clusterIP="10.0.0.1", ipFamilies=["IPv4"]), []),
        (service(ipFamilies=["IPv4", "IPv4"], ipFamilyPolicy="PreferDualStack"), ["ipFamilies[1]"]),
        (service(clusterIP="10.0.0.1", clusterIPs=["10.0.0.1", "fd00::1", "fd00::2"], ipFamilyPolicy="PreferDualStack"), ["clusterIPs"]),
        (service(clusterIP="10.0.0.1", clusterIPs=["10.0.0.1", "None"]), ["clusterIPs[1]"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_service(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with("services", parts)) == [f"spec.{field}" for field in wrong]


def test_an_address_needs_its_list() -> None:
    """Which the server writes, from clients of before there were two."""
    spec = from_builtins({"clusterIP": "10.0.0.1", "ports": [{"port": 1}]}, ServiceSpec)
    assert "spec.clusterIPs" in [error.field for error in service_errors(spec)]


# --- changes ---

PORTS = [{"name": "a", "port": 80, "nodePort": 30001}]
NODE = {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": PORTS}
LOCAL = {**NODE, **BALANCED, "externalTrafficPolicy": "Local", "healthCheckNodePort": 30900}
CLASSED = {**NODE, **BALANCED, "loadBalancerClass": "a.b/c", "allocateLoadBalancerNodePorts": True}
NAME = {"type": "ExternalName", "externalName": "a", "clusterIP": None}


def after(before: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """The spec that a client's change of what it has read becomes."""
    strategy = STRATEGIES.of(SERVED["services"])
    old = built(SERVED["services"], {"spec": before})
    strategy.prepare_for_create(old)
    new = from_builtins(changed(to_builtins(old), {"spec": change}), Service)
    strategy.default(new)
    strategy.prepare_for_update(new, old)
    return to_builtins(new.spec)  # type: ignore[no-any-return]


@each_row(
    [
        # What the system set goes with the type that had it, unless the client set another.
        (NODE, {"type": "ClusterIP"}, "ports", [{"name": "a", "port": 80, "protocol": "TCP", "targetPort": 80}]),
        (NODE, {"type": "ExternalName", "externalName": "a"}, "clusterIP", None),
        (NODE, {"type": "ExternalName", "externalName": "a"}, "clusterIPs", None),
        (NODE, {"type": "ExternalName", "externalName": "a"}, "ipFamilies", None),
        (NODE, {"type": "ExternalName", "externalName": "a"}, "ipFamilyPolicy", None),
        (NODE, {"type": "ExternalName", "externalName": "a", "clusterIP": "10.0.0.2"}, "clusterIP", "10.0.0.2"),
        (NODE, {"type": "ExternalName", "ipFamilyPolicy": "PreferDualStack"}, "ipFamilyPolicy", "PreferDualStack"),
        (NODE, {"type": "ClusterIP"}, "externalTrafficPolicy", None),
        (NODE, {"type": "ClusterIP", "externalTrafficPolicy": "Local"}, "externalTrafficPolicy", "Local"),
        (NODE, BALANCED, "externalTrafficPolicy", "Cluster"),
        (LOCAL, {"externalTrafficPolicy": "Cluster"}, "healthCheckNodePort", None),
        (LOCAL, {"type": "NodePort"}, "healthCheckNodePort", None),
        (LOCAL, {"type": "NodePort", "healthCheckNodePort": 30901}, "healthCheckNodePort", 30901),
        (LOCAL, {"healthCheckNodePort": None}, "healthCheckNodePort", 30900),
        (LOCAL, {"healthCheckNodePort": 30901}, "healthCheckNodePort", 30901),
        (CLASSED, {"type": "NodePort"}, "loadBalancerClass", None),
        (CLASSED, {"type": "NodePort", "loadBalancerClass": "a.b/d"}, "loadBalancerClass", "a.b/d"),
        (CLASSED, {"type": "NodePort"}, "allocateLoadBalancerNodePorts", None),
        (CLASSED, {"type": "NodePort", "allocateLoadBalancerNodePorts": False}, "allocateLoadBalancerNodePorts", False),
        (CLASSED, {"selector": {"a": "b"}}, "loadBalancerClass", "a.b/c"),
        # What was allocated comes back to a client that leaves it out.
        (NODE, {"clusterIP": None, "clusterIPs": None}, "clusterIPs", ["10.0.0.1"]),
        (NODE, {"clusterIPs": None}, "clusterIP", "10.0.0.1"),
        (NODE, {"clusterIP": "10.0.0.2"}, "clusterIPs", ["10.0.0.2"]),
        (NODE, BALANCED, "ports", [{"name": "a", "port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30001}]),
        (NODE, {"ports": [{"name": "b", "port": 80, "nodePort": 30005}]}, "ports", [{"name": "b", "port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30005}]),
        (NODE, {"type": "ClusterIP", "ports": [{"name": "b", "port": 80, "nodePort": 30005}]}, "ports", [{"name": "b", "port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30005}]),
        ({**NAME, "ports": None}, {"type": "ClusterIP", "clusterIP": "10.0.0.7", "ports": [{"port": 1}]}, "clusterIPs", ["10.0.0.7"]),
    ],
)  # fmt: skip
def test_what_a_changed_service_keeps(
    before: dict[str, Any], change: dict[str, Any], field: str, value: Any
) -> None:
    assert after(before, change).get(field) == value


def test_a_status_of_a_load_balancer_goes_with_it() -> None:
    strategy = STRATEGIES.of(SERVED["services"])
    old = built(SERVED["services"], {"spec": LOCAL, "status": {"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}]}}})  # fmt: skip
    for kind, count in (("LoadBalancer", 1), ("NodePort", 0)):
        new = from_builtins(changed(to_builtins(old), {"spec": {"type": kind}}), Service)
        strategy.prepare_for_update(new, from_builtins(to_builtins(old), Service))
        assert len(new.status.load_balancer.ingress) == count


TWO = {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"], "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}  # fmt: skip
ONE = {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}  # fmt: skip
HEADLESS = {"clusterIP": "None", "clusterIPs": ["None"]}


@each_row(
    [
        (ONE, ONE, []),
        (ONE, {"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}, ["spec.clusterIPs[0]"]),
        (ONE, {"clusterIP": "", "clusterIPs": []}, ["spec.clusterIPs[0]"]),
        (ONE, {**TWO, "ipFamilyPolicy": "PreferDualStack"}, []),
        (TWO, {"clusterIPs": ["10.0.0.1"], "ipFamilyPolicy": "SingleStack"}, []),
        (TWO, {"clusterIPs": ["10.0.0.1"]}, ["spec.ipFamilyPolicy"]),
        (TWO, {"ipFamilies": ["IPv4"]}, ["spec.ipFamilyPolicy"]),
        (TWO, {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}, []),
        (TWO, {"ipFamilies": ["IPv6", "IPv4"]}, ["spec.ipFamilies[0]"] * 2),
        (HEADLESS, {**HEADLESS, "ipFamilies": ["IPv6"]}, []),
        ({**ONE, **HEADLESS}, {**HEADLESS, "ipFamilies": ["IPv6"]}, []),
        (ONE, {"type": "ExternalName", "clusterIP": "", "clusterIPs": []}, []),
        (CLASSED, {"loadBalancerClass": "a.b/d"}, ["spec.loadBalancerClass"]),
        (CLASSED, {"type": "NodePort", "loadBalancerClass": "a.b/d"}, []),
        (LOCAL, {"healthCheckNodePort": 30901}, ["spec.healthCheckNodePort"]),
        (LOCAL, {"healthCheckNodePort": 30901, "externalTrafficPolicy": "Cluster"}, []),
    ],
)
def test_what_of_a_service_may_not_change(
    old: dict[str, Any], new: dict[str, Any], wrong: list[str]
) -> None:
    before, now = (from_builtins(each, ServiceSpec) for each in (old, {**old, **new}))
    assert [error.field for error in change_errors(now, before)] == wrong


# --- defaults, warnings, columns ---


@each_row(
    [
        ({}, {"sessionAffinity": "None", "type": "ClusterIP", "internalTrafficPolicy": "Cluster", "externalTrafficPolicy": None, "allocateLoadBalancerNodePorts": None}),
        ({"externalIPs": ["10.1.1.1"]}, {"externalTrafficPolicy": "Cluster"}),
        ({"type": "NodePort"}, {"externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": None}),
        (BALANCED, {"externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": True}),
        ({**BALANCED, "allocateLoadBalancerNodePorts": False}, {"allocateLoadBalancerNodePorts": False}),
        ({**BALANCED, "externalTrafficPolicy": "Local"}, {"externalTrafficPolicy": "Local"}),
        ({"type": "ExternalName"}, {"internalTrafficPolicy": None, "externalTrafficPolicy": None}),
        ({"internalTrafficPolicy": "Local"}, {"internalTrafficPolicy": "Local"}),
    ],
)  # fmt: skip
def test_what_a_service_does_not_say(spec: dict[str, Any], after: dict[str, Any]) -> None:
    made = to_builtins(built(SERVED["services"], {"spec": spec}).spec)
    assert {name: made.get(name) for name in after} == after


@pytest.mark.parametrize(
    ("port", "target"),
    [({}, 80), ({"targetPort": 0}, 80), ({"targetPort": ""}, 80), ({"targetPort": "x"}, "x"), ({"targetPort": 8}, 8)],
)  # fmt: skip
def test_where_a_port_leads(port: dict[str, Any], target: int | str) -> None:
    [made] = built(SERVED["services"], service({"port": 80, **port})).spec.ports
    assert (made.target_port, made.protocol) == (target, "TCP")


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"clusterIP": "None"}, []),
        ({"clusterIP": "None", "sessionAffinity": "None"}, []),
        ({"clusterIP": "10.0.0.1", "externalIPs": ["1.1.1.1"], **STICKY}, []),
        ({"type": "ExternalName", "externalIPs": ["1.1.1.1"]}, ['spec.externalIPs is ignored when spec.type is "ExternalName"']),
        ({"type": "ExternalName"}, []),
        (
            {"clusterIP": "None", "loadBalancerIP": "1.1.1.1", "externalIPs": ["1.1.1.1"], **STICKY},
            [f"spec.{name} is ignored for headless services" for name in ("loadBalancerIP", "externalIPs", "SessionAffinity")],
        ),
    ],
)  # fmt: skip
def test_warnings(spec: dict[str, Any], told: list[str]) -> None:
    made = from_builtins({"spec": spec}, Service)
    assert list(STRATEGIES.of(SERVED["services"]).warnings(made, None)) == told


INGRESS = {"loadBalancer": {"ingress": [{"ip": "2.2.2.2"}, {"hostname": "h"}]}}


@pytest.mark.parametrize(
    ("body", "cells"),
    [
        ({}, ["", "<none>", "<none>", "<none>", "<none>"]),
        ({"spec": {"type": "ExternalName", "externalName": "a.b"}}, ["ExternalName", "<none>", "a.b", "<none>", "<none>"]),
        ({"spec": {"type": "NodePort", "ports": PORTS + [{"port": 53, "protocol": "UDP"}], "externalIPs": ["1.1.1.1"]}}, ["NodePort", "<none>", "1.1.1.1", "80:30001/,53/UDP", "<none>"]),
        ({"spec": BALANCED}, ["LoadBalancer", "<none>", "<pending>", "<none>", "<none>"]),
        ({"spec": {**BALANCED, "externalIPs": ["1.1.1.1"], "selector": {"a": "b"}}, "status": INGRESS}, ["LoadBalancer", "<none>", "2.2.2.2,h,1.1.1.1", "<none>", "a=b"]),
    ],
)  # fmt: skip
def test_how_a_service_is_shown(body: dict[str, Any], cells: list[str]) -> None:
    made = from_builtins(body, Service)
    shown = {column.name: column.cell(made) for column in ServiceStrategy.columns}
    names = ("Type", "Cluster-IP", "External-IP", "Port(s)", "Selector")
    assert [shown[name] for name in names] == cells
