"""Machines of a test: network namespaces with addresses of their own and a link that can be cut.

`office` and `annex` are two networks, each with a router, and a line between these; the commands
run in a machine as a user would run them there. What machines share is the host's disk: clusters'
names set them apart.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.machine import IMAGE, Machine

# Apart from what clusters give pods and services, which depends on how many clusters there are.
OFFICE, ANNEX = "172.31.1", "172.31.2"
OFFICE6, ANNEX6 = "fd72:31:1::", "fd72:31:2::"  # the same networks in IPv6
_SIXES = {OFFICE: OFFICE6, ANNEX: ANNEX6}
_LINE = "172.31.9"  # between the routers
_LINE6 = "fd72:31:9::"
_ROUTER = 254  # last number of the router's addresses


def ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True)


class Networks:
    """Two networks and their routers, in namespaces whose names begin with `prefix`."""

    def __init__(self, prefix: str, line: int = 1500) -> None:
        """`line` is the MTU between the routers; everywhere else it is 1500. Every machine and
        router has an address of IPv6, too."""
        self._prefix = prefix
        self.hosts: list[Host] = []
        self._namespaces: list[str] = []
        for name in ("office", "annex", "router", "gate"):
            self._add_namespace(name)
        for name in ("office", "annex"):
            self._ip(name, "link", "add", "switch", "type", "bridge")
            self._ip(name, "link", "set", "switch", "up")
        self._plug("router", "office", "lan", f"{OFFICE}.{_ROUTER}/24")
        self._plug("gate", "annex", "lan", f"{ANNEX}.{_ROUTER}/24")
        far_end = ("peer", "name", "line", "netns", f"{prefix}-gate")
        ip("link", "add", "line", "netns", f"{prefix}-router", "type", "veth", *far_end)
        for name, number, network in (("router", 1, ANNEX), ("gate", 2, OFFICE)):
            self._ip(name, "addr", "add", f"{_LINE}.{number}/24", "dev", "line")
            self._ip(name, "link", "set", "line", "mtu", str(line), "up")
            self._ip(name, "route", "add", f"{network}.0/24", "via", f"{_LINE}.{3 - number}")
            self._add6(name, f"{_LINE6}{number}/64", "line")
            ways = ("route", "add", f"{_SIXES[network]}/64", "via", f"{_LINE6}{3 - number}")
            self._ip(name, "-6", *ways)
            self._run(name, "sysctl", "-qw", "net.ipv4.ip_forward=1")
            self._run(name, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")

    def _add_namespace(self, name: str) -> str:
        full = f"{self._prefix}-{name}"
        ip("netns", "add", full)
        self._namespaces.append(full)
        ip("-n", full, "link", "set", "lo", "up")
        return full

    def _ip(self, name: str, *words: str) -> None:
        ip("-n", f"{self._prefix}-{name}", *words)

    def _run(self, name: str, *words: str) -> None:
        net = f"--net=/run/netns/{self._prefix}-{name}"
        subprocess.run(["nsenter", net, *words], check=True, capture_output=True)

    def _plug(self, name: str, network: str, link: str, address: str) -> None:
        """A cable from a namespace to a network's switch."""
        switch, own = f"{self._prefix}-{network}", f"{self._prefix}-{name}"
        port = f"to-{name}"[:15]
        ip("link", "add", link, "netns", own, "type", "veth", "peer", "name", port, "netns", switch)
        ip("-n", switch, "link", "set", port, "master", "switch", "up")
        ip("-n", own, "link", "set", link, "up")
        ip("-n", own, "addr", "add", address, "dev", link)
        of_network, _, rest = address.rpartition(".")
        self._add6(name, f"{_SIXES[of_network]}{rest.partition('/')[0]}/64", link)

    def _add6(self, name: str, address: str, link: str) -> None:
        """Without the second in which it would be asked whether somebody has the address."""
        self._ip(name, "addr", "add", address, "dev", link, "nodad")

    def host(self, name: str, network: str, number: int, root: Path) -> Host:
        """A machine at `network`.`number`, whose way to the other network is the router."""
        namespace = self._add_namespace(name)
        where = {OFFICE: "office", ANNEX: "annex"}[network]
        self._plug(name, where, "eth0", f"{network}.{number}/24")
        self._ip(name, "route", "add", "default", "via", f"{network}.{_ROUTER}")
        self._ip(name, "-6", "route", "add", "default", "via", f"{_SIXES[network]}{_ROUTER}")
        made = Host(root / name, f"{self._prefix}-{name}", f"{network}.{number}", namespace)
        made.address6 = f"{_SIXES[network]}{number}"
        made.port = (f"{self._prefix}-{where}", f"to-{name}"[:15])
        self.hosts.append(made)
        return made

    def close(self) -> None:
        for host in reversed(self.hosts):
            host.tiphys("down", "--name", host.name, "--purge", check=False)
        for namespace in self._namespaces:
            ip("netns", "del", namespace, check=False)


class Host(Machine):
    """A user's machine in a namespace of its own."""

    port = ("", "")  # the switch's namespace and its end of the cable
    address6 = ""

    def __init__(self, root: Path, name: str, address: str, namespace: str) -> None:
        root.mkdir(parents=True, exist_ok=True)
        super().__init__(root, name)
        self.address, self.namespace = address, namespace

    def inside(self, *command: str) -> list[str]:
        """The command as it runs on the machine."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]

    def _run(self, command: list[str], check: bool, stdin: str | None = None) -> str:
        return super()._run(self.inside(*command), check, stdin)

    def sh(self, script: str, check: bool = True) -> str:
        return self._run(["sh", "-c", script], check)

    def refused(self, *args: str) -> str:
        """What `tiphys` says when it refuses, which is one line and status 1."""
        command = self.inside(sys.executable, "-m", "tiphys.cli.main", *args)
        done = subprocess.run(command, capture_output=True, text=True, env=self.env, timeout=120)
        assert done.returncode == 1, done
        return done.stderr.strip().splitlines()[-1]

    # --- clusters ---

    def up(self, *args: str) -> None:
        options = ("--name", self.name, "--data-dir", str(self.root / "data"))
        self.tiphys("up", *options, "--address", self.address, *args)

    def join_command(self, *args: str) -> list[str]:
        """As `tiphys token create` prints it, without ``tiphys``."""
        return self.tiphys("token", "create", "--name", self.name, *args).split()[1:]

    def join(self, command: list[str], *args: str, check: bool = True) -> str:
        own = ("--name", self.name, "--data-dir", str(self.root / "data"))
        node = ("--node-name", self.name) if "--node-name" not in args else ()
        return self.tiphys(*command, *own, *node, *args, check=check)

    # --- the end ---

    def kill(self) -> None:
        """As if somebody had pulled the plug: no connection is closed, nobody says goodbye."""
        self.cut()
        listed = subprocess.run(
            ["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=True
        )
        for pid in listed.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    # --- the link ---

    def cut(self) -> None:
        ip("-n", self.port[0], "link", "set", self.port[1], "down")

    def mend(self) -> None:
        ip("-n", self.port[0], "link", "set", self.port[1], "up")


def node(machine: Machine, name: str) -> Any:
    return machine.get(f"node/{name}")


def condition(found: Any, kind: str = "Ready") -> str:
    return next((c["status"] for c in found["status"]["conditions"] if c["type"] == kind), "")


BIG = 3_000_000  # bytes of a file that takes many full packets


WEB = f"mkdir /www; hostname > /www/index.html; head -c {BIG} /dev/zero > /www/big; exec httpd -f -p 8080 -h /www"


def workload(kind: str, name: str, script: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", script]}
    pod = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def daemon_set() -> dict[str, Any]:
    return workload("DaemonSet", "web", WEB)


def service() -> dict[str, Any]:
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}
