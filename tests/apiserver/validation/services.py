"""Services."""

from __future__ import annotations

from tests.apiserver.validation.cases import SUBDOMAIN, Rules, change, service

SERVICES = Rules("Services", "core/validation: ValidateService", [
    service("ports", "Required value", ports=[]),
    service("ports[0].port", "must be between 1 and 65535, inclusive", ports=[{"port": 65536}]),
    service("ports[0].protocol", 'Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"', ports=[{"port": 1, "protocol": "ICMP"}]),
    service("ports[1].name", "Required value", ports=[{"name": "a", "port": 1}, {"port": 2}]),
    service("ports[1].name", 'Duplicate value: "a"', ports=[{"name": "a", "port": 1}, {"name": "a", "port": 2}]),
    service("ports[1]", "Duplicate value", ports=[{"name": "a", "port": 1}, {"name": "b", "port": 1}]),
    service("ports[0].targetPort", "must be between 1 and 65535, inclusive", ports=[{"port": 1, "targetPort": 65536}]),
    service("ports[0].nodePort", "may not be used when `type` is 'ClusterIP'", ports=[{"port": 1, "nodePort": 30100}]),
    service("type", 'Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"', type="Magic"),
    service("sessionAffinity", 'Unsupported value: "Cookie": supported values: "ClientIP", "None"', sessionAffinity="Cookie"),
    service("sessionAffinityConfig.clientIP.timeoutSeconds", "must be greater than 0 and less than 86400", sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 86401}}),
    service("clusterIPs[0]", "must be a valid IP address", clusterIP="x"),
    service("externalName", f'Invalid value: "A_": {SUBDOMAIN}', type="ExternalName", externalName="A_"),
    service("externalName", "Required value", type="ExternalName"),
    service("externalIPs[0]", "must be a valid IP address", externalIPs=["x"]),
    service("externalTrafficPolicy", 'Unsupported value: "Far": supported values: "Cluster", "Local"', type="NodePort", externalTrafficPolicy="Far"),
    service("internalTrafficPolicy", 'Unsupported value: "Far": supported values: "Cluster", "Local"', internalTrafficPolicy="Far"),
    service("selector", "name part must consist of", selector={"a b": "c"}),
    service("loadBalancerSourceRanges[0]", "must be a valid CIDR value", type="LoadBalancer", loadBalancerSourceRanges=["x"]),
    service("loadBalancerClass", "may only be used when `type` is 'LoadBalancer'", loadBalancerClass="a.b/c"),
    service("ipFamilies[0]", 'Unsupported value: "IPv5"', ipFamilies=["IPv5"]),
    change("services", "spec.clusterIPs[0]", "may not change once set", {}, {"spec": {"clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"]}}),
    service("ipFamilyPolicy", 'Unsupported value: "x": supported values: "PreferDualStack", "RequireDualStack", "SingleStack"', ipFamilyPolicy="x"),
    service("trafficDistribution", 'Unsupported value: "x": supported values: "PreferClose", "PreferSameNode", "PreferSameZone"', trafficDistribution="x"),
    service("healthCheckNodePort", "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'", healthCheckNodePort=30900),
    service("ports[0].appProtocol", "name part must consist of", ports=[{"port": 1, "appProtocol": "a b"}]),
    service("ports[0].targetPort", "must contain only alpha-numeric characters", ports=[{"port": 1, "targetPort": "a b"}]),
    service("clusterIPs", "first value must match `clusterIP`", clusterIP="10.98.1.1", clusterIPs=["10.98.1.2"]),
    service("clusterIPs", "must be empty when `clusterIP` is not specified", clusterIPs=["10.98.1.1"]),
    service("clusterIPs", "'None' must be the first and only value", clusterIP="None", clusterIPs=["None", "10.98.1.2"]),
])
