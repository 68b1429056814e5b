"""TriggerAuthentication: where the credentials of triggers stand. Of the stores of clouds only the
names are known here: they are refused with words."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, field

from tiphys.addons.keda import GROUP, VERSION
from tiphys.api.base import F, Struct, always, named
from tiphys.api.meta_v1 import Object
from tiphys.operator import Column, custom_resource

_PROVIDERS = ["azure-workload", "gcp", "aws", "aws-eks", "none"]
_SOME: dict[str, Any] = {"min_items": 1}
_GRANT: dict[str, Any] = {"enum": ["clientCredentials"], "default": "clientCredentials"}


class TargetRef(Struct):
    """A key of a Secret or ConfigMap, for one parameter."""

    parameter: Annotated[str, F(0, req=True)] = always("")
    name: Annotated[str, F(0, req=True)] = always("")
    key: Annotated[str, F(0, req=True)] = always("")


class Environment(Struct):
    """A variable of the target's container, for one parameter."""

    parameter: Annotated[str, F(0, req=True)] = always("")
    name: Annotated[str, F(0, req=True)] = always("")
    container_name: str = ""


class PodIdentity(Struct):
    provider: Annotated[str, F(0, req=True), Meta(extra_json_schema={"enum": _PROVIDERS})] = always(
        ""
    )
    identity_id: str | None = None
    identity_tenant_id: str | None = None
    identity_authority_host: str | None = None
    role_arn: str | None = None
    external_id: str | None = named("externalID", None)
    identity_owner: Annotated[
        str | None, Meta(extra_json_schema={"enum": ["keda", "workload"]})
    ] = None


class SecretKeyRef(Struct):
    name: Annotated[str, F(0, req=True)] = always("")
    key: Annotated[str, F(0, req=True)] = always("")


class ValueFrom(Struct):
    secret_key_ref: Annotated[SecretKeyRef, F(0, req=True)] = field(default_factory=SecretKeyRef)


class SecretValue(Struct):
    value_from: Annotated[ValueFrom, F(0, req=True)] = field(default_factory=ValueFrom)


class OAuth2(Struct):
    type: Annotated[str, F(0, req=True), Meta(extra_json_schema=_GRANT)] = always(
        "clientCredentials"
    )
    client_id: Annotated[str, F(0, req=True)] = always("")
    client_secret: SecretValue = field(default_factory=SecretValue)
    token_url: Annotated[str, F(0, req=True)] = always("")
    scopes: list[str] = []
    token_url_params: dict[str, str] = {}


class BoundServiceAccountToken(Struct):
    parameter: Annotated[str, F(0, req=True)] = always("")
    service_account_name: Annotated[str, F(0, req=True)] = always("")


class VaultCredential(Struct):
    token: str = ""
    service_account: str = ""
    service_account_name: str = ""


class VaultPki(Struct):
    common_name: str = ""
    alt_names: str = ""
    ip_sans: str = ""
    uri_sans: str = ""
    other_sans: str = ""
    ttl: str = ""
    format: str = ""


class VaultSecret(Struct):
    parameter: Annotated[str, F(0, req=True)] = always("")
    path: Annotated[str, F(0, req=True)] = always("")
    key: Annotated[str, F(0, req=True)] = always("")
    type: Annotated[str, Meta(extra_json_schema={"enum": ["", "secretV2", "secret", "pki"]})] = ""
    pki_data: VaultPki = field(default_factory=VaultPki)


class HashiCorpVault(Struct):
    address: Annotated[str, F(0, req=True)] = always("")
    authentication: Annotated[
        str, F(0, req=True), Meta(extra_json_schema={"enum": ["token", "kubernetes"]})
    ] = always("")
    secrets: Annotated[list[VaultSecret], F(0, req=True), Meta(extra_json_schema=_SOME)] = []
    namespace: str = ""
    credential: VaultCredential | None = None
    role: str = ""
    mount: str = ""


class AzureCredentials(Struct):
    client_id: Annotated[str, F(0, req=True)] = always("")
    client_secret: Annotated[SecretValue, F(0, req=True)] = field(default_factory=SecretValue)
    tenant_id: Annotated[str, F(0, req=True)] = always("")


class AzureCloud(Struct):
    type: Annotated[str, F(0, req=True)] = always("")
    key_vault_resource_url: str = named("keyVaultResourceURL", "")
    active_directory_endpoint: str = ""


class AzureSecret(Struct):
    parameter: Annotated[str, F(0, req=True)] = always("")
    name: Annotated[str, F(0, req=True)] = always("")
    version: str = ""


class AzureKeyVault(Struct):
    vault_uri: Annotated[str, F(0, req=True)] = always("")
    secrets: Annotated[list[AzureSecret], F(0, req=True), Meta(extra_json_schema=_SOME)] = []
    credentials: AzureCredentials | None = None
    cloud: AzureCloud | None = None
    pod_identity: PodIdentity | None = None


class GcpCredentials(Struct):
    client_secret: Annotated[SecretValue, F(0, req=True)] = field(default_factory=SecretValue)


class GcpSecret(Struct):
    parameter: Annotated[str, F(0, req=True)] = always("")
    id: Annotated[str, F(0, req=True)] = always("")
    version: str = ""


class GcpSecretManager(Struct):
    secrets: Annotated[list[GcpSecret], F(0, req=True), Meta(extra_json_schema=_SOME)] = []
    credentials: GcpCredentials | None = None
    pod_identity: PodIdentity | None = None


class AwsCredentials(Struct):
    access_key: Annotated[SecretValue, F(0, req=True)] = field(default_factory=SecretValue)
    access_secret_key: Annotated[SecretValue, F(0, req=True)] = field(default_factory=SecretValue)
    access_token: SecretValue | None = None


class AwsSecret(Struct):
    parameter: Annotated[str, F(0, req=True)] = always("")
    name: Annotated[str, F(0, req=True)] = always("")
    version_id: str = ""
    version_stage: str = ""
    secret_key: str = ""


class AwsSecretManager(Struct):
    secrets: Annotated[list[AwsSecret], F(0, req=True), Meta(extra_json_schema=_SOME)] = []
    credentials: AwsCredentials | None = None
    pod_identity: PodIdentity | None = None
    region: str = ""


class TriggerAuthenticationSpec(Struct):
    pod_identity: PodIdentity | None = None
    secret_target_ref: list[TargetRef] = []
    config_map_target_ref: list[TargetRef] = []
    env: list[Environment] = []
    file_path: str = ""
    hashi_corp_vault: HashiCorpVault | None = None
    azure_key_vault: AzureKeyVault | None = None
    gcp_secret_manager: GcpSecretManager | None = None
    aws_secret_manager: AwsSecretManager | None = None
    bound_service_account_token: list[BoundServiceAccountToken] = []
    oauth2: OAuth2 | None = None


class TriggerAuthenticationStatus(Struct):
    """The names of whoever uses it, with commas between them."""

    scaledobjects: str = ""
    scaledjobs: str = ""


_FIRST = (
    Column("PodIdentity", ".spec.podIdentity.provider"),
    Column("Secret", ".spec.secretTargetRef[*].name"),
    Column("Env", ".spec.env[*].name"),
)
_LAST = (
    Column("VaultAddress", ".spec.hashiCorpVault.address"),
    Column("ScaledObjects", ".status.scaledobjects", priority=1),
    Column("ScaledJobs", ".status.scaledjobs", priority=1),
)


@custom_resource(GROUP, VERSION, short_names=("ta", "triggerauth"), columns=(*_FIRST, *_LAST))
class TriggerAuthentication(Object):
    """Credentials for the triggers of one namespace."""

    api_version: str = always(f"{GROUP}/{VERSION}")
    kind: str = always("TriggerAuthentication")
    spec: Annotated[TriggerAuthenticationSpec, F(0, req=True)] = field(
        default_factory=TriggerAuthenticationSpec
    )
    status: TriggerAuthenticationStatus = field(default_factory=TriggerAuthenticationStatus)


@custom_resource(
    GROUP,
    VERSION,
    namespaced=False,
    short_names=("cta", "clustertriggerauth"),
    columns=(*_FIRST, Column("FilePath", ".spec.filePath"), *_LAST),
)
class ClusterTriggerAuthentication(Object):
    """Credentials for the triggers of every namespace. What it refers to stands in the add-on's."""

    api_version: str = always(f"{GROUP}/{VERSION}")
    kind: str = always("ClusterTriggerAuthentication")
    spec: Annotated[TriggerAuthenticationSpec, F(0, req=True)] = field(
        default_factory=TriggerAuthenticationSpec
    )
    status: TriggerAuthenticationStatus = field(default_factory=TriggerAuthenticationStatus)
