"""What a kubeconfig says, and where it is looked for."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiphys.client import config as module
from tiphys.client.config import Config, ConfigError, load
from tiphys.client.servers import EXTENSION


def content(
    cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **context: Any
) -> dict[str, Any]:
    return {
        "clusters": [{"name": "c", "cluster": {"server": "https://a:1/", **(cluster or {})}}],
        "users": [{"name": "other"}, {"name": "u", "user": user or {}}],
        "contexts": [
            {"name": "other", "context": {"cluster": "c", "user": "other", "namespace": "o"}},
            {"name": "x", "context": {"cluster": "c", "user": "u", **context}},
        ],
        "current-context": "x",
    }


def written(folder: Path, document: Any) -> Path:
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(document))
    return file


def test_what_is_not_said_has_its_default(tmp_path: Path) -> None:
    assert load(written(tmp_path, content())) == Config("https://a:1", namespace="default")
    chosen = load(written(tmp_path, content()), "other")
    assert chosen.namespace == "o"


def test_files_are_beside_the_kubeconfig_unless_they_are_elsewhere(tmp_path: Path) -> None:
    user = {"client-certificate": "c.crt", "client-key": "/keys/k", "tokenFile": "/t", "token": "x"}
    cluster = {"certificate-authority": "pki/ca.crt", "insecure-skip-tls-verify": True}
    found = load(written(tmp_path, content(cluster, user, namespace="n")))
    assert found.ca == tmp_path / "pki/ca.crt" and found.certificate == tmp_path / "c.crt"
    assert (found.key, found.token_file) == (Path("/keys/k"), Path("/t"))
    assert (found.token, found.namespace, found.insecure) == ("x", "n", True)


def test_what_stands_in_the_kubeconfig_itself_is_in_a_file_of_ours(tmp_path: Path) -> None:
    data = base64.b64encode(b"private").decode()
    found = load(written(tmp_path, content(user={"client-key-data": data})))
    assert found.key is not None and found.key.read_bytes() == b"private"
    assert found.key.stat().st_mode & 0o777 == 0o600
    both = content(user={"client-key-data": data, "client-key": "k"})
    assert load(written(tmp_path, both)).key == tmp_path / "k", "the file counts"


@pytest.mark.parametrize(
    ("extensions", "file"),
    [
        (None, None),
        ([], None),
        ([{"name": "other", "extension": {"file": "/s"}}], None),
        ([{"name": "other"}, {"name": EXTENSION, "extension": {"file": "/s"}}], Path("/s")),
    ],
)
def test_other_servers_are_named_in_an_extension_of_ours(
    tmp_path: Path, extensions: Any, file: Path | None
) -> None:
    assert load(written(tmp_path, content({"extensions": extensions}))).servers == file


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"current-context": "y"}, "the kubeconfig has no context named 'y'"),
        ({"current-context": None}, "the kubeconfig has no context named None"),
        ({"contexts": None}, "the kubeconfig has no context named 'x'"),
        ({"clusters": []}, "the kubeconfig has no cluster named 'c'"),
        ({"users": [{"name": "other"}]}, "the kubeconfig has no user named 'u'"),
    ],
)
def test_what_a_kubeconfig_lacks_is_named(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        load(written(tmp_path, content() | change))


def test_a_file_that_is_not_there_or_empty_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none: No such file or directory"):
        load(tmp_path / "none")
    (tmp_path / "empty").write_text("")
    with pytest.raises(ConfigError, match="has no context named ''"):
        load(tmp_path / "empty")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, a pod's account and two kubeconfigs; nothing points at them yet."""
    (tmp_path / ".kube").mkdir()
    for name, server in ((".kube/config", "https://home"), ("named", "https://named")):
        (tmp_path / name).write_text(yaml.safe_dump(content({"server": server})))
    (tmp_path / "namespace").write_text("pods-own\n")
    monkeypatch.setattr(module, "_ACCOUNT", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("variables", "path", "server"),
    [
        ({}, None, "https://home"),
        ({"KUBECONFIG": ""}, None, "https://home"),
        ({"KUBECONFIG": "named"}, None, "https://named"),
        ({"KUBECONFIG": "named:other"}, None, "https://named"),  # the first
        ({"KUBECONFIG": "none"}, "named", "https://named"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None, "https://10.0.0.1:443"),
        (
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"},
            None,
            "https://10.0.0.1:6443",
        ),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBECONFIG": "named"}, None, "https://named"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "named", "https://named"),
    ],
)
def test_where_the_configuration_is_looked_for(
    places: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    path: str | None,
    server: str,
) -> None:
    monkeypatch.chdir(places)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load(path).server == server


def test_a_pod_is_who_its_account_is(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    found = load()
    assert (found.ca, found.token_file) == (places / "ca.crt", places / "token")
    assert found.namespace == "pods-own" and found.certificate is None


def test_who_wants_no_verification_gets_none() -> None:
    import ssl

    assert Config("https://a").ssl_context().verify_mode is ssl.CERT_REQUIRED
    careless = Config("https://a", insecure=True).ssl_context()
    assert careless.verify_mode is ssl.CERT_NONE and not careless.check_hostname
