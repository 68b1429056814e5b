"""The control loops: each moves the cluster one step towards what the objects of its kind say.

One file for each controller: on top a pure core, which is given everything and touches nothing,
below it a `Controller` that reads informers, asks the core and writes through the API. Controllers
know nothing of each other; what several of them need is in a module named after it:

    shell          the base class: informers in, a work queue, workers, back-off
    claiming       which objects belong to an owner: adopting and releasing
    expectations   writes whose events have not come back yet
    pods           what controllers ask about pods, and how they make them from templates
    history        the revisions of a template
    slices         the labels of endpoint slices, and writing them
    scales         the scale subresource of any kind
    discovery      what the server says it can list and delete

A core that is large has a file of its own beside its controller: `attachplan`, `replicasets`,
`metricvalues`.

`registry` is the one ordered list of all controllers, `main` starts it. May import `client`,
`machinery` and `api`; nothing here imports another room.
"""
