"""A node that runs containers: its network, its agent and its add-ons, started in their order."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from urllib.parse import urlsplit

from tiphys import addons
from tiphys.api import core_v1
from tiphys.api.catalog import resource_of
from tiphys.client.client import Client
from tiphys.client.config import load
from tiphys.client.exposition import component_registry
from tiphys.client.informer import Informer, Informers
from tiphys.client.tasks import TaskGroup
from tiphys.cluster import serverlist
from tiphys.cluster.kubeletconfig import read_kubelet_config
from tiphys.cluster.machinenode import as_machine
from tiphys.cluster.membership import Membership
from tiphys.cluster.nodeoptions import NodeProcess
from tiphys.cluster.staticmanifests import CreatedPods
from tiphys.machinery.addresses import version_of
from tiphys.network import tunnel
from tiphys.network.announcing.announcer import Announcer
from tiphys.network.announcing.frames import Address
from tiphys.network.policy.enforcer import EveryVersion, PolicyEnforcer, table_name
from tiphys.network.policy.script import IPV4, IPV6
from tiphys.network.policy.watched import WatchedPod
from tiphys.network.proxy.metrics import ProxyMetrics
from tiphys.network.proxy.service_proxy import ProxyNode, ServiceProxy
from tiphys.network.routekeeper import RouteKeeper
from tiphys.node.agent import Agent
from tiphys.node.cri.logfiles import LogLimits
from tiphys.node.cri.runtime import CRIRuntime
from tiphys.node.metrics import KubeletMetrics
from tiphys.node.naming import Resolver, machine_resolver
from tiphys.node.options import NodeOptions
from tiphys.node.runtime import RuntimeFault

log = logging.getLogger(__name__)

_RUNTIME_TRIES, _RUNTIME_PAUSE = 600, 0.05  # seconds


class ContainerNode:
    """`informers` show what the node's own certificate may see."""

    def __init__(
        self,
        options: NodeProcess,
        client: Client,
        heart: Client,
        tasks: TaskGroup,
        informers: Informers,
    ) -> None:
        self._options = options
        self._client = client
        self._heart = heart
        self._tasks = tasks
        self._informers = informers

    async def start(self, agents: list[Agent]) -> None:
        """Adds the node's agent to `agents`. Returns when the pods that ran before have their
        workers. Raises ConfigurationError, OSError, TimeoutError."""
        network_kubeconfig = self._options.policy_kubeconfig or self._options.kubeconfig
        if self._options.node_certificate is not None:
            self._options = await Membership(self._options, self._client, self._tasks).prepare()
        network_client = Client(load(network_kubeconfig), "tiphys-network-policy")
        policies = self._start_policies(network_client)
        cluster_wide = Informers(network_client, self._tasks)
        await self._start_routes(network_client, cluster_wide)
        self._start_announcer(cluster_wide)
        if self._options.servers is not None:
            serverlist.keep(self._options.servers, self._informers)
        proxy = self._start_proxy()
        options = self._node_options()
        await self._start_addons(options.resolver)
        agent = self._make_agent(options, policies)
        agents.append(agent)
        await _register(agent)
        await self._follow(agent, proxy)

    # --- the network ---

    def _start_policies(self, client: Client) -> EveryVersion:
        """Network policies. `client` may watch the pods of all nodes."""
        pods = Informer(client, WatchedPod, resource=resource_of(core_v1.Pod))

        async def watch_pods() -> None:
            async with client:
                await pods.run()

        self._tasks.start(watch_pods(), "informer-all-pods", vital=True)
        options = self._options
        table = table_name(options.table)
        ranges = options.pod_cidr.split(",")
        enforcers = []
        for version in (IPV4, IPV6):
            if not any(version_of(network) == version.number for network in ranges):
                continue
            enforcer = PolicyEnforcer(self._informers, pods, options.name, table, version=version)
            self._tasks.start(enforcer.run(), f"network-policies-{version.ip}", vital=True)
            enforcers.append(enforcer)
        return EveryVersion(enforcers)

    async def _start_routes(self, client: Client, informers: Informers) -> None:
        """The ways to other nodes' pods, where there are other machines. `informers` may watch all
        nodes."""
        options = self._options
        if not options.pod_routes:
            return
        server = urlsplit(client.config.server).hostname or ""
        mtu = await asyncio.to_thread(
            tunnel.mtu_between, options.address, server, options.pod_routes, options.versions
        )
        device = tunnel.Device(
            f"{options.pod_link}-vx", options.gateways, options.address, options.route_metric, mtu
        )
        networks = [ipaddress.ip_network(text) for text in options.cluster_cidr.split(",")]
        keeper = RouteKeeper(informers, options.name, networks, options.pod_routes, device)
        self._tasks.start(keeper.run(), "routes", vital=True)

    def _start_announcer(self, cluster_wide: Informers) -> None:
        """Of load balancers' addresses, where there are any."""
        options = self._options
        if not options.load_balancer_pools:
            return
        pools = [ipaddress.ip_network(pool) for pool in options.load_balancer_pools.split(",")]
        nodes = cluster_wide.of(core_v1.Node)
        announcer = Announcer(self._informers, nodes, options.name, pools, self._withheld())
        self._tasks.start(announcer.run(), "announcer", vital=True)

    def _withheld(self) -> Callable[[], frozenset[Address]]:
        """The address of all API servers, while this machine's own is not ready: another machine
        leads somewhere."""
        none: frozenset[Address] = frozenset()
        if not self._options.api_address:
            return lambda: none
        address = frozenset((ipaddress.ip_address(self._options.api_address),))
        return lambda: none if self._client.asks_its_own else address

    def _start_proxy(self) -> ServiceProxy:
        options = self._options
        place = ProxyNode(
            options.name,
            options.all_addresses,
            options.table,
            options.cluster_cidr or options.pod_cidr,
            options.service_cidr,
        )
        proxy = ServiceProxy(self._informers, place, metrics=ProxyMetrics(component_registry()))
        self._tasks.start(proxy.run(), "proxy", vital=True)
        return proxy

    # --- the agent ---

    def _node_options(self) -> NodeOptions:
        """Raises ConfigurationError, OSError."""
        options = self._options
        resolver = machine_resolver()
        if options.forward_dns:
            resolver = Resolver([options.forward_dns], [], [])
        configuration = read_kubelet_config(options.config)
        own = NodeOptions(
            options.name,
            options.address,
            options.data_dir,
            options.certificate,
            options.key,
            options.ca,
            options.port,
            (options.dns,),
            options.domain,
            "" if options.node_certificate else options.pod_cidr,  # who is given one asks for none
            resolver=resolver,
            addresses=options.all_addresses,
            images=options.images,
            configuration=configuration,
            pod_reader=CreatedPods() if configuration.static_pods else None,
        )
        return own if options.machine is None else as_machine(own, options.machine)

    async def _start_addons(self, resolver: Resolver) -> None:
        options = self._options
        context = addons.NodeContext(
            self._client,
            self._informers,
            self._tasks,
            options.name,
            options.gateway,
            options.domain,
            resolver.servers,
        )
        await addons.start_on_node(context)

    def _make_agent(self, options: NodeOptions, policies: EveryVersion) -> Agent:
        metrics = KubeletMetrics(self._client.metrics.registry)
        configuration = options.configuration
        runtime = CRIRuntime(
            self._options.socket,
            self._options.logs,
            self._options.cgroup,
            metrics,
            LogLimits(configuration.log_bytes, configuration.log_files),
            configuration.managers.pids,
            configuration.swap_behavior,
        )
        services = self._informers.of(core_v1.Service)
        return Agent(
            self._client,
            runtime,
            options,
            lambda: list(services),
            self._tasks,
            isolation=policies,
            metrics=metrics,
            heart=self._heart,
        )

    async def _follow(self, agent: Agent, proxy: ServiceProxy) -> None:
        """Shows the agent and the proxy the node's object and pods, and ends what runs without
        one."""
        name = self._options.name
        pods = Informer(self._client, core_v1.Pod, fields=f"spec.nodeName={name}")
        self._tasks.start(pods.run(), "informer-pods", vital=True)
        this = Informer(self._client, core_v1.Node, fields=f"metadata.name={name}")
        this.on_change(agent.node_changed)
        this.on_change(proxy.node_changed)
        self._tasks.start(this.run(), "informer-node", vital=True)
        await self._informers.of(core_v1.Service).synced.wait()
        await pods.synced.wait()
        pods.on_change(agent.pod_changed)
        pods.on_change(proxy.pod_changed)
        await agent.start_static_pods()
        await agent.remove_orphaned_pods({pod.metadata.uid for pod in pods})


async def _register(agent: Agent) -> None:
    """Starts the agent, once the container runtime answers. Raises TimeoutError."""
    for _ in range(_RUNTIME_TRIES):
        try:
            return await agent.start()
        except (RuntimeFault, TimeoutError) as error:
            log.debug("Waiting for the container runtime: %s", error)
            await asyncio.sleep(_RUNTIME_PAUSE)
    raise TimeoutError("the container runtime does not answer")
