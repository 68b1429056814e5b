"""An API server in several processes: one primary, which has the store and the port, and workers,
which serve clients from replicas of it (decision 0021).

`pool` is the primary's side of them: it starts them, and hands connections over (`handover`). What
a worker runs is `main.run_worker`.
"""
