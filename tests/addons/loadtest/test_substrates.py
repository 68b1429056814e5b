"""Where applications run, and what production has: a client that remembers, and processes that
sleep."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from tests.builders import config_map
from tiphys.addons.loadtest import PROCESSES, supervisor
from tiphys.addons.loadtest import production as reading
from tiphys.addons.loadtest.changes import Original
from tiphys.addons.loadtest.production import (
    ProductionError,
    config_of,
    originals,
    originals_of,
)
from tiphys.addons.loadtest.substrates import Deployments, Processes
from tiphys.addons.loadtest.supervisor import Supervisor, service_of, wanted_of
from tiphys.addons.loadtest.types import Application, LoadTest, Production
from tiphys.api import apps_v1, core_v1
from tiphys.api.base import from_builtins
from tiphys.client.client import JSON_PATCH, MERGE, Unreachable
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import errors

SPEC = {
    "replicas": 2,
    "selector": {},
    "template": {"metadata": {}, "spec": {"containers": [{"name": "web", "image": "shop:2"}]}},
}


class Server:
    def __init__(self, **found: Any) -> None:
        self.found = found
        self.patched: list[tuple[Any, ...]] = []
        self.fails: Exception | None = None

    async def get(self, kind: Any, name: str, namespace: str) -> Any:
        if self.fails is not None:
            raise self.fails
        if name not in self.found:
            raise errors.not_found("things", name)
        return self.found[name]

    async def patch(self, kind: Any, name: str, patch: Any, namespace: str, *, media: str) -> None:
        if self.fails is not None:
            raise self.fails
        self.patched.append((name, namespace, patch, media))


def deployments(server: Server) -> Deployments:
    return Deployments(cast(Any, server), "shop", {"pool": "system"})


FORBIDDEN = errors.forbidden("deployments", "web", "no")


async def test_a_deployment_is_changed_and_changed_back() -> None:
    server = Server(web={"metadata": {"name": "web"}, "spec": SPEC, "status": {}})
    made = deployments(server)
    assert await made.save("web") == SPEC and await made.save("other") is None
    await made.change(Application(name="web", replicas=5), SPEC, None)
    ((name, namespace, patch, media),) = server.patched
    assert (name, namespace, media) == ("web", "shop", JSON_PATCH)
    assert (patch[0]["op"], patch[0]["path"]) == ("replace", "/spec")
    assert patch[0]["value"]["replicas"] == 5
    assert patch[0]["value"]["template"]["spec"]["nodeSelector"] == {"pool": "system"}
    await made.restore("web", SPEC)
    assert server.patched[1][2][0]["value"] == SPEC
    assert await made.missing("web") == "web has 0 of 2 replicas"
    assert await made.missing("other") == "other is gone"


async def test_what_is_gone_is_not_restored() -> None:
    server = Server()
    server.fails = errors.not_found("deployments", "web")
    await deployments(server).restore("web", SPEC)
    server.fails = FORBIDDEN
    for work in (deployments(server).restore("web", SPEC), deployments(server).save("web")):
        with pytest.raises(errors.StatusError):
            await work


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """With a service of two versions that sleeps."""
    script = 'echo "$VERSION $INSTANCE $SAID" >> said; exec sleep 30'
    service = {
        "versions": {version: ["/bin/sh", "-c", script] for version in ("1", "2")},
        "environment": {"SAID": "so"},
    }
    (tmp_path / "till.json").write_text(json.dumps(service))
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / ".hidden.json").write_text(json.dumps(service))
    return str(tmp_path)


def test_only_what_is_declared_is_a_service(folder: str) -> None:
    found = service_of(folder, "till")
    assert found is not None and list(found.versions) == ["1", "2"]
    for name in ("bad", "nobody", ".hidden", f"../{Path(folder).name}/till"):
        assert service_of(folder, name) is None
    assert service_of("", "till") is None


@pytest.mark.parametrize(
    "state, application, original, wanted",
    [
        ('{"replicas": 3, "version": "1"}', {}, None, {"replicas": 3, "version": "1"}),
        ('{"replicas": 3, "version": "1"}', {"replicas": 5}, None, {"replicas": 5, "version": "1"}),
        (None, {}, None, {"replicas": 0, "version": "2"}),
        ("nonsense", {"replicas": 1}, None, {"replicas": 1, "version": "2"}),
        (
            '{"replicas": 3, "version": "1"}',
            {},
            Original(7, version="9"),
            {"replicas": 7, "version": "9"},
        ),
    ],
)
async def test_a_local_service_is_changed_and_changed_back(
    folder: str, state: str | None, application: Any, original: Any, wanted: Any
) -> None:
    data = {"till": state} if state is not None else {}
    server = Server(**{PROCESSES: config_map(PROCESSES, **data)})
    nobody: Any = None
    made = Processes(cast(Any, server), nobody, folder)
    assert await made.save("nobody") is None
    saved = await made.save("till")
    assert saved == {"state": state}
    await made.change(Application(name="till", **application), saved, original)
    await made.restore("till", saved)
    (first, second) = server.patched
    assert (first[0], first[3]) == (PROCESSES, MERGE)
    assert json.loads(first[2]["data"]["till"]) == wanted
    assert second[2] == {"data": {"till": state}}


async def test_what_a_local_service_lacks_is_asked_of_who_runs_it(folder: str) -> None:
    server = Server(**{PROCESSES: config_map(PROCESSES, till="x")})
    followed: list[Any] = []
    runs: Any = SimpleNamespace(follow=followed.append, missing=lambda name: f"{name} lacks")
    assert await Processes(cast(Any, server), runs, folder).missing("till") == "till lacks"
    assert followed == [{"till": "x"}]


# --- processes ---


def wanted(replicas: int, version: str) -> dict[str, str]:
    return {"till": json.dumps({"replicas": replicas, "version": version})}


async def _until(check: Any) -> None:
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110 - processes have no event for it
            await asyncio.sleep(0.01)


async def test_as_many_run_as_are_wanted(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_PAUSE", 0.01)
    tasks = TaskGroup("services")
    made = Supervisor(folder, tasks)
    assert made.missing("till") == "", "nobody wants it"
    made.follow({**wanted(2, "1"), "other": "nonsense"})
    assert made.missing("till") == "till has 0 of 2 processes"
    said = Path(folder) / "said"
    await _until(lambda: said.exists() and len(said.read_text().splitlines()) == 2)
    assert sorted(said.read_text().splitlines()) == ["1 0 so", "1 1 so"]
    assert made.missing("till") == ""
    before = dict(made._running)
    made.follow(wanted(1, "1"))
    assert list(made._running) == [("till", 0)]
    assert made._running["till", 0] is before["till", 0], "it goes on"
    assert made.missing("till") == "till has processes too many"
    await _until(lambda: made.missing("till") == "")
    made.follow(wanted(1, "2"))
    assert made.missing("till") == "till has 0 of 1 processes"
    await _until(lambda: said.read_text().splitlines()[-1] == "2 0 so")
    await _until(lambda: made.missing("till") == "")
    made.follow({})
    assert made.missing("till") == "" and made._running == {}
    await _until(lambda: not made._alive)
    await tasks.stop()


async def test_one_that_ends_is_started_again(
    folder: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "_PAUSE", 0.01)
    service = {"versions": {"1": ["/bin/sh", "-c", "echo >> said; exit 3"]}}
    (Path(folder) / "till.json").write_text(json.dumps(service))
    tasks = TaskGroup("services")
    made = Supervisor(folder, tasks)
    made.follow({**wanted(1, "1"), "nobody": json.dumps({"replicas": 1, "version": "1"})})
    assert list(made._running) == [("till", 0)]
    said = Path(folder) / "said"
    await _until(lambda: said.exists() and len(said.read_text()) >= 2)
    assert "till number 0 ended with 3; it is started again" in caplog.messages
    made.follow(wanted(1, "7"))
    await _until(lambda: "the local service till has no version 7" in caplog.messages)
    await tasks.stop()


async def test_one_that_does_not_end_is_ended() -> None:
    stubborn = "trap '' TERM; echo; while :; do sleep 0.05; done"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("/bin/sh", "-c", stubborn, stdout=pipe)
    assert process.stdout is not None
    await process.stdout.readline()
    await supervisor.end(process, 0.05)
    assert process.returncode == -9
    await supervisor.end(process)
    assert wanted_of("") is None


# --- production ---


def text(**changes: Any) -> bytes:
    """A kubeconfig; changes are of its cluster or, with `user_`, of its user."""
    users = {key.removeprefix("user_"): value for key, value in changes.items() if "user_" in key}
    clusters = {key: value for key, value in changes.items() if "user_" not in key}
    data = base64.b64encode(b"pem").decode()
    cluster = {"server": "https://prod:6443/", "certificate-authority-data": data, **clusters}
    content = {
        "current-context": "c",
        "contexts": [
            {"name": "other", "context": {}},
            {"name": "c", "context": {"cluster": "k", "user": "u"}},
        ],
        "clusters": [{"name": "k", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "t", **users}}],
    }
    return yaml.safe_dump(content).encode()


def test_a_kubeconfig_that_holds_everything_itself(tmp_path: Path) -> None:
    certificate = {"user_client-certificate-data": "YQ==", "user_client-key-data": "Yg=="}
    found = config_of(text(**certificate), tmp_path)
    assert (found.server, found.token) == ("https://prod:6443", "t")
    read = [one.read_bytes() if one else None for one in (found.ca, found.certificate, found.key)]
    assert read == [b"pem", b"a", b"b"]
    assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {0o600}
    assert config_of(text(), tmp_path).certificate is None


@pytest.mark.parametrize(
    "content, words",
    [
        (b"{", "this is no kubeconfig"),
        (b"a", "this is no kubeconfig"),
        (b"{}", "this is no kubeconfig: KeyError"),
        (text().replace(b"name: c\n", b"name: d\n"), "this is no kubeconfig: StopIteration"),
        (text(user_exec={}, user_tokenFile="/x"), "itself, not exec, tokenFile$"),
        (text(**{"user_client-key": "/x"}), "itself, not client-key$"),
        (text(**{"certificate-authority": "/x"}), "itself, not certificate-authority$"),
        (text(server="http://prod"), "is no https URL"),
        (text(**{"certificate-authority-data": "%"}), "certificate-authority-data .* not base64"),
        (text(**{"user_client-key-data": "ä"}), "client-key-data of the kubeconfig is not base64"),
    ],
)
def test_what_is_not_read_from_a_kubeconfig(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(ProductionError, match=words):
        config_of(content, tmp_path)


SHOP, TILL = Application(name="web"), Application(name="till", substrate="Process")


async def test_how_applications_are_in_production() -> None:
    web = from_builtins({"metadata": {"name": "web"}, "spec": SPEC}, apps_v1.Deployment)
    state = config_map(PROCESSES, **wanted(4, "1"))
    server = Server(web=web, **{PROCESSES: state})
    found = await originals(cast(Any, server), [SHOP, TILL], "shop")
    assert found == {"web": Original(2, {"web": "shop:2"}), "till": Original(4, version="1")}
    del server.found[PROCESSES]
    assert list(await originals(cast(Any, server), [SHOP], "shop")) == ["web"]
    with pytest.raises(ProductionError, match=r"^production: .*not found"):
        await originals(cast(Any, server), [SHOP, TILL], "shop")
    server.found[PROCESSES] = config_map(PROCESSES)
    with pytest.raises(ProductionError, match="production has no local service till"):
        await originals(cast(Any, server), [TILL], "shop")
    for error in (Unreachable("nobody"), OSError("nobody")):
        server.fails = error
        with pytest.raises(ProductionError, match="production: nobody"):
            await originals(cast(Any, server), [SHOP], "shop")


@pytest.mark.parametrize("said, namespace", [("", "shop"), ("live", "live")])
async def test_a_secret_says_where_production_is(
    monkeypatch: pytest.MonkeyPatch, said: str, namespace: str
) -> None:
    asked: list[tuple[Any, ...]] = []

    async def pretended(client: Any, applications: Any, where: str) -> dict[str, Original]:
        asked.append((client.config.server, where))
        return {}

    monkeypatch.setattr(reading, "originals", pretended)
    test = LoadTest()
    test.metadata.namespace = "shop"
    server = Server()
    with pytest.raises(ProductionError, match="names no production"):
        await originals_of(cast(Any, server), test)
    test.spec.production = Production(secret_name="s", namespace=said)
    with pytest.raises(ProductionError, match='"s" not found'):
        await originals_of(cast(Any, server), test)
    server.found["s"] = secret = core_v1.Secret()
    with pytest.raises(ProductionError, match="Secret s has no kubeconfig"):
        await originals_of(cast(Any, server), test)
    secret.data = {"kubeconfig": text(**{"certificate-authority-data": ""})}
    monkeypatch.setattr(reading, "Client", Opened)
    await originals_of(cast(Any, server), test)
    assert asked == [("https://prod:6443", namespace)]


class Opened:
    def __init__(self, config: Any, agent: str) -> None:
        self.config = config

    async def __aenter__(self) -> Opened:
        return self

    async def __aexit__(self, *_: Any) -> None:
        pass
