"""Attacks through those who are half trusted: nodes, aggregated servers, backends, and whoever
reaches a node's port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any, cast
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.apiserver.backends import SWAGGER
from tests.apiserver.builders import call
from tests.apiserver.rights import grant, rule
from tests.attack.wire import ask
from tests.builders import machine_address, pod
from tiphys.addons.metrics.serving import ResourceMetrics
from tiphys.api import core_v1
from tiphys.api.apiregistration_v1 import APIServiceSpec
from tiphys.apiserver.documents import openapi_proto
from tiphys.apiserver.proxying import remotes
from tiphys.client import front, listening
from tiphys.client.answers import TooLong, body_of
from tiphys.client.client import JSON, MERGE, Client
from tiphys.client.collection import resident_memory
from tiphys.client.delegation import caller_of
from tiphys.client.upgrade import _body, _head
from tiphys.controllers.signing import subject_of
from tiphys.machinery.errors import StatusError
from tiphys.node.server.access import Access
from tiphys.node.server.logserver import log_options
from tiphys.node.server.pages import Host
from tiphys.node.server.streaming import StreamingServer
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port

DEFAULT_ACCOUNT = {"metadata": {"name": "default"}}
ENDS = {"notAfter": "Jan  1 00:00:00 2100 GMT"}

# --- who somebody is ---


def test_of_several_common_names_the_last_one_is_who_asks_a_node() -> None:
    """As for the API server, and for the signer that lets a node renew what ends with its own name."""
    subject = (
        (("organizationName", "system:nodes"),),
        (("commonName", "metrics-reader"),),
        (("commonName", "system:node:a"),),
    )
    caller = caller_of({"subject": subject, **ENDS})
    assert caller is not None and (caller.name, caller.groups) == (
        "system:node:a",
        ("system:nodes",),
    )
    unnamed = ((("commonName", "a"),), (("commonName", ""),))
    assert caller_of({"subject": unnamed, **ENDS}) is None


def test_a_certificate_carries_no_alternative_name_that_go_does_not_know() -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "z")])
    other = x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x0c\x01a")
    names = x509.SubjectAlternativeName([x509.DNSName("a"), other, x509.DirectoryName(name)])
    asked = x509.CertificateSigningRequestBuilder().subject_name(name).add_extension(names, False)
    signed = asked.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    pem = signed.public_bytes(serialization.Encoding.PEM)
    assert subject_of(pem).alternatives == [x509.DNSName("a")]


# --- a node's own server, before it knows who asks ---


@pytest.fixture
async def node(server: LocalCluster) -> AsyncIterator[tuple[StreamingServer, int, ssl.SSLContext]]:
    certificate, key = server.authority.ensure(
        "n", "system:node:n", (), ("127.0.0.1",), server=True
    )
    made = StreamingServer(cast(Host, None), Access(server.client, "n"))
    ca = server.root / "pki" / "ca.crt"
    port = await made.start("127.0.0.1", 0, certificate, key, ca)
    yield made, port, ssl.create_default_context(cafile=str(ca))
    await made.stop()


async def test_heads_take_little_of_a_node_and_end(
    node: tuple[StreamingServer, int, ssl.SSLContext],
) -> None:
    _, port, tls = node
    before = resident_memory()
    for _ in range(4):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: n\r\n")
        with contextlib.suppress(ConnectionError):
            for number in range(30):
                writer.write(b"X-%d: " % number + b"a" * 900_000 + b"\r\n")
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            assert b" 431 " in await reader.readline()
        writer.transport.abort()
    assert resident_memory() - before < 64 << 20


async def test_who_does_not_speak_to_a_node_is_let_go(
    node: tuple[StreamingServer, int, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(front, "_SWEEP", 0.1)
    monkeypatch.setattr(listening, "_SWEEP", 0.1)
    made, port, tls = node
    assert made._runner is not None
    next(iter(made._runner.sites))._listener._seconds = 0.2
    silent = await asyncio.open_connection("127.0.0.1", port)
    slow = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    slow[1].write(b"GET /healthz HTTP/1.1\r\nHost")
    async with asyncio.timeout(10):
        for reader, writer in (silent, slow):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()


async def test_heads_that_are_not_whole_have_a_bound_in_all(
    server: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The long ones go; who sends an ordinary head is served."""
    monkeypatch.setattr(front, "_MOST_UNFINISHED", 1 << 20)
    where = urlsplit(server.client.config.server)
    tls = server.client.config.ssl_context()
    seen = server.server._runner.server
    opened = []
    for _ in range(8):
        one = await asyncio.open_connection(where.hostname, where.port, ssl=tls)
        one[1].write(b"GET /livez HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 400_000)
        opened.append(one)
    await server.eventually(
        lambda: sum(reader.at_eof() or reader.exception() is not None for reader, _ in opened) > 3
    )
    assert seen.unfinished <= 1 << 20
    await server.client.request("GET", "/livez")
    for _, writer in opened:
        writer.transport.abort()
    await server.eventually(lambda: seen.unfinished == 0)


# --- what others answer ---


class Others:
    """A server that answers `answers` by path, and counts."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []

    async def handle(self, asked: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(asked.path)
        body = self.answers.get(asked.path, b"{}")
        if isinstance(body, web.Response):
            return body
        response = web.StreamResponse()
        await response.prepare(asked)
        with contextlib.suppress(ConnectionError):
            for _ in range(4096 if body is None else 0):  # more than anybody wants
                await response.write(b" " * 65536)
                await asyncio.sleep(0)
            await response.write(body or b"")
        return response


@pytest.fixture
async def others(server: LocalCluster) -> AsyncIterator[tuple[Others, int]]:
    """At this machine's address, with the certificate of the node `n`."""
    made, port = Others(), free_port()
    names = ("n", "s.default.svc")
    certificate, key = server.authority.ensure("others", "system:node:n", (), names, server=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    runner = web.ServerRunner(web.Server(made.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, machine_address(), port, ssl_context=context).start()
    yield made, port
    await runner.cleanup()


async def test_an_answer_without_end_is_not_read_to_its_end(others: tuple[Others, int]) -> None:
    made, port = others
    made.answers["/"] = None
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"https://{machine_address()}:{port}/", ssl=False) as answer,
    ):
        with pytest.raises(TooLong, match="more than 1000000 bytes"):
            await body_of(answer, 1_000_000)


@pytest.mark.parametrize(
    "summary",
    [
        b"[]",
        b'{"node": 5}',
        b'{"node": {"cpu": {"usageCoreNanoSeconds": "x"}}}',
        b'{"pods": [{}]}',
        b'{"pods": 7}',
        b"[" * 100_000,
        None,
    ],
)
async def test_a_node_that_says_nonsense_costs_nobody_else_his_metrics(
    server: LocalCluster,
    others: tuple[Others, int],
    summary: bytes | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tiphys.addons.metrics.serving._LONGEST_SUMMARY", 1 << 20)
    made, port = others
    made.answers["/stats/summary"] = summary
    await is_node(server, port)
    usage = ResourceMetrics(server.server.registry, server.client.config.ssl_context())
    before = resident_memory()
    await usage.collect()
    await usage.close()
    assert made.asked == ["/stats/summary"] and resident_memory() - before < 64 << 20


async def is_node(server: LocalCluster, port: int) -> None:
    """A node `n` whose own server is `others`, as it says."""
    address = {"type": "InternalIP", "address": machine_address()}
    await call(server, "POST", "/api/v1/nodes", {"metadata": {"name": "n"}})
    endpoint = {"kubeletEndpoint": {"Port": port}}
    status = {"addresses": [address], "daemonEndpoints": endpoint}
    await server.client.patch(core_v1.Node, "n", {"status": status}, "", "status")


async def test_a_nodes_redirect_of_a_log_is_not_followed(
    server: LocalCluster, others: tuple[Others, int]
) -> None:
    """Over a WebSocket, too: the node would send the API server, with its certificate, where it
    likes."""
    made, port = others
    await is_node(server, port)
    await call(server, "POST", "/api/v1/namespaces/default/serviceaccounts", DEFAULT_ACCOUNT)
    await server.client.create(pod("p", nodeName="n"))
    made.answers["/containerLogs/default/p/c"] = web.Response(
        status=302, headers={"Location": f"https://{machine_address()}:{port}/private"}
    )
    config = server.client.config
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"{config.server}/api/v1/namespaces/default/pods/p/log", ssl=config.ssl_context()
        ) as socket,
    ):
        await socket.receive()
    assert made.asked == ["/containerLogs/default/p/c"]


def test_what_an_aggregated_server_says_of_itself_is_read_as_what_it_is() -> None:
    row = {"name": "a", "namespaced": True, "verbs": ["get"], "storageVersionHash": "x"}
    told = json.dumps({"resources": [row]}).encode()
    assert remotes.resources(told) == [{"name": "a", "namespaced": True, "verbs": ["get"]}]
    for nonsense in (
        b"[]",
        b'{"resources": 5}',
        b'{"resources": [{}]}',
        b'{"resources": [{"name": 5}]}',
    ):
        with pytest.raises(ValueError):
            remotes.resources(nonsense)


def test_a_request_passed_on_costs_no_new_tls_context(server: LocalCluster) -> None:
    aggregator = server.server._aggregator
    skip = APIServiceSpec(insecure_skip_tls_verify=True)
    assert aggregator._tls_for(skip) is aggregator._tls_for(skip)
    checked = aggregator._tls_for(APIServiceSpec())
    assert checked is not aggregator._tls_for(skip) and checked.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    "part",
    [
        {"paths": 5},
        {"paths": {"/apis/g/v1/a": 5}},
        {"paths": {"/apis/g/v1/a": {"get": {"$ref": "#/definitions/a"}}}, "definitions": {"a": 5}},
        {"parameters": 5},
    ],
)
def test_a_document_that_would_take_ours_with_it_is_none(part: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        remotes.swagger_of(json.dumps({**SWAGGER, **part}).encode(), "/apis/g/v1")


def test_operations_of_others_need_no_words() -> None:
    info = {"title": "t", "version": "v"}
    paths = {"/apis/g/v1/a": {"get": {}}}
    models = {"a": {"type": "object", "additionalProperties": True}}
    assert openapi_proto.v2({"info": info, "paths": paths, "definitions": models})


# --- answers to upgrades ---


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1  101\r\n\r\n",
        b"HTTP/1.1 1010 x\r\n\r\n",
        b"HTTP/9.1 101 x\r\n\r\n",
        b"HTTP/1.1 \xb2\xb2\xb2 x\r\n\r\n",
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 101 x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 101",
    ],
)
async def test_what_is_no_answer_upgrades_nothing(head: bytes) -> None:
    reader = asyncio.StreamReader(limit=1 << 20)
    reader.feed_data(head)
    reader.feed_eof()
    with pytest.raises(ConnectionError):
        await _head(reader)


def test_a_refusal_has_the_length_that_it_says() -> None:
    assert _body(b"HTTP/1.1 403 x\r\nContent-Length: 5\r\n\r\n").length == 5
    assert _body(b"HTTP/1.1 403 x\r\nContent-Length: \xb2\r\n\r\n").length == 1 << 20
    assert _body(b"HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n").length == 0


# --- what an expression is shown ---

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
SECRETS = {"apiVersion": "v1", "kind": "Secret"}


def policy(kind: str, param_kind: dict[str, str] | None) -> dict[str, Any]:
    """One that tells whoever it refuses what its parameter holds."""
    rules = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["configmaps"],
    }
    spec: dict[str, Any] = {"matchConstraints": {"resourceRules": [rules]}}
    if param_kind is not None:
        spec["paramKind"] = param_kind
    spec["validations"] = [{"expression": "false", "messageExpression": "string(params.data.k)"}]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "p"},
        "spec": spec,
    }


def binding(**ref: Any) -> dict[str, Any]:
    ref["parameterNotFoundAction"] = "Deny"
    spec = {"policyName": "p", "paramRef": ref, "validationActions": ["Deny"]}
    return {"metadata": {"name": "b"}, "spec": spec}


async def refused(
    client: Client, method: str, path: str, body: dict[str, Any], media: str = JSON
) -> str:
    with pytest.raises(StatusError) as raised:
        await client.request(method, path, json.dumps(body).encode(), content=media)
    assert raised.value.code == 422
    return str(raised.value)


async def test_nobody_reads_through_a_policy_what_they_may_not(server: LocalCluster) -> None:
    kind, plural = "ValidatingAdmissionPolicy", f"{ADMISSION}/validatingadmissionpolicies"
    policies = rule("*", "validatingadmissionpolicies", group="admissionregistration.k8s.io")
    await grant(server, "jane", policies)
    jane = server.client_as("jane")
    why = 'spec.paramKind: Forbidden: user jane must have "get" permission on all objects'
    assert why in await refused(jane, "POST", plural, policy(kind, SECRETS))
    await call(server, "POST", plural, policy(kind, None))
    changed = {"spec": {"paramKind": SECRETS}}
    assert why in await refused(jane, "PATCH", f"{plural}/p", changed, MERGE)
    await call(server, "PATCH", f"{plural}/p", changed, content=MERGE)
    labels = {"metadata": {"labels": {"a": "b"}}}
    await jane.request("PATCH", f"{plural}/p", json.dumps(labels).encode(), content=MERGE)


async def test_nobody_binds_a_policy_to_what_they_may_not_read(server: LocalCluster) -> None:
    plural = f"{ADMISSION}/validatingadmissionpolicybindings"
    bindings = rule("*", "validatingadmissionpolicybindings", group="admissionregistration.k8s.io")
    await grant(server, "jane", bindings, rule("get", "secrets", "mine"))
    jane = server.client_as("jane")
    theirs, mine = binding(name="gold", namespace="kube-system"), binding(name="mine")
    assert "unable to get policy p" in await refused(jane, "POST", plural, mine)
    made = policy("ValidatingAdmissionPolicy", SECRETS)
    await call(server, "POST", f"{ADMISSION}/validatingadmissionpolicies", made)
    why = 'user jane does not have "{}" permission on the object referenced by paramRef'
    assert why.format("get") in await refused(jane, "POST", plural, theirs)
    assert why.format("list") in await refused(jane, "POST", plural, binding(selector={}))
    await jane.request("POST", plural, json.dumps(mine).encode())


# --- options of logs ---


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("tailLines=x", 400),
        ("tailLines=²", 400),
        ("limitBytes=" + "9" * 5000, 400),
        ("tailLines=-1", 422),
        ("limitBytes=0", 422),
        ("sinceSeconds=0", 422),
        ("sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z", 422),
        ("tailLines=0&limitBytes=1", 200),
    ],
)
async def test_options_of_logs_are_judged_before_a_node_is_asked(
    server: LocalCluster, query: str, code: int
) -> None:
    await call(server, "POST", "/api/v1/namespaces/default/serviceaccounts", DEFAULT_ACCOUNT)
    await server.client.create(pod("p"))
    path = f"/api/v1/namespaces/default/pods/p/log?{quote(query, safe='=&:')}"
    assert (await ask(server.client, "GET", path)).status == code


def test_a_node_reads_no_nonsense_either() -> None:
    for query in ({"tailLines": "x"}, {"sinceSeconds": "9" * 5000}, {"limitBytes": "1e5"}):
        with pytest.raises(ValueError):
            log_options(query, 0.0)
