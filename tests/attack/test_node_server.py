"""Attacks on a node's own server: by those whom it does not know, by those who may not, and by
links among its logs."""

from __future__ import annotations

import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from tiphys.api import authentication_v1, core_v1, rbac_v1
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.cluster.certificates import Authority
from tiphys.node.server import pages
from tiphys.node.server.access import Access, AccessError, subresources
from tiphys.node.server.streaming import StreamingServer
from tiphys.testing import LocalCluster

CERTIFICATE = {
    "subject": ((("commonName", "somebody"),), (("organizationName", "some"),)),
    "notAfter": "Jan  1 00:00:00 2100 GMT",
}


async def code(
    access: Access, path: str, token: str = "", method: str = "GET", **certificate: Any
) -> int:
    try:
        await access.check(
            certificate.get("certificate"),
            f"Bearer {token}" if token else "",
            method,
            path.split("/"),
        )
    except AccessError as refused:
        return refused.code
    return 200


@pytest.fixture
async def token(server: LocalCluster) -> str:
    """Of an account that may read metrics of the node `n`, and nothing else."""
    client = server.client
    await client.create(core_v1.ServiceAccount(metadata=ObjectMeta(name="a", namespace="default")))
    rule = rbac_v1.PolicyRule(
        verbs=["get"], api_groups=[""], resources=["nodes/metrics"], resource_names=["n"]
    )
    await client.create(rbac_v1.ClusterRole(metadata=ObjectMeta(name="r"), rules=[rule]))
    bound = rbac_v1.ClusterRoleBinding(metadata=ObjectMeta(name="b"))
    bound.role_ref = rbac_v1.RoleRef(
        api_group="rbac.authorization.k8s.io", kind="ClusterRole", name="r"
    )
    bound.subjects = [rbac_v1.Subject(kind="ServiceAccount", name="a", namespace="default")]
    await client.create(bound)
    request = authentication_v1.TokenRequest()
    answer = await client.post(
        resource_of(core_v1.ServiceAccount), "default", "a", "token", request
    )
    return decode(answer, authentication_v1.TokenRequest).status.token


async def test_nobody_is_let_in_without_a_name(server: LocalCluster) -> None:
    access = Access(server.client, "n")
    for header in (
        "",
        "Basic eDp5",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer " + "x" * 100_000,
        "bearer \0",
    ):
        with pytest.raises(AccessError) as refused:
            await access.check(None, header, "GET", ["healthz"])
        assert (refused.value.code, str(refused.value)) == (401, "Unauthorized"), header[:20]


async def test_an_account_may_what_its_roles_say_of_this_node(
    server: LocalCluster, token: str
) -> None:
    access = Access(server.client, "n")
    assert await code(access, "metrics/resource", token) == 200
    for path in (
        "pods",
        "exec/default/p/c",
        "logs/syslog",
        "stats/summary",
        "configz",
        "",
        "Metrics",
    ):
        assert await code(access, path, token) == 403, path
    assert await code(access, "metrics", token, method="POST") == 403
    assert await code(Access(server.client, "other"), "metrics", token) == 403


async def test_a_certificate_is_its_user_and_owners_may_everything(server: LocalCluster) -> None:
    access = Access(server.client, "n")
    masters = (("organizationName", "system:masters"),)
    owner = CERTIFICATE | {"subject": (*CERTIFICATE["subject"], masters)}
    assert await code(access, "exec/a/b/c", method="POST", certificate=CERTIFICATE) == 403
    assert await code(access, "exec/a/b/c", method="POST", certificate=owner) == 200
    ended = owner | {"notAfter": "Jan  1 00:00:00 2020 GMT"}
    assert await code(access, "exec/a/b/c", method="POST", certificate=ended) == 401


async def test_a_certificate_of_another_authority_is_nobody_and_no_hindrance(
    server: LocalCluster, token: str, tmp_path: Path
) -> None:
    authority = server.authority
    own = authority.ensure("node", "node", (), ("127.0.0.1",), server=True)
    serving = StreamingServer(SimpleNamespace(), Access(server.client, "n"))  # type: ignore[arg-type]
    port = await serving.start("127.0.0.1", 0, *own, authority.path)
    context = ssl.create_default_context(cafile=str(authority.path))
    context.load_cert_chain(*Authority(tmp_path).ensure("x", "x", ("system:masters",)))
    url = f"https://127.0.0.1:{port}/pods"
    async with aiohttp.ClientSession() as session:
        for headers, status in (({}, 401), ({"Authorization": f"Bearer {token}"}, 403)):
            async with session.get(url, ssl=context, headers=headers) as answer:
                assert answer.status == status
    await serving.stop()


async def test_what_is_remembered_keeps_within_bounds(server: LocalCluster) -> None:
    access = Access(server.client, "n")
    for number in range(30):
        await code(access, "pods", token=f"t{number}")
    assert not len(access.delegation.callers), "tokens that are none are not kept"


def test_paths_are_about_the_subresources_that_upstream_says() -> None:
    rows = {
        "stats/summary": "stats",
        "metrics/cadvisor": "metrics",
        "logs": "log",
        "exec/x": "proxy",
        "run/x": "proxy",
    }
    assert {path: subresources(path.split("/"))[0] for path in rows} == rows
    assert subresources(["runningpods"]) == ["pods", "proxy"] and subresources(["statsx"]) == [
        "proxy"
    ]


async def test_links_among_the_nodes_logs_lead_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log" / "dir").mkdir(parents=True)
    (tmp_path / "secret").write_text("s")
    (tmp_path / "log" / "dir" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "log" / "up").symlink_to(tmp_path)
    (tmp_path / "log" / "<b>").touch()
    monkeypatch.setattr(pages, "_LOGS", tmp_path / "log")
    request: Any = SimpleNamespace()
    for path in (
        "dir/link",
        "up/secret",
        "../secret",
        "dir/../../secret",
        "/etc/passwd",
        "none",
        "a\0b",
    ):
        assert (await pages._log(request, path)).status == 404, path
    listing: Any = await pages._log(request, "")
    assert "&lt;b&gt;" in listing.text and '<a href="dir/">' in listing.text
