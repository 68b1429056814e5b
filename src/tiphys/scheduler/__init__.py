"""The scheduler: a node snapshot in, the placement of a pod out. `cycle` is the place to start
reading.

Pure, without a clock of their own: `snapshot` has nodes as rows of numpy arrays, `counting` pods by
row and domain, `columns` what was computed of them, `cache` puts assumed pods there; `plugins/`
look at whole columns, `framework` runs them, `placement` says what came of it; `queue` has active,
backing-off and unschedulable pods, `cluster_events` what may move them; `nominator` and
`preemption` make room; `devices/` allocate what drivers offer; `gangs` are pods that are placed
together or not at all, by `gang_cycle`.

Around them: `event_handlers` take what informers report, `postfilter`, `eviction` and `binding`
write to the API server, `reporting` says in pods and events what happened, `extenders/` are asked
over HTTP. `main` wires all of it.

May import the client and what is below it.
"""
