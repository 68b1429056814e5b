"""The triggers, one file each. `scaler.scaler` puts a class on the list when its module is
imported, and this is where they are: names, parameters, metrics and sentences are KEDA's."""

from tiphys.addons.keda.triggers import (
    beanstalkd,
    cpu_memory,
    cron,
    etcd,
    external,
    influxdb,
    kafka,
    kubernetes_workload,
    metrics_api,
    nats_jetstream,
    prometheus,
    rabbitmq,
    redis,
    sql,
    temporal,
)

__all__ = [
    "beanstalkd",
    "cpu_memory",
    "cron",
    "etcd",
    "external",
    "influxdb",
    "kafka",
    "kubernetes_workload",
    "metrics_api",
    "nats_jetstream",
    "prometheus",
    "rabbitmq",
    "redis",
    "sql",
    "temporal",
]
