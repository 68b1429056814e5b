"""What runs an endpoint: pure functions from its spec to a Deployment, a Service and what the pods
load their weights with."""

from __future__ import annotations

import copy
from pathlib import Path

from tiphys.addons.inference import GROUP, Settings, fronting
from tiphys.addons.inference.affinity import affinity_of
from tiphys.addons.inference.endpoint import LABEL, PORT, Endpoint, Unsupported, s3_of
from tiphys.addons.inference.front import Plan
from tiphys.addons.inference.types import v1, v1alpha1
from tiphys.api import apps_v1, core_v1
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta

BALANCER_CLASS = f"{GROUP}/envoy"
_PROGRAM = Path(__file__).with_name("loading.py")
_PROGRAM_KEY = "load.py"
_PROGRAM_FOLDER = "/opt/loading"
_PROGRAM_VOLUME = "loading"
_HUB = "https://huggingface.co"


def program_of(endpoint: Endpoint) -> core_v1.ConfigMap | None:
    """The program that loads the weights, where there are any to load."""
    if not _is_loaded(endpoint.spec.model_source_config):
        return None
    config_map = core_v1.ConfigMap(metadata=endpoint.meta(f"{endpoint.name}-loading"))
    config_map.data = {_PROGRAM_KEY: _PROGRAM.read_text()}
    return config_map


def service_of(endpoint: Endpoint, plan: Plan | None = None) -> core_v1.Service:
    """Its health path and algorithm are also written as the load balancer controller of AWS reads
    them. Requests go to what stands before the server, if anything does."""
    service = inner_service_of(endpoint, plan)
    alb = "alb.ingress.kubernetes.io"
    service.metadata.annotations = {
        f"{alb}/healthcheck-path": endpoint.health_path,
        f"{alb}/target-group-attributes": f"load_balancing.algorithm.type={endpoint.algorithm}",
    }
    service.spec.type = "LoadBalancer"
    service.spec.load_balancer_class = BALANCER_CLASS
    service.spec.allocate_load_balancer_node_ports = False
    return service


def inner_service_of(endpoint: Endpoint, plan: Plan | None = None) -> core_v1.Service:
    """For clients in the cluster only."""
    server = endpoint.spec.worker.model_invocation_port
    target = plan.port if plan is not None else server.container_port
    port = core_v1.ServicePort(name=server.name or "http", port=PORT, target_port=target)
    service = core_v1.Service(metadata=endpoint.meta())
    service.spec = core_v1.ServiceSpec(selector=endpoint.selector, ports=[port])
    return service


def deployment_of(
    endpoint: Endpoint, settings: Settings, plan: Plan | None = None
) -> apps_v1.Deployment:
    """Raises Unsupported. With a plan something stands before the server."""
    spec = endpoint.spec
    _check(spec)
    custom = spec.kubernetes or v1.PodCustomization()
    volumes = [copy.deepcopy(one) for one in custom.volumes]
    named = {one.name for one in volumes}
    for volume in _own_volumes(endpoint):
        if volume.name not in named:
            volumes.append(volume)
    first = [one for one in (_loader(endpoint, settings),) if one is not None]
    first += copy.deepcopy(custom.init_containers)
    if plan is not None:
        first.append(fronting.container_of(plan, settings))
        volumes.append(fronting.volume_of(endpoint))
    pod = core_v1.PodSpec(
        init_containers=first,
        containers=[_server(endpoint)],
        volumes=volumes,
        affinity=_affinity(endpoint),
        node_selector=dict(endpoint.node_selector),
    )
    if custom.scheduler_name:
        pod.scheduler_name = custom.scheduler_name
    if custom.service_account_name:
        pod.service_account_name = custom.service_account_name
    deployment = apps_v1.Deployment(metadata=endpoint.meta())
    deployment.spec.replicas = None if endpoint.is_scaled else spec.replicas
    deployment.spec.selector = LabelSelector(match_labels=endpoint.selector)
    deployment.spec.progress_deadline_seconds = spec.max_deploy_time_in_seconds
    deployment.spec.template = core_v1.PodTemplateSpec(
        metadata=ObjectMeta(labels=dict(endpoint.labels), annotations=_scraped(spec.metrics)),
        spec=pod,
    )
    return deployment


def _affinity(endpoint: Endpoint) -> core_v1.Affinity | None:
    """The instances, and the zone of the other pods where all have to be in one."""
    nodes = affinity_of(endpoint.spec)
    if not endpoint.is_together:
        return core_v1.Affinity(node_affinity=nodes) if nodes else None
    term = core_v1.PodAffinityTerm(
        topology_key="topology.kubernetes.io/zone",
        label_selector=LabelSelector(match_labels={LABEL: endpoint.labels[LABEL]}),
    )
    together = core_v1.PodAffinity(required_during_scheduling_ignored_during_execution=[term])
    return core_v1.Affinity(node_affinity=nodes, pod_affinity=together)


def _scraped(metrics: v1alpha1.Metrics | None) -> dict[str, str]:
    """What has a Prometheus in the cluster ask the server itself."""
    if metrics is None or not metrics.enabled:
        return {}
    page = metrics.model_metrics or v1alpha1.ModelMetrics()
    annotations = {"scrape": "true", "path": page.path, "port": str(page.port)}
    return {f"prometheus.io/{name}": value for name, value in annotations.items()}


def _check(spec: v1.InferenceEndpointConfigSpec) -> None:
    source = spec.model_source_config
    if source.model_source_type == "fsx":
        raise Unsupported("there is no FSx here: weights come from s3, huggingface or a volume")
    mounted = spec.worker.model_volume_mount.name
    volumes = spec.kubernetes.volumes if spec.kubernetes is not None else []
    if source.model_source_type == "kubernetesVolume" and spec.kubernetes is not None:
        if all(one.name != mounted for one in volumes):
            raise Unsupported(f"kubernetes.volumes has none named {mounted}")


def _is_loaded(source: v1.ModelSource) -> bool:
    return source.model_source_type in ("s3", "huggingface")


def _own_volumes(endpoint: Endpoint) -> list[core_v1.Volume]:
    """What is prefetched is in memory, so that the server reads it from there; the rest on disk."""
    source = endpoint.spec.model_source_config
    medium = "Memory" if source.prefetch_enabled else ""
    weights = core_v1.Volume(
        name=endpoint.spec.worker.model_volume_mount.name,
        empty_dir=core_v1.EmptyDirVolumeSource(medium=medium),
    )
    if not _is_loaded(source):
        return [weights]
    program = core_v1.ConfigMapVolumeSource(name=f"{endpoint.name}-loading")
    return [weights, core_v1.Volume(name=_PROGRAM_VOLUME, config_map=program)]


def _loader(endpoint: Endpoint, settings: Settings) -> core_v1.Container | None:
    source = endpoint.spec.model_source_config
    if not _is_loaded(source):
        return None
    mount = endpoint.spec.worker.model_volume_mount
    variables = {"MODEL_TARGET": mount.mount_path, "MODEL_SOURCE": source.model_source_type}
    secrets: list[core_v1.EnvVar] = []
    if source.s3_storage is not None and source.model_source_type == "s3":
        storage = s3_of(endpoint.spec, settings)
        variables["S3_ENDPOINT"] = storage.url
        variables["S3_BUCKET"] = source.s3_storage.bucket_name
        variables["S3_PREFIX"] = source.model_location
        variables["AWS_REGION"] = storage.region
        secrets = fronting.credentials(settings)
    elif source.hugging_face_model is not None:
        model = source.hugging_face_model
        variables["HF_ENDPOINT"] = settings.hub_endpoint or _HUB
        variables["HF_MODEL"] = model.model_id
        variables["HF_REVISION"] = model.commit_sha or "main"
        if model.token_secret_ref is not None:
            token = core_v1.EnvVarSource(secret_key_ref=copy.deepcopy(model.token_secret_ref))
            secrets = [core_v1.EnvVar(name="HF_TOKEN", value_from=token)]
    plain = [core_v1.EnvVar(name=name, value=value) for name, value in variables.items()]
    return core_v1.Container(
        name="prefetch-model",
        image=settings.loader_image,
        command=["python3", f"{_PROGRAM_FOLDER}/{_PROGRAM_KEY}"],
        env=[*plain, *secrets],
        volume_mounts=[
            core_v1.VolumeMount(name=mount.name, mount_path=mount.mount_path),
            core_v1.VolumeMount(name=_PROGRAM_VOLUME, mount_path=_PROGRAM_FOLDER, read_only=True),
        ],
    )


def _server(endpoint: Endpoint) -> core_v1.Container:
    spec = endpoint.spec
    worker = endpoint.spec.worker
    port = worker.model_invocation_port
    mount = worker.model_volume_mount
    probes = worker.probes or v1.Probes()
    return core_v1.Container(
        name="server",
        image=worker.image,
        command=list(worker.command),
        args=list(worker.args),
        working_dir=worker.working_dir,
        env=[*copy.deepcopy(worker.environment_variables), *_cache_variables(spec)],
        resources=copy.deepcopy(worker.resources),
        ports=[core_v1.ContainerPort(name=port.name or "http", container_port=port.container_port)],
        volume_mounts=[core_v1.VolumeMount(name=mount.name, mount_path=mount.mount_path)],
        readiness_probe=copy.deepcopy(probes.readiness_probe) or _asks(endpoint),
        liveness_probe=copy.deepcopy(probes.liveness_probe),
        startup_probe=copy.deepcopy(probes.startup_probe),
    )


def _asks(endpoint: Endpoint) -> core_v1.Probe | None:
    """A server is ready when its health path answers: it has its weights then."""
    port = endpoint.spec.worker.model_invocation_port
    if port.name == "grpc":
        return core_v1.Probe(
            tcp_socket=core_v1.TCPSocketAction(port=port.container_port), period_seconds=5
        )
    path = core_v1.HTTPGetAction(path=endpoint.health_path, port=port.container_port)
    return core_v1.Probe(http_get=path, period_seconds=5)


def _cache_variables(spec: v1.InferenceEndpointConfigSpec) -> list[core_v1.EnvVar]:
    """The configuration of LMCache, which vLLM keeps its key-value cache in."""
    cache = spec.kv_cache_spec
    if cache is None:
        return []
    second = cache.l2_cache_spec if cache.enable_l2_cache else None
    variables = {
        "LMCACHE_CONFIG_FILE": cache.cache_config_file,
        "LMCACHE_LOCAL_CPU": "True" if cache.enable_l1_cache else "False",
        "LMCACHE_REMOTE_URL": second.l2_cache_local_url if second is not None else "",
    }
    user_variables = {one.name for one in spec.worker.environment_variables}
    return [
        core_v1.EnvVar(name=name, value=value)
        for name, value in variables.items()
        if value and name not in user_variables
    ]
