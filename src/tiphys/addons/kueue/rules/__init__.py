"""What may be written beyond what the definitions say: Kueue's validating webhooks. Pure.

`quotas` has the rules of flavors, queues and cohorts, `workloads` those of workloads, `jobs` those
of jobs and `topologies` those of the annotations by which their pods are kept near each other.
Every rule gives `FieldError`s with Kueue's paths and words, in Kueue's order. What a definition
refuses anyhow is not checked again.
"""
