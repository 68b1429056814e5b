"""`tiphys policy`: what network policies mean for a pod."""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tiphys.machinery.addresses import version_of

if TYPE_CHECKING:
    from tiphys.api import core_v1
    from tiphys.network.policy.model import PodFacts
    from tiphys.network.policy.semantics import Party, Semantics


class Trouble(click.ClickException):
    """The question cannot be answered; 1 is the answer "denied"."""

    exit_code = 2


@click.group()
def policy() -> None:
    """Explain network policies."""


@policy.command()
@click.argument("pod")
@click.option(
    "-n", "--namespace", default=None, help="The pod's namespace [default: the kubeconfig's]."
)
@click.option(
    "--from", "source", help="Who would reach the pod: POD, NAMESPACE/POD, or an address."
)
@click.option("--to", "target", help="What the pod would reach: POD, NAMESPACE/POD, or an address.")
@click.option(
    "--port",
    help="A number, or the name that the target pod gives it [default: which ports are open].",
)
@click.option(
    "--protocol", type=click.Choice(["TCP", "UDP", "SCTP"], case_sensitive=False), default="TCP"
)
@click.option("--kubeconfig", type=click.Path(path_type=Path), default=None)
def explain(
    pod: str,
    namespace: str | None,
    source: str | None,
    target: str | None,
    port: str | None,
    protocol: str,
    kubeconfig: Path | None,
) -> None:
    """Explain what may reach POD and what it may reach, and which policy rule says so.

    With --from or --to the exit code is 0 if it is allowed, 1 if it is denied, and 2 if that cannot
    be told. Of pods with two addresses the family of POD's first one is meant, unless the other end
    is given as an address."""
    from tiphys.network.policy import explain as words

    if source and target:
        raise Trouble("either --from or --to: the other end is the pod")
    if port and not (source or target):
        raise Trouble("--port goes with --from or --to")
    view = asyncio.run(_view(kubeconfig, namespace)).of_family(source or target or "", pod)
    if not (source or target):
        for line in words.about(view.semantics, view.pod(pod)):
            click.echo(line)
        return
    party = view.party(pod)
    ends = (view.party(source), party) if source else (party, view.party(target or ""))
    allowed = _answer(view, ends, port, protocol.upper())
    raise SystemExit(0 if allowed else 1)


def _answer(view: View, ends: tuple[Party, Party], port: str | None, protocol: str) -> bool:
    from tiphys.network.policy import explain as words
    from tiphys.network.policy.semantics import Connection

    source, target = ends
    if view.neighbours(source, target):
        click.echo(
            f"{words.name_of(source)} to {words.name_of(target)}: allowed, a node and its pods "
            "always reach each other"
        )
        return True
    if port is None:
        allowed, text = words.reach(view.semantics, source, target)
        click.echo(text)
        return allowed
    wanted = Connection(source, target, protocol, _number(target, port, protocol))
    for line in words.between(view.semantics, wanted):
        click.echo(line)
    return view.semantics.allows(wanted)


def _number(target: Party, port: str, protocol: str) -> int:
    if port.isdigit() and 0 < int(port) < 65536:
        return int(port)
    for named in target.ports if not isinstance(target, str) else ():
        if (named.name, named.protocol) == (port, protocol):
            return named.number
    raise Trouble(f"{port} is neither a port nor the name of a {protocol} port of the target")


@dataclass
class View:
    """What the cluster holds now. Pods are by ``namespace/name``, and have their address of the
    `version` of IP."""

    namespace: str
    pods: dict[str, core_v1.Pod]
    semantics: Semantics
    version: int = 4

    def of_family(self, end: str, pod: str) -> View:
        """In the family of one end of a connection, where that is an address, or of a pod's first
        address."""
        target = self.pods.get(self._key(pod))
        first = target.status.pod_ip if target is not None else ""
        return replace(self, version=version_of(end if _is_address(end) else first))

    def _key(self, name: str) -> str:
        return name if "/" in name else f"{self.namespace}/{name}"

    def pod(self, name: str) -> PodFacts:
        from tiphys.network.policy.model import facts_of

        pod = self.pods.get(self._key(name))
        if pod is None:
            raise Trouble(f"there is no pod {self._key(name)}")
        return facts_of(pod, version=self.version)

    def party(self, name: str) -> Party:
        """A pod, or an address. A pod in its node's network is its node's address to policies."""
        from tiphys.network.policy.model import address_of, facts_of

        if _is_address(name):
            own = str(ipaddress.ip_address(name))
            held = (facts_of(pod, version=self.version) for pod in self.pods.values())
            return next((facts for facts in held if facts.address == own), own)
        facts = self.pod(name)
        if facts.address:
            return facts
        pod = self.pods[facts.key]
        of_node = address_of(_host_ips(pod), self.version) if pod.spec.host_network else ""
        if not of_node:
            phase = pod.status.phase or "Pending"
            raise Trouble(f"pod {facts.key} has no IPv{self.version} address ({phase})")
        return of_node

    def neighbours(self, one: Party, other: Party) -> bool:
        """Whether they are a node and a pod on it."""
        ends = {end if isinstance(end, str) else end.address for end in (one, other)}
        for pod in self.pods.values():
            own = {pod.status.pod_ip, *(pod_ip.ip for pod_ip in pod.status.pod_ips)}
            of_node = set(_host_ips(pod))
            if not pod.spec.host_network and ends & own and ends & of_node:
                return True
        return False


def _host_ips(pod: core_v1.Pod) -> list[str]:
    return [pod.status.host_ip, *(host_ip.ip for host_ip in pod.status.host_ips)]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


async def _view(kubeconfig: Path | None, namespace: str | None) -> View:
    from tiphys.api import core_v1, networking_v1
    from tiphys.client.client import Client, Unreachable
    from tiphys.client.config import ConfigError, load
    from tiphys.client.informer import key_of
    from tiphys.machinery.errors import StatusError
    from tiphys.network.policy.model import read
    from tiphys.network.policy.semantics import Semantics

    try:
        config = load(kubeconfig)
        async with Client(config, "tiphys") as client:
            pods = (await client.list(core_v1.Pod)).items
            policies = (await client.list(networking_v1.NetworkPolicy)).items
            namespaces = (await client.list(core_v1.Namespace)).items
    except (ConfigError, StatusError, Unreachable) as error:
        raise Trouble(str(error)) from None
    labels = {item.metadata.name: item.metadata.labels for item in namespaces}
    return View(
        namespace or config.namespace,
        {key_of(pod): pod for pod in pods},
        Semantics(map(read, policies), labels),
    )
