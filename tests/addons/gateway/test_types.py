"""The definitions that come with the add-on are those of Gateway API, and an API server takes them."""

from __future__ import annotations

import json

import pytest

from tests.addons.gateway.originals import digests
from tiphys.addons.gateway.objects import definitions
from tiphys.api.base import encode

ORIGINALS = {
    "BackendTLSPolicy.spec.options": "b4fbee218e57ebaa",
    "BackendTLSPolicy.spec.targetRefs": "d556ac5a7641a05b",
    "BackendTLSPolicy.spec.validation": "3c04d926a091b445",
    "BackendTLSPolicy.status.ancestors": "d90dd662f5cc8ac2",
    "GatewayClass.spec.controllerName": "cfe0f150606f0f5d",
    "GatewayClass.spec.description": "9124059666ced2a0",
    "GatewayClass.spec.parametersRef": "8baf13999ac7c904",
    "GatewayClass.status.conditions": "2ee33962beef2b83",
    "GatewayClass.status.supportedFeatures": "c6c3727fedcc99f9",
    "Gateway.spec.addresses": "ed4cf5917bcae9cc",
    "Gateway.spec.allowedListeners": "e28aff5317477f49",
    "Gateway.spec.gatewayClassName": "0cbd5a7d48119d86",
    "Gateway.spec.infrastructure": "29ea1f308c490545",
    "Gateway.spec.listeners": "70e088099623f5ea",
    "Gateway.spec.tls": "3e0b7e3658f8f8fe",
    "Gateway.status.addresses": "a5c692571ab8c9ef",
    "Gateway.status.attachedListenerSets": "f8c667c844755e3c",
    "Gateway.status.conditions": "1b91f4ce1031695c",
    "Gateway.status.listeners": "83fb12e76d6633ed",
    "GRPCRoute.spec.hostnames": "0ea779d82e408737",
    "GRPCRoute.spec.parentRefs": "2fffd90d7347af55",
    "GRPCRoute.spec.rules": "57b07395cdc25af0",
    "GRPCRoute.status.parents": "707eec699197e39d",
    "HTTPRoute.spec.hostnames": "0ea779d82e408737",
    "HTTPRoute.spec.parentRefs": "2fffd90d7347af55",
    "HTTPRoute.spec.rules": "5af7d9823c131851",
    "HTTPRoute.status.parents": "707eec699197e39d",
    "ReferenceGrant.spec.from": "179ba2bbb3695110",
    "ReferenceGrant.spec.to": "29ac896581ef7137",
    "TCPRoute.spec.parentRefs": "2fffd90d7347af55",
    "TCPRoute.spec.rules": "4727f5aaccf3e0ef",
    "TCPRoute.status.parents": "707eec699197e39d",
    "TLSRoute.spec.hostnames": "4f9b54bcdd646fe9",
    "TLSRoute.spec.parentRefs": "2fffd90d7347af55",
    "TLSRoute.spec.rules": "4727f5aaccf3e0ef",
    "TLSRoute.status.parents": "707eec699197e39d",
}
OURS = {
    field: digest
    for definition in definitions()
    for field, digest in digests(json.loads(encode(definition)))
}


def test_no_field_is_missing_and_none_is_our_own() -> None:
    assert sorted(OURS) == sorted(ORIGINALS)


@pytest.mark.parametrize("field", ORIGINALS)
def test_a_field_says_what_the_original_says(field: str) -> None:
    assert OURS[field] == ORIGINALS[field]
