"""Secrets."""

from __future__ import annotations

from tiphys.api.core_v1 import Secret
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.immutability import immutability_errors
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import config_key_errors
from tiphys.store.cache import Selectable

_MOST_BYTES = 1 << 20  # of all values together
# Type → the keys that a secret of it must have.
_REQUIRED_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_TOKEN_TYPE = "kubernetes.io/service-account-token"
_ACCOUNT = "kubernetes.io/service-account.name"


class SecretStrategy(Strategy[Secret]):
    columns = (NAME, Column("Type", lambda o: o.type), Column("Data", lambda o: len(o.data)), AGE)
    fields = (Selectable("type"),)

    def default(self, obj: Secret) -> None:
        obj.type = obj.type or "Opaque"
        for key, value in obj.string_data.items():
            obj.data[key] = value.encode()
        obj.string_data = {}

    def validate(self, obj: Secret) -> list[FieldError]:
        violations = []
        for key in obj.data:
            violations += checks.obeys(key, config_key_errors, f"data[{key}]")
        for key in _REQUIRED_KEYS.get(obj.type, ()):
            if key not in obj.data:
                violations.append(errors.required(f"data[{key}]"))
        if obj.type == _TOKEN_TYPE:
            account = obj.metadata.annotations.get(_ACCOUNT)
            violations += checks.required(account, f"metadata.annotations[{_ACCOUNT}]")
        if sum(map(len, obj.data.values())) > _MOST_BYTES:
            violations.append(errors.too_long("data", _MOST_BYTES))
        return violations

    def validate_update(self, new: Secret, old: Secret) -> list[FieldError]:
        violations = immutable("type", new.type, old.type)
        return violations + immutability_errors(new, old, {"data": "data"})
