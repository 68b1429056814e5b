"""What a pod is called inside: its host name, its domain, and how its containers resolve names.
Pure, but for what is read of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tiphys.api import core_v1

_MOST_HOST_NAME = 64  # characters of the kernel's host name
_MOST_LABEL = 63  # characters of a DNS label


class Resolver(NamedTuple):
    """The parts of a resolv.conf."""

    servers: list[str]
    searches: list[str]
    options: list[str]


class ClusterDNS(NamedTuple):
    servers: list[str]
    domain: str


class HostNameError(ValueError):
    """The pod cannot have the host name that it asks for."""


def host_and_domain(pod: core_v1.Pod, cluster_domain: str) -> tuple[str, str]:
    """(host name, domain) as the pod sees itself; the domain is empty without a subdomain."""
    spec = pod.spec
    if spec.hostname_override is not None:
        return _label(spec.hostname_override), ""
    host = _label(spec.hostname or pod.metadata.name)
    if not spec.subdomain:
        return host, ""
    return host, f"{spec.subdomain}.{pod.metadata.namespace}.svc.{cluster_domain}"


def _label(name: str) -> str:
    return name[:_MOST_LABEL].rstrip("-.")


def host_in_kernel(pod: core_v1.Pod, host: str, domain: str) -> str:
    """What `hostname` prints in the pod: its fully qualified name if the spec says so. Raises
    HostNameError when that is too long."""
    if not (pod.spec.set_hostname_as_fqdn and domain):
        return host
    name = f"{host}.{domain}"
    if len(name) > _MOST_HOST_NAME:
        raise HostNameError(
            "failed to construct FQDN from pod hostname and cluster domain, "
            f"FQDN {name} is too long ({_MOST_HOST_NAME} characters is the max, "
            f"{len(name)} characters requested)"
        )
    return name


def resolver_of(pod: core_v1.Pod, cluster: ClusterDNS, machine: Resolver) -> Resolver:
    """The pod's resolv.conf by its DNS policy and DNS config. `machine` is the node's own."""
    base = _by_policy(pod, cluster, machine)
    config = pod.spec.dns_config
    if config is None:
        return base
    options = {option.split(":")[0]: option for option in base.options}
    for option in config.options:
        has_value = option.value is not None
        options[option.name] = f"{option.name}:{option.value}" if has_value else option.name
    return Resolver(
        _without_repeats(base.servers + config.nameservers),
        _without_repeats(base.searches + config.searches),
        list(options.values()),
    )


def _by_policy(pod: core_v1.Pod, cluster: ClusterDNS, machine: Resolver) -> Resolver:
    policy = pod.spec.dns_policy
    if policy == "None":
        return Resolver([], [], [])
    # A pod on the node's network uses the cluster's DNS only if its policy names that case.
    uses_cluster = policy == "ClusterFirstWithHostNet" or (
        policy == "ClusterFirst" and not pod.spec.host_network
    )
    if not uses_cluster:
        return Resolver(list(machine.servers), list(machine.searches), list(machine.options))
    domain = cluster.domain
    searches = [f"{pod.metadata.namespace}.svc.{domain}", f"svc.{domain}", domain]
    searches = _without_repeats(searches + machine.searches)
    return Resolver(list(cluster.servers), searches, ["ndots:5"])


def _without_repeats(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


def machine_resolver(path: Path = Path("/etc/resolv.conf")) -> Resolver:
    """How the machine itself resolves names; nothing if the file cannot be read."""
    resolver = Resolver([], [], [])
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return resolver
    for line in lines:
        keyword, *values = line.split() or [""]
        if keyword == "nameserver" and values:
            resolver.servers.append(values[0])
        elif keyword == "search":
            resolver.searches[:] = values
        elif keyword == "options":
            resolver.options.extend(values)
    return resolver
