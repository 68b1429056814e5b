"""One pod's worker. `worker` reads what the runtime shows, has `lifecycle` compute what to do, and
does it.

Its parts share a `managedpod.ManagedPod`: `sandboxstart`, `containerstart`, `inplaceresize`,
`termination`, `housekeeping`, `reporting`.
"""
