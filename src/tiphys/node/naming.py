"""What a pod is called inside: its host name, its domain, and how its containers resolve names. Pure."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.node.runtime import RuntimeFault

Resolver = tuple[list[str], list[str], list[str]]  # name servers, search domains, options
_MOST_HOST_NAME = 64  # characters of the kernel's


def host_and_domain(pod: core_v1.Pod, cluster_domain: str) -> tuple[str, str]:
    """(host name, domain) as the pod sees itself; the domain is empty without a subdomain."""
    spec = pod.spec
    if spec.hostname_override is not None:
        return spec.hostname_override[:63].rstrip("-."), ""
    host = (spec.hostname or pod.metadata.name)[:63].rstrip("-.")
    return (
        host,
        f"{spec.subdomain}.{pod.metadata.namespace}.svc.{cluster_domain}" if spec.subdomain else "",
    )


def host_in_kernel(pod: core_v1.Pod, host: str, domain: str) -> str:
    """What `hostname` prints in the pod: its whole name if it wants that. Raises RuntimeFault when that is too long."""
    if not (pod.spec.set_hostname_as_fqdn and domain):
        return host
    name = f"{host}.{domain}"
    if len(name) > _MOST_HOST_NAME:
        raise RuntimeFault(
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: failed to construct FQDN from pod hostname and cluster domain, FQDN "
            f"{name} is too long ({_MOST_HOST_NAME} characters is the max, {len(name)} characters requested)",
        )
    return name


def resolver_of(
    pod: core_v1.Pod, servers: list[str], cluster_domain: str, machine: Resolver
) -> Resolver:
    """The pod's resolv.conf by its DNS policy. `machine` is the node's own."""
    spec, policy = pod.spec, pod.spec.dns_policy
    found: Resolver
    if policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not spec.host_network):
        own = [
            f"{pod.metadata.namespace}.svc.{cluster_domain}",
            f"svc.{cluster_domain}",
            cluster_domain,
        ]
        found = (
            list(servers),
            own + [domain for domain in machine[1] if domain not in own],
            ["ndots:5"],
        )
    elif policy == "None":
        found = ([], [], [])
    else:
        found = (list(machine[0]), list(machine[1]), list(machine[2]))
    extra = spec.dns_config
    if extra is None:
        return found
    options = {option.split(":")[0]: option for option in found[2]}
    options |= {
        o.name: f"{o.name}:{o.value}" if o.value is not None else o.name for o in extra.options
    }
    merged = (
        list(dict.fromkeys(a + b))
        for a, b in ((found[0], extra.nameservers), (found[1], extra.searches))
    )
    return (*merged, list(options.values()))  # type: ignore[return-value]
