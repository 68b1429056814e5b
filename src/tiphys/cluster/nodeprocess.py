"""`tiphys node`: the agent, the service proxy, the routes to other nodes and the add-ons of one
node in one process; or many hollow nodes."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml
from prometheus_client import CollectorRegistry

from tiphys.api import core_v1
from tiphys.api.catalog import resource_of
from tiphys.client.client import Client, Unreachable
from tiphys.client.config import load
from tiphys.client.events import EventBudget
from tiphys.client.exposition import component_registry
from tiphys.client.informer import Informer, Informers
from tiphys.client.metrics import ComponentMetrics
from tiphys.client.signals import stop_event
from tiphys.client.tasks import TaskGroup
from tiphys.cluster.nodeoptions import NodeProcess
from tiphys.machinery.addresses import version_of
from tiphys.machinery.errors import StatusError
from tiphys.node.agent import Agent
from tiphys.node.configuration import DEFAULT, ConfigurationError, KubeletConfiguration, read
from tiphys.node.hollow import HollowRuntime
from tiphys.node.metrics import KubeletMetrics
from tiphys.node.naming import Resolver, machine_resolver
from tiphys.node.options import NodeOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiphys.network.announcing.frames import Address
    from tiphys.network.policy.enforcer import EveryVersion
    from tiphys.node.staticpods.manifests import PodReader

log = logging.getLogger(__name__)


async def run(options: NodeProcess) -> None:
    """Until SIGTERM or SIGINT. Pods are left running, unless SIGTERM is how this machine says that
    it shuts down, and the configuration gives them time for that."""
    stop = stop_event()
    options.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    tasks = TaskGroup("node")
    metrics = ComponentMetrics(component_registry())
    client = Client(load(options.kubeconfig), "tiphys-node", metrics)
    agents: list[Agent] = []
    starting = tasks.start(_start(options, client, tasks, agents), "start", vital=True)
    waits = TaskGroup("node-lifecycle")
    ends = [waits.start(stop.wait(), "signal"), waits.start(tasks.failed.wait(), "failure")]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    await waits.stop()
    if stop.signal == signal.SIGTERM:
        await asyncio.gather(*(agent.shut_down() for agent in agents))
    starting.cancel()
    for agent in agents:
        await agent.stop()
    await tasks.stop()
    await client.close()
    if not stop.is_set():
        raise SystemExit(1)


async def _start(
    options: NodeProcess, client: Client, tasks: TaskGroup, agents: list[Agent]
) -> None:
    await _server(client)
    informers = Informers(client, tasks)
    if options.runtime == "hollow":
        await _hollow(options, client, tasks, informers, agents)
    else:
        await _containers(options, client, tasks, informers, agents)


def read_kubelet_config(file: Path | None) -> KubeletConfiguration:
    """Raises ConfigurationError, OSError."""
    if file is None:
        return DEFAULT
    try:
        return read(yaml.safe_load(file.read_text()))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"it cannot be read: {error}") from None


async def _server(client: Client) -> None:
    """Waits until the API server answers."""
    pause = 0.02
    while True:
        with contextlib.suppress(Unreachable, StatusError):
            await client.request("GET", "/readyz", timeout=5)
            return
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, 1.0)


async def _hollow(
    options: NodeProcess,
    client: Client,
    tasks: TaskGroup,
    informers: Informers,
    agents: list[Agent],
) -> None:
    by_name: dict[str, Agent] = {}
    events = EventBudget()
    metrics = KubeletMetrics(CollectorRegistry())  # of all: no server shows them
    versions = [version_of(address) for address in _addresses(options)]
    for number in range(options.nodes):
        name = f"hollow-{number}"
        own = NodeOptions(
            name,
            options.address,
            options.data_dir,
            Path(),
            Path(),
            Path(),
            10250,
            labels={"type": "hollow"},
            addresses=_addresses(options),
        )
        runtime = HollowRuntime(number, versions=versions)
        agent = Agent(client, runtime, own, list, tasks, events, metrics=metrics)
        by_name[name] = agent
        agents.append(agent)
    for start in range(0, len(agents), 32):
        await asyncio.gather(*(agent.start() for agent in agents[start : start + 32]))

    def changed(old: Any, new: Any) -> None:
        agent = by_name.get((new or old).spec.node_name)
        if agent is not None:
            agent.pod_changed(old if old is None or old.spec.node_name else None, new)

    def node_changed(old: Any, new: Any) -> None:
        agent = by_name.get((new or old).metadata.name)
        if agent is not None:
            agent.node_changed(old, new)

    informers.of(core_v1.Pod).on_change(changed)
    informers.of(core_v1.Node).on_change(node_changed)


async def _containers(
    options: NodeProcess,
    client: Client,
    tasks: TaskGroup,
    informers: Informers,
    agents: list[Agent],
) -> None:
    from tiphys import addons
    from tiphys.cluster import serverlist
    from tiphys.cluster.membership import Membership
    from tiphys.network.announcing.announcer import Announcer
    from tiphys.network.proxy.metrics import ProxyMetrics
    from tiphys.network.proxy.service_proxy import ProxyNode, ServiceProxy
    from tiphys.node.cri.logfiles import LogLimits
    from tiphys.node.cri.runtime import CRIRuntime

    policy_kubeconfig = options.policy_kubeconfig or options.kubeconfig
    if options.node_certificate is not None:
        options = await Membership(options, client, tasks).prepare()
    policy_client = Client(load(policy_kubeconfig), "tiphys-network-policy")
    services = informers.of(core_v1.Service)
    policies = _policies(options, policy_client, tasks, informers)
    cluster_wide = Informers(policy_client, tasks)
    await _routes(options, policy_client, cluster_wide, tasks)
    if options.load_balancer_pools:
        pools = [ipaddress.ip_network(pool) for pool in options.load_balancer_pools.split(",")]
        nodes = cluster_wide.of(core_v1.Node)
        withheld = _withheld(options, client)
        announcer = Announcer(informers, nodes, options.name, pools, withheld)
        tasks.start(announcer.run(), "announcer", vital=True)
    if options.servers is not None:
        serverlist.keep(options.servers, informers)
    place = ProxyNode(
        options.name,
        _addresses(options),
        options.table,
        options.cluster_cidr or options.pod_cidr,
        options.service_cidr,
    )
    proxy = ServiceProxy(informers, place, metrics=ProxyMetrics(component_registry()))
    tasks.start(proxy.run(), "proxy", vital=True)
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
        addresses=_addresses(options),
        images=options.images,
        configuration=configuration,
        pod_reader=_pod_reader(configuration),
    )
    if options.machine is not None:
        from tiphys.cluster.machinenode import as_machine

        own = as_machine(own, options.machine)
    await addons.start_on_node(
        addons.NodeContext(
            client,
            informers,
            tasks,
            options.name,
            options.gateway,
            options.domain,
            own.resolver.servers,
        )
    )
    metrics = KubeletMetrics(client.metrics.registry)
    log_limits = LogLimits(configuration.log_bytes, configuration.log_files)
    runtime = CRIRuntime(
        options.socket,
        options.logs,
        options.cgroup,
        metrics,
        log_limits,
        configuration.managers.pids,
    )
    agent = Agent(
        client, runtime, own, lambda: list(services), tasks, isolation=policies, metrics=metrics
    )
    agents.append(agent)
    await _runtime_ready(agent)
    pods = Informer(client, core_v1.Pod, fields=f"spec.nodeName={options.name}")
    tasks.start(pods.run(), "informer-pods", vital=True)
    this = Informer(client, core_v1.Node, fields=f"metadata.name={options.name}")
    this.on_change(agent.node_changed)
    this.on_change(proxy.node_changed)
    tasks.start(this.run(), "informer-node", vital=True)
    await services.synced.wait()
    await pods.synced.wait()
    pods.on_change(agent.pod_changed)
    pods.on_change(proxy.pod_changed)
    await agent.start_static_pods()
    await agent.remove_orphaned_pods({pod.metadata.uid for pod in pods})


def _withheld(options: NodeProcess, client: Client) -> Callable[[], frozenset[Address]]:
    """The address of all API servers, while this machine's own is not ready: another machine leads
    somewhere."""
    none: frozenset[Address] = frozenset()
    if not options.api_address:
        return lambda: none
    address = frozenset((ipaddress.ip_address(options.api_address),))
    return lambda: none if client.asks_its_own else address


def _pod_reader(configuration: KubeletConfiguration) -> PodReader | None:
    if not configuration.static_pods:
        return None
    from tiphys.cluster.staticmanifests import CreatedPods

    return CreatedPods()


async def _routes(
    options: NodeProcess, client: Client, informers: Informers, tasks: TaskGroup
) -> None:
    """The ways to other nodes' pods, where there are other machines. `informers` may watch all
    nodes."""
    if not options.pod_routes:
        return
    from tiphys.network import tunnel
    from tiphys.network.routekeeper import RouteKeeper

    server = urlsplit(client.config.server).hostname or ""
    mtu = await asyncio.to_thread(
        tunnel.mtu_between, options.address, server, options.pod_routes, options.versions
    )
    device = tunnel.Device(
        f"{options.pod_link}-vx", options.gateways, options.address, options.route_metric, mtu
    )
    networks = [ipaddress.ip_network(text) for text in options.cluster_cidr.split(",")]
    keeper = RouteKeeper(informers, options.name, networks, options.pod_routes, device)
    tasks.start(keeper.run(), "routes", vital=True)


def _addresses(options: NodeProcess) -> tuple[str, ...]:
    return tuple(options.addresses.split(",")) if options.addresses else (options.address,)


def _policies(
    options: NodeProcess, client: Client, tasks: TaskGroup, informers: Informers
) -> EveryVersion:
    """Network policies. An identity that may watch the pods of all nodes does so for them."""
    from tiphys.network.policy.enforcer import EveryVersion, PolicyEnforcer, table_name
    from tiphys.network.policy.script import IPV4, IPV6
    from tiphys.network.policy.watched import WatchedPod

    pods = Informer(client, WatchedPod, resource=resource_of(core_v1.Pod))

    async def watch_pods() -> None:
        async with client:
            await pods.run()

    tasks.start(watch_pods(), "informer-all-pods", vital=True)
    table = table_name(options.table)
    enforcers = []
    for version in (IPV4, IPV6):
        if any((":" in network) == (version is IPV6) for network in options.pod_cidr.split(",")):
            enforcer = PolicyEnforcer(informers, pods, options.name, table, version=version)
            tasks.start(enforcer.run(), f"network-policies-{version.ip}", vital=True)
            enforcers.append(enforcer)
    return EveryVersion(enforcers)


async def _runtime_ready(agent: Agent) -> None:
    from tiphys.node.runtime import RuntimeFault

    for _ in range(600):
        try:
            return await agent.start()
        except (RuntimeFault, TimeoutError) as error:
            log.debug("Waiting for the container runtime: %s", error)
            await asyncio.sleep(0.05)
    raise TimeoutError("the container runtime does not answer")
