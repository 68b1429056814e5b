"""Jobs that wait in queues: every kind whose `suspend` field stops it.

`kinds` is the table of them: where each has its pods, and how it reports that it has finished;
`parts` reads and changes a job by that; `workloads` makes the Workload of a job; `controller`
brings the two together. Jobs are plain data here, as their definitions are others'.
"""
