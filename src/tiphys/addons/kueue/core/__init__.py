"""Who gets quota, and who has to give it back: pure functions of queues, workloads and time.

`quota` is the tree of who may use how much, `state` the queues and workloads in it, `flavors`
chooses for one workload, `preemption` whom it may displace, `cycle` decides for the heads of all
queues, `building` makes the state of objects. `topology`, `placing` and `nearness` say where pods
go, `leading` where a leader goes with its workers. Amounts are whole numbers: thousandths of cpu,
units of everything else (`machinery.footprint.units`).
"""
