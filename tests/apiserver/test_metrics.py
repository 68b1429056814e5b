"""The page of metrics: what is counted, under which names and labels, in which formats."""

from __future__ import annotations

import base64
import json

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.servers import served
from tiphys.api import core_v1
from tiphys.apiserver.http.metrics import InFlight
from tiphys.client.client import APPLY, Client
from tiphys.client.exposition import render
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

MAPS = "/api/v1/namespaces/default/configmaps"
COUNT = "apiserver_request_total"
CREATED = {
    "verb": "POST",
    "dry_run": "",
    "group": "",
    "version": "v1",
    "resource": "configmaps",
    "subresource": "",
    "scope": "resource",
    "component": "apiserver",
}


def config(name: str) -> bytes:
    return json.dumps({"metadata": {"name": name}}).encode()


def total(text: str, name: str, /, **labels: str) -> float:
    """The sum of the samples of a name that have these labels."""
    return sum(
        sample.value
        for family in parse_text(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def page(client: Client) -> str:
    return (await client.request("GET", "/metrics")).decode()


async def test_requests_are_counted_by_upstreams_labels(server: LocalCluster) -> None:
    await server.client.request("POST", MAPS, config("a"))
    text = await page(server.client)
    assert total(text, COUNT, code="201", **CREATED) == 1
    assert total(text, "apiserver_request_duration_seconds_count", **CREATED) == 1
    assert total(text, "apiserver_request_duration_seconds_bucket", le="60.0", **CREATED) == 1
    written = {"operation": "create", "group": "", "resource": "configmaps"}
    assert (
        total(text, "etcd_request_duration_seconds_count", **written) == 3
    )  # kube-root-ca.crt, coredns


@pytest.mark.parametrize(
    ("method", "path", "body", "labels"),
    [
        ("GET", f"{MAPS}/a", None, {"verb": "GET", "scope": "resource"}),
        ("GET", MAPS, None, {"verb": "LIST", "scope": "namespace"}),
        ("GET", "/api/v1/configmaps", None, {"verb": "LIST", "scope": "cluster"}),
        ("POST", f"{MAPS}?dryRun=All", config("b"), {"verb": "POST", "dry_run": "All"}),
        ("PUT", f"{MAPS}/a", config("a"), {"verb": "PUT", "scope": "resource"}),
        ("DELETE", f"{MAPS}/a", None, {"verb": "DELETE", "scope": "resource"}),
        ("DELETE", MAPS, None, {"verb": "DELETECOLLECTION", "scope": "namespace"}),
    ],
)
async def test_verbs_and_scopes_are_upstreams(
    server: LocalCluster, method: str, path: str, body: bytes | None, labels: dict[str, str]
) -> None:
    await server.client.request("POST", MAPS, config("a"))
    before = await page(server.client)
    await server.client.request(method, path, body)
    labels = {"resource": "configmaps", **labels}
    assert total(await page(server.client), COUNT, **labels) == total(before, COUNT, **labels) + 1


async def test_an_apply_is_not_counted_as_a_patch(server: LocalCluster) -> None:
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    body = json.dumps(applied).encode()
    path = f"{MAPS}/a?fieldManager=m"
    await server.client.request("PATCH", path, body, content=APPLY)
    text = await page(server.client)
    assert total(text, COUNT, verb="APPLY", resource="configmaps") == 1
    assert total(text, COUNT, verb="PATCH", resource="configmaps") == 0


async def test_names_that_are_not_served_make_no_series(server: LocalCluster) -> None:
    for path in ("/apis/made.up/v1/things", "/api/v1/nothing", f"{MAPS}/a/nothing", "/made-up"):
        for method in ("GET", "LOCK"):
            with pytest.raises(StatusError):
                await server.client.request(method, path)
    text = await page(server.client)
    counted = "\n".join(line for line in text.splitlines() if line.startswith("apiserver_"))
    assert not any(word in counted for word in ("made.up", "made-up", "nothing", "things", "LOCK"))
    assert total(text, COUNT, verb="other") == 4
    assert total(text, COUNT, code="404", verb="LIST", resource="") == 2


async def test_watches_are_gauged_and_their_events_counted(server: LocalCluster) -> None:
    watched = {"verb": "WATCH", "resource": "configmaps", "scope": "namespace"}
    sent = {"version": "v1", "resource": "configmaps"}
    await server.client.request("POST", MAPS, config("a"))
    async for _ in server.client.watch(core_v1.ConfigMap, "default"):
        text = await page(server.client)
        assert total(text, "apiserver_longrunning_requests", **watched) == 1
        assert total(text, "apiserver_watch_events_total", **sent) >= 1
        break

    async def has_ended() -> bool:
        text = await page(server.client)
        return total(text, "apiserver_longrunning_requests", **watched) == 0

    await server.eventually(has_ended)
    assert total(await page(server.client), COUNT, **watched) == 1


async def test_objects_levels_and_the_process_are_shown(server: LocalCluster) -> None:
    text = await page(server.client)
    schemas = "flowschemas.flowcontrol.apiserver.k8s.io"
    assert total(text, "apiserver_storage_objects", resource=schemas) > 10
    assert total(text, "apiserver_resource_objects", group="", resource="namespaces") == 4
    level = {"priority_level": "workload-low"}
    assert total(text, "apiserver_flowcontrol_nominal_limit_seats", **level) > 0
    assert "tiphys_event_loop_hold_seconds_count" in text
    assert total(text, "process_resident_memory_bytes") > 1 << 20
    assert total(text, "kubernetes_build_info", major="1", minor="36") == 1


async def test_two_servers_in_one_process_count_for_themselves(server: LocalCluster) -> None:
    async with LocalCluster() as other:
        await other.client.request("POST", MAPS, config("a"))
        assert total(await page(other.client), COUNT, code="201", **CREATED) == 1
    assert total(await page(server.client), COUNT, code="201", **CREATED) == 0


async def test_openmetrics_is_for_who_accepts_it(server: LocalCluster) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    text = (await server.client.request("GET", "/metrics", accept=accept)).decode()
    families = {family.name for family in parse_openmetrics(text)}
    assert text.endswith("# EOF\n")
    assert {"apiserver_request", "etcd_request_duration_seconds"} <= families


async def test_who_may_not_read_metrics_is_refused(server: LocalCluster) -> None:
    with pytest.raises(StatusError, match="cannot get path"):
        await page(server.client_as("jane"))
    assert COUNT in await page(server.client_as("prometheus", ("system:monitoring",)))


def test_the_most_at_a_time_are_remembered_for_a_second() -> None:
    in_flight = InFlight()
    in_flight.enter()
    in_flight.enter()
    in_flight.leave()
    assert in_flight.most() == 2


def test_a_page_is_compressed_for_who_takes_it() -> None:
    shown = render(CollectorRegistry(), accept_encoding="gzip, deflate")
    assert shown.headers["Content-Encoding"] == "gzip" and shown.body.startswith(b"\x1f\x8b")
    assert "Content-Encoding" not in render(CollectorRegistry()).headers


async def test_what_admission_takes_is_told(server: LocalCluster) -> None:
    await server.client.request("POST", MAPS, config("a"))
    refused = b'{"metadata": {"name": "a"}}'
    with pytest.raises(StatusError):
        await server.client.request("POST", MAPS.replace("default", "nowhere"), refused)
    text = await page(server.client)
    took = "apiserver_admission_controller_admission_duration_seconds_count"
    lifecycle = {"name": "NamespaceLifecycle", "operation": "CREATE"}
    assert total(text, took, rejected="false", **lifecycle) >= 1
    assert total(text, took, rejected="true", **lifecycle) == 1
    step = "apiserver_admission_step_admission_duration_seconds_bucket"
    told = {"operation": "CREATE", "rejected": "false", "le": "+Inf"}
    assert total(text, step, type="validate", **told) >= 1


async def test_webhooks_are_counted_and_what_waits_for_them_is_no_fault_of_ours(
    server: LocalCluster,
) -> None:
    def refuse(request: object) -> object:
        uid = behind.bodies[-1]["request"]["uid"]
        return {"response": {"uid": uid, "allowed": False, "status": {"code": 418}}}

    async with served() as behind:
        behind.answer = refuse
        rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"]}
        authority = base64.b64encode(behind.authority.read_bytes()).decode()
        hook = {
            "name": "a.b.c",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": behind.url, "caBundle": authority},
            "rules": [{**rule, "resources": ["configmaps"]}],
        }
        path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
        made = {"metadata": {"name": "w"}, "webhooks": [hook]}
        await server.client.request("POST", path, json.dumps(made).encode())
        with pytest.raises(StatusError):
            await server.client.request("POST", MAPS, config("a"))
    text = await page(server.client)
    asked = {"name": "a.b.c", "type": "validating", "operation": "CREATE"}
    prefix = "apiserver_admission_webhook"
    assert total(text, f"{prefix}_request_total", code="418", rejected="true", **asked) == 1
    assert total(text, f"{prefix}_admission_duration_seconds_count", **asked) == 1
    told = {"error_type": "no_error", "rejection_code": "418", **asked}
    assert total(text, f"{prefix}_rejection_count", **told) == 1
    about = {name: CREATED[name] for name in CREATED if name != "dry_run"}
    whole = total(text, "apiserver_request_duration_seconds_sum", **about)
    own = total(text, "apiserver_request_sli_duration_seconds_sum", **about)
    waited = total(text, f"{prefix}_admission_duration_seconds_sum", **asked)
    assert own == pytest.approx(whole - waited, abs=0.01)
    assert total(text, "apiserver_request_sli_duration_seconds_count", **about) == total(
        text, "apiserver_request_duration_seconds_count", **about
    )


async def test_sizes_of_answers_to_reads_are_told(server: LocalCluster) -> None:
    await server.client.request("POST", MAPS, config("a"))
    body = await server.client.request("GET", f"{MAPS}/a")
    text = await page(server.client)
    about = {**CREATED, "verb": "GET"}
    del about["dry_run"]
    assert total(text, "apiserver_response_sizes_sum", **about) == len(body)
    assert total(text, "apiserver_response_sizes_bucket", le="1000.0", **about) == 1
