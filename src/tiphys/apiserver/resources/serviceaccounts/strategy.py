"""Service accounts as they are stored."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.core_v1 import ServiceAccount
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.serviceaccounts.token import ISSUE

_ENFORCE_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"


class ServiceAccountStrategy(Strategy[ServiceAccount]):
    columns = (NAME, Column("Secrets", lambda o: len(o.secrets)), AGE)
    returns_deleted = True
    subresources = {"token": ISSUE}

    def prepare_for_create(self, obj: ServiceAccount) -> None:
        obj.secrets = obj.secrets or []

    def warnings(self, new: ServiceAccount, old: ServiceAccount | None) -> Iterator[str]:
        if _ENFORCE_MOUNTABLE in new.metadata.annotations:
            yield (
                f"metadata.annotations[{_ENFORCE_MOUNTABLE}]: deprecated in v1.32+;"
                " prefer separate namespaces to isolate access to mounted secrets"
            )
