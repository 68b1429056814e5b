"""What runs an endpoint: pure functions from its spec to a Deployment, a Service and what the pods
load their weights with."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

from tiphys.addons.inference import GROUP, Settings
from tiphys.addons.inference.affinity import affinity_of
from tiphys.addons.inference.types import v1
from tiphys.api import apps_v1, core_v1
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta

BALANCER_CLASS = f"{GROUP}/envoy"
LABEL = f"{GROUP}/endpoint"
PORT = 80
"""Of the Service, inside the cluster; from outside it is the router's."""
_PROGRAM = Path(__file__).with_name("loading.py")
_PROGRAM_KEY = "load.py"
_PROGRAM_FOLDER = "/opt/loading"
_PROGRAM_VOLUME = "loading"
_HUB = "https://huggingface.co"


class Unsupported(ValueError):
    """What a spec asks for and this operator does not do."""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint, whichever kind says it."""

    name: str
    namespace: str
    spec: v1.InferenceEndpointConfigSpec

    @property
    def selector(self) -> dict[str, str]:
        return {"app": self.name}

    @property
    def labels(self) -> dict[str, str]:
        return {**self.selector, LABEL: self.name}

    @property
    def health_path(self) -> str:
        balancer = self.spec.load_balancer
        return balancer.health_check_path if balancer is not None else "/ping"

    @property
    def algorithm(self) -> str:
        balancer = self.spec.load_balancer
        named = balancer.routing_algorithm if balancer is not None else ""
        return named or "least_outstanding_requests"

    def meta(self, name: str = "") -> ObjectMeta:
        return ObjectMeta(
            name=name or self.name, namespace=self.namespace, labels=dict(self.labels)
        )


def program_of(endpoint: Endpoint) -> core_v1.ConfigMap | None:
    """The program that loads the weights, where there are any to load."""
    if not _is_loaded(endpoint.spec.model_source_config):
        return None
    made = core_v1.ConfigMap(metadata=endpoint.meta(f"{endpoint.name}-loading"))
    made.data = {_PROGRAM_KEY: _PROGRAM.read_text()}
    return made


def service_of(endpoint: Endpoint) -> core_v1.Service:
    """Its health path and algorithm are also written as the load balancer controller of AWS reads
    them."""
    port = endpoint.spec.worker.model_invocation_port
    name = port.name or "http"
    made = core_v1.Service(metadata=endpoint.meta())
    alb = "alb.ingress.kubernetes.io"
    made.metadata.annotations = {
        f"{alb}/healthcheck-path": endpoint.health_path,
        f"{alb}/target-group-attributes": f"load_balancing.algorithm.type={endpoint.algorithm}",
    }
    made.spec = core_v1.ServiceSpec(
        type="LoadBalancer",
        load_balancer_class=BALANCER_CLASS,
        allocate_load_balancer_node_ports=False,
        selector=endpoint.selector,
        ports=[core_v1.ServicePort(name=name, port=PORT, target_port=port.container_port)],
    )
    return made


def deployment_of(endpoint: Endpoint, settings: Settings) -> apps_v1.Deployment:
    """Raises Unsupported."""
    spec = endpoint.spec
    _check(spec)
    custom = spec.kubernetes or v1.PodCustomization()
    volumes = [copy.deepcopy(one) for one in custom.volumes]
    named = {one.name for one in volumes}
    for one in _own_volumes(endpoint):
        if one.name not in named:
            volumes.append(one)
    loader = _loader(endpoint, settings)
    affinity = affinity_of(spec)
    pod = core_v1.PodSpec(
        init_containers=[*([loader] if loader else []), *copy.deepcopy(custom.init_containers)],
        containers=[_server(endpoint)],
        volumes=volumes,
        affinity=core_v1.Affinity(node_affinity=affinity) if affinity else None,
    )
    if custom.scheduler_name:
        pod.scheduler_name = custom.scheduler_name
    if custom.service_account_name:
        pod.service_account_name = custom.service_account_name
    made = apps_v1.Deployment(metadata=endpoint.meta())
    made.spec.replicas = spec.replicas
    made.spec.selector = LabelSelector(match_labels=endpoint.selector)
    made.spec.progress_deadline_seconds = spec.max_deploy_time_in_seconds
    made.spec.template = core_v1.PodTemplateSpec(
        metadata=ObjectMeta(labels=dict(endpoint.labels)), spec=pod
    )
    return made


def _check(spec: v1.InferenceEndpointConfigSpec) -> None:
    source = spec.model_source_config
    if source.model_source_type == "fsx":
        raise Unsupported("there is no FSx here: weights come from s3, huggingface or a volume")
    if spec.pd_spec is not None:
        raise Unsupported("pdSpec: prefill and decode on pods of their own are not offered")
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
        region = source.s3_storage.region
        variables["S3_ENDPOINT"] = settings.s3_endpoint or f"https://s3.{region}.amazonaws.com"
        variables["S3_BUCKET"] = source.s3_storage.bucket_name
        variables["S3_PREFIX"] = source.model_location
        variables["AWS_REGION"] = region
        secrets = [
            _from_secret(name, settings.s3_secret, name)
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        ]
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


def _from_secret(variable: str, secret: str, key: str) -> core_v1.EnvVar:
    """Empty where the namespace has no such Secret: some buckets are everybody's."""
    selected = core_v1.SecretKeySelector(name=secret, key=key, optional=True)
    return core_v1.EnvVar(name=variable, value_from=core_v1.EnvVarSource(secret_key_ref=selected))


def _server(endpoint: Endpoint) -> core_v1.Container:
    spec, worker = endpoint.spec, endpoint.spec.worker
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
    """A server is ready when its health path says so: it has its weights then."""
    port = endpoint.spec.worker.model_invocation_port
    if port.name == "grpc":
        return core_v1.Probe(
            tcp_socket=core_v1.TCPSocketAction(port=port.container_port), period_seconds=5
        )
    path = core_v1.HTTPGetAction(path=endpoint.health_path, port=port.container_port)
    return core_v1.Probe(http_get=path, period_seconds=5)


def _cache_variables(spec: v1.InferenceEndpointConfigSpec) -> list[core_v1.EnvVar]:
    """What LMCache, which vLLM keeps its key-value cache in, is told."""
    cache = spec.kv_cache_spec
    if cache is None:
        return []
    second = cache.l2_cache_spec if cache.enable_l2_cache else None
    variables = {
        "LMCACHE_CONFIG_FILE": cache.cache_config_file,
        "LMCACHE_LOCAL_CPU": "True" if cache.enable_l1_cache else "False",
        "LMCACHE_REMOTE_URL": second.l2_cache_local_url if second is not None else "",
    }
    given = {one.name for one in spec.worker.environment_variables}
    return [
        core_v1.EnvVar(name=name, value=value)
        for name, value in variables.items()
        if value and name not in given
    ]
