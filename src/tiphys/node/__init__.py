"""The node agent: what a kubelet does. Pods bound to this node run, are probed, restarted, stopped
and reported.

`agent` has a `worker` for each pod. A worker shares a `managedpod.ManagedPod` with its parts:
`sandboxstart`, `containerstart`, `inplaceresize`, `podtermination`, `housekeeping`, `reporting`.
What it does is computed without side effects: `lifecycle` (what to do), `status`, `conditions` and
`containerstatus` (what to report), `resize`, `backoff`, `restartpolicy`, `admission`, `eviction`.

`runtime.Runtime` is what is asked of a container runtime: `cri` is containerd over CRI, `hollow`
has no containers and only their life cycle. What they show is in `states`.

`streaming` serves logs, exec, attach, port-forward and pages; `access` decides who may ask.

`volumes` prepares what containers mount: `projection` writes the files of objects, `subpaths` opens
parts of volumes, `podfiles` keeps hosts files and termination logs; all of it through open handles
(`machinery.handles`), for containers write there, too. May import client.
"""
