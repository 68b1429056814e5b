"""The triggers, one file each. `scaler.scaler` puts a class on the list when its module is
imported, and this is where they are: names, parameters, metrics and sentences are KEDA's."""

from tiphys.addons.keda.triggers import (
    cpu_memory,
    cron,
    kubernetes_workload,
    metrics_api,
    prometheus,
    redis,
)

__all__ = [
    "cpu_memory",
    "cron",
    "kubernetes_workload",
    "metrics_api",
    "prometheus",
    "redis",
]
