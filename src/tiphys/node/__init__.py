"""The node agent: what a kubelet does. Pods bound to this node run, are probed, restarted, stopped and reported.

`lifecycle`, `resize` and `status` are pure: a pod's spec and what the runtime shows go in, actions and a status come out.
`worker` carries them out for one pod over a `runtime` (containerd over CRI, or hollow: no containers, only the life cycle);
it keeps why containers are `waiting` and has `reporting` write the status.
`streaming` serves logs, exec, attach and port-forward.

`volumes` lays out what containers get mounted: `projection` writes the files of objects, `subpaths` opens parts of volumes,
`podfiles` keeps hosts files and termination logs; all of it through open handles (`machinery.handles`), for containers write
there, too. May import client.
"""
