"""Cluster DNS: pods find services by name, and every other name through the node's own name
servers.

The names are those of Kubernetes' DNS specification 1.1.0 (kubernetes/dns); where it leaves
something open the answers are those of CoreDNS with the Corefile that kubeadm installs. Every node
answers its own pods, behind the service kube-dns.

A query enters at `server`. `encoded` knows the bytes of answers that were given before. What it
does not know `codec` reads (dnspython), `zone` answers out of services and endpoint slices
(`source` has them from informers), and `forwarding` asks others about names that are not the
cluster's. `configured` follows what administrators say in ConfigMaps, `configuration` reads it.
`publishing` puts the node behind kube-dns, and `monitoring` shows its `metrics`.
"""

from __future__ import annotations

from tiphys.addons.addon import Addon, NodeContext


async def start_on_node(node: NodeContext) -> None:
    """Returns once the node answers at its address, port 53."""
    from tiphys.addons.dns import configured, monitoring
    from tiphys.addons.dns.forwarding import Forwarder
    from tiphys.addons.dns.metrics import DNSMetrics
    from tiphys.addons.dns.publishing import publish
    from tiphys.addons.dns.server import DNSServer
    from tiphys.addons.dns.source import InformerSource
    from tiphys.addons.dns.zone import Zone

    metrics = DNSMetrics()
    source = InformerSource(node.informers)
    forwarder = Forwarder(node.name_servers, metrics=metrics)
    server = DNSServer(Zone(node.domain, source), forwarder, metrics)
    source.on_change(server.forget)
    configured.follow(node.client, node.tasks, server.configure)
    await server.start(node.address)
    page = monitoring.Page(metrics, source)
    node.tasks.start(page.serve(node.address), "dns-metrics")
    node.tasks.start(publish(node.client, node.informers, node.name, node.address), "publish-dns")


ADDON = Addon("dns", start_on_node=start_on_node)
