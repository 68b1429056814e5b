"""What a trigger's authentication gives it: values of Secrets, ConfigMaps and of the target's
environment. As with KEDA, a value that is not there is empty; stores of clouds are refused with
words."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from urllib.parse import urlencode

from tiphys.addons.keda.types import AuthenticationRef, TriggerAuthenticationSpec
from tiphys.addons.keda.types.authentication import (
    ClusterTriggerAuthentication,
    OAuth2,
    TargetRef,
    TriggerAuthentication,
)
from tiphys.addons.optional import NAMESPACE
from tiphys.api import core_v1
from tiphys.client.client import Client
from tiphys.machinery.errors import StatusError

_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")


class AuthenticationError(Exception):
    """A trigger cannot get its credentials; the text is the reason."""


class Credentials:
    """Reads what pod templates and authentications refer to, for one object's triggers: each Secret
    and ConfigMap once."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._kept: dict[tuple[str, str, str], asyncio.Future[Mapping[str, str]]] = {}

    async def of(
        self, ref: AuthenticationRef | None, pod: core_v1.PodSpec | None
    ) -> dict[str, str]:
        """The parameters that an authentication gives. Raises AuthenticationError."""
        if ref is None or not ref.name:
            return {}
        auth_spec = await self._spec(ref)
        if auth_spec is None:
            return {}
        spec, namespace = auth_spec
        _refuse(spec, ref)
        values = {}
        for variable in spec.env:
            environment = await self._environment_or_none(pod, variable.container_name)
            values[variable.parameter] = environment.get(variable.name, "")
        for target_ref in spec.config_map_target_ref:
            values[target_ref.parameter] = await self._value("ConfigMap", namespace, target_ref)
        for target_ref in spec.secret_target_ref:
            values[target_ref.parameter] = await self._value("Secret", namespace, target_ref)
        if spec.oauth2 is not None:
            values |= await self._oauth(spec.oauth2, namespace)
        return values

    async def _spec(self, ref: AuthenticationRef) -> tuple[TriggerAuthenticationSpec, str] | None:
        """With the namespace of what it refers to. None, as with KEDA, where there is none."""
        try:
            if ref.kind in ("", "TriggerAuthentication"):
                authentication = await self._client.get(
                    TriggerAuthentication, ref.name, self._namespace
                )
                return authentication.spec, self._namespace
            if ref.kind == "ClusterTriggerAuthentication":
                shared = await self._client.get(ClusterTriggerAuthentication, ref.name)
                return shared.spec, NAMESPACE
        except StatusError:
            return None
        raise AuthenticationError(f"unknown trigger auth kind {ref.kind}")

    async def _oauth(self, oauth: OAuth2, namespace: str) -> dict[str, str]:
        key = oauth.client_secret.value_from.secret_key_ref
        secret = TargetRef(parameter="", name=key.name, key=key.key)
        values = {
            "oauthTokenURI": oauth.token_url,
            "clientID": oauth.client_id,
            "clientSecret": await self._value("Secret", namespace, secret),
        }
        if oauth.scopes:
            values["scopes"] = ",".join(oauth.scopes)
        if oauth.token_url_params:
            values["endpointParams"] = urlencode(oauth.token_url_params)
        return values

    async def _value(self, kind: str, namespace: str, ref: TargetRef) -> str:
        return (await self._data(kind, namespace, ref.name)).get(ref.key, "").strip()

    # --- environments ---

    async def _environment_or_none(
        self, pod: core_v1.PodSpec | None, container: str
    ) -> Mapping[str, str]:
        if pod is None:
            return {}
        try:
            return await self.environment(pod, container)
        except AuthenticationError:
            return {}

    async def environment(self, pod: core_v1.PodSpec, container: str = "") -> dict[str, str]:
        """The variables of a container: the one of that name, or the first. Raises
        AuthenticationError."""
        if not pod.containers:
            raise AuthenticationError("target object doesn't have containers")
        chosen = pod.containers[0]
        if container:
            named = [one for one in pod.containers if one.name == container]
            if not named:
                raise AuthenticationError(
                    f"couldn't find container with name {container} on Target object"
                )
            chosen = named[0]
        values: dict[str, str] = {}
        for source in chosen.env_from:
            values |= await self._all_of(source)
        for variable in chosen.env:
            value = variable.value
            if variable.value_from is not None:
                value = await self._referred(variable, pod)
            values[variable.name] = expanded(value or "", values)
        return values

    async def _all_of(self, source: core_v1.EnvFromSource) -> dict[str, str]:
        data: Mapping[str, str] = {}
        optional: bool | None = True
        name = ""
        if source.config_map_ref is not None:
            name = source.config_map_ref.name
            optional = source.config_map_ref.optional
            data = await self._data("ConfigMap", self._namespace, name)
        elif source.secret_ref is not None:
            name = source.secret_ref.name
            optional = source.secret_ref.optional
            data = await self._data("Secret", self._namespace, name)
        if not data and not optional:
            raise AuthenticationError(f"error reading {name} on namespace {self._namespace}")
        return {f"{source.prefix or ''}{key}": value for key, value in data.items()}

    async def _referred(self, variable: core_v1.EnvVar, pod: core_v1.PodSpec) -> str:
        source = variable.value_from
        assert source is not None
        if source.secret_key_ref is not None:
            key = source.secret_key_ref
            return (await self._data("Secret", self._namespace, key.name)).get(key.key, "")
        if source.config_map_key_ref is not None:
            named = source.config_map_key_ref
            return (await self._data("ConfigMap", self._namespace, named.name)).get(named.key, "")
        return ""  # of a pod's own fields nothing is known before there is a pod

    async def _data(self, kind: str, namespace: str, name: str) -> Mapping[str, str]:
        """What a Secret or ConfigMap holds as text; nothing, if there is none."""
        key = (kind, namespace, name)
        if key not in self._kept:
            future = self._kept[key] = asyncio.get_running_loop().create_future()
            future.set_result(await self._read(kind, namespace, name))
        return await self._kept[key]

    async def _read(self, kind: str, namespace: str, name: str) -> Mapping[str, str]:
        try:
            if kind == "ConfigMap":
                return (await self._client.get(core_v1.ConfigMap, name, namespace)).data
            data = (await self._client.get(core_v1.Secret, name, namespace)).data
        except StatusError:
            return {}
        return {key: value.decode(errors="replace") for key, value in data.items()}


def _refuse(spec: TriggerAuthenticationSpec, ref: AuthenticationRef) -> None:
    """Raises AuthenticationError for what is not carried out, and names it."""
    if spec.file_path and ref.kind != "ClusterTriggerAuthentication":
        kind = ref.kind or "TriggerAuthentication"
        raise AuthenticationError(
            f"filePath is only supported for ClusterTriggerAuthentication, got kind: {kind}"
        )
    sources = {
        "hashiCorpVault": spec.hashi_corp_vault,
        "azureKeyVault": spec.azure_key_vault,
        "gcpSecretManager": spec.gcp_secret_manager,
        "awsSecretManager": spec.aws_secret_manager,
        "boundServiceAccountToken": spec.bound_service_account_token,
        "filePath": spec.file_path,
    }
    for name, value in sources.items():
        if value:
            raise AuthenticationError(
                f"{ref.name}: {name} is not supported; use secretTargetRef, configMapTargetRef, "
                "env or oauth2"
            )
    identity = spec.pod_identity
    if identity is not None and identity.provider not in ("", "none"):
        raise AuthenticationError(
            f'{ref.name}: podIdentity provider "{identity.provider}" is not supported: pods have '
            "no identity at that cloud here; use secretTargetRef, configMapTargetRef or env"
        )


def expanded(value: str, known: Mapping[str, str]) -> str:
    """``$(NAME)`` of variables that are known; ``$$`` is a dollar sign."""

    def replace(match: re.Match[str]) -> str:
        if match.group(1) == "$":
            return "$"
        return known.get(match.group(2), match.group(0))

    return _REFERENCE.sub(replace, value)
