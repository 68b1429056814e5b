"""The custom resources of kueue.x-k8s.io: `quotas` (flavors, queues, cohorts), `workloads`, and
`v1beta1`, the version before, with `conversion` between the two."""
