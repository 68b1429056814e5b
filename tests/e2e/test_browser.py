"""A browser shows the example's page through the gateway, over TLS, as somebody would look at it.

Debian: apt-get install chromium libnss3-tools.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import EXAMPLE, Machine
from tiphys.cluster.certificates import Authority
from tiphys.testing.cluster import free_port

pytestmark = pytest.mark.slow

HOST = "hello.example"
PAGE = "Hello from Tiphys"
PNG = b"\x89PNG\r\n\x1a\n"


class Browser:
    """Chromium with a home of its own, in which it trusts what it is told to. Every name is looked
    up at `address`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._store = f"sql:{home / '.pki' / 'nssdb'}"
        (home / ".pki" / "nssdb").mkdir(parents=True)
        self._run(["certutil", "-N", "-d", self._store, "--empty-password"])

    def trust(self, authority: Path) -> None:
        words = ["-A", "-d", self._store, "-t", "C,,", "-n", "authority", "-i", str(authority)]
        self._run(["certutil", *words])

    def open(self, url: str, address: str, *options: str) -> str:
        """The page as it stands after it was loaded."""
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        command += [f"--user-data-dir={self._home}", f"--host-resolver-rules=MAP * {address}"]
        return self._run([*command, *options, url])

    def _run(self, command: list[str]) -> str:
        env = {**os.environ, "HOME": str(self._home)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout


class Site:
    """The example's pods behind an Ingress and a Gateway, with one certificate for both."""

    def __init__(self, machine: Machine, authority: Authority) -> None:
        self.machine = machine
        self.ports = {"http": free_port(), "https": free_port()}
        self.gateway_ports = {"http": free_port(), "https": free_port()}
        settings = ["addresses=127.0.84.0/28"]
        settings += [f"{name}Port={port}" for name, port in self.ports.items()]
        words = [word for setting in settings for word in ("--set", setting)]
        machine.tiphys("addon", "enable", "gateway", *words, "--context", machine.name)
        certificate, key = authority.ensure("site", HOST, (), (HOST,), server=True)
        data = {"tls.crt": certificate.read_bytes(), "tls.key": key.read_bytes()}
        self._apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/tls",
                "metadata": {"name": "site"},
                "data": {name: base64.b64encode(text).decode() for name, text in data.items()},
            }
        )
        machine.kubectl("apply", "-f", str(EXAMPLE / "hello.yaml"))
        self._apply(ingress(), self._gateway(), redirect(self.gateway_ports["https"]), route())
        machine.kubectl("rollout", "status", "deploy/hello", "--timeout=170s")
        machine.kubectl("wait", "gateway/site", "--for=condition=Programmed", "--timeout=60s")
        machine.eventually(lambda: machine.get("ingress/site")["status"]["loadBalancer"])

    def address(self, what: str) -> str:
        status = self.machine.get(what)["status"]
        rows = status.get("addresses") or [
            {"value": one["ip"]} for one in status["loadBalancer"]["ingress"]
        ]
        return str(rows[0]["value"])

    def _apply(self, *objects: dict[str, Any]) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.machine.kubectl("apply", "-f", "-", stdin=json.dumps(listed))

    def _gateway(self) -> dict[str, Any]:
        tls = {"certificateRefs": [{"name": "site"}]}
        ports = self.gateway_ports
        return {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "site"},
            "spec": {
                "gatewayClassName": "tiphys",
                "listeners": [
                    {"name": "http", "protocol": "HTTP", "port": ports["http"]},
                    {"name": "https", "protocol": "HTTPS", "port": ports["https"], "tls": tls},
                ],
            },
        }


def ingress() -> dict[str, Any]:
    backend = {"service": {"name": "hello", "port": {"number": 80}}}
    rule = {
        "host": HOST,
        "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "site"},
        "spec": {"tls": [{"hosts": [HOST], "secretName": "site"}], "rules": [rule]},
    }


def http_route(name: str, section: str, rule: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {
            "parentRefs": [{"name": "site", "sectionName": section}],
            "hostnames": [HOST],
            "rules": [rule],
        },
    }


def route() -> dict[str, Any]:
    return http_route("site", "https", {"backendRefs": [{"name": "hello", "port": 80}]})


def redirect(port: int) -> dict[str, Any]:
    """All that there is at the port without TLS."""
    to = {"scheme": "https", "port": port, "statusCode": 301}
    rule = {"filters": [{"type": "RequestRedirect", "requestRedirect": to}]}
    return http_route("to-tls", "http", rule)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


@pytest.fixture
def site(machine: Machine, authority: Authority) -> Iterator[Site]:
    if shutil.which("chromium") is None or shutil.which("certutil") is None:
        pytest.skip("needs a browser: apt-get install chromium libnss3-tools")
    yield Site(machine, authority)
    machine.kubectl("delete", "ingress/site", "gateway/site", "httproute/site", "httproute/to-tls")
    machine.kubectl("delete", "secret/site", "-f", str(EXAMPLE / "hello.yaml"), check=False)
    machine.kubectl("delete", "-f", str(EXAMPLE / "hello.yaml"), check=False)
    machine.tiphys("addon", "disable", "gateway", "--purge", "--context", machine.name)


def test_a_browser_shows_the_page_over_tls(
    site: Site, authority: Authority, tmp_path: Path
) -> None:
    url = f"https://{HOST}:{site.ports['https']}/"
    address = site.address("ingress/site")
    # Without the authority it shows a warning in the place of the page.
    assert PAGE not in Browser(tmp_path / "stranger").open(url, address)
    browser = Browser(tmp_path / "home")
    browser.trust(authority.path)
    assert PAGE in browser.open(url, address)
    picture = Path(os.environ.get("TIPHYS_PICTURE", tmp_path / "page.png"))
    browser.open(url, address, f"--screenshot={picture}", "--window-size=800,300")
    assert picture.read_bytes().startswith(PNG)
    # Who comes without TLS is sent where there is, and what they are shown comes from there.
    gateway = site.address("gateway/site")
    assert PAGE in browser.open(f"http://{HOST}:{site.gateway_ports['http']}/", gateway)
    # The certificate is for this name alone.
    other = url.replace(HOST, "other.example")
    assert PAGE not in browser.open(other, address)
