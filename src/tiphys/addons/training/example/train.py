# mypy: ignore-errors
"""A small distributed training job: it averages a number over all ranks, says so with each step,
and saves where it is every few steps. What goes wrong can be asked for.

    torchrun or hyperpodrun ... train.py --steps 100 --folder /checkpoints
"""

import argparse
import json
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist

arguments = argparse.ArgumentParser()
arguments.add_argument("--steps", type=int, default=100)
arguments.add_argument("--every", type=int, default=5, help="steps between two checkpoints")
arguments.add_argument("--pause", type=float, default=0.2, help="seconds of a step")
arguments.add_argument("--folder", type=Path, default=Path("checkpoints"))
arguments.add_argument("--silent", type=float, default=0, help="seconds before the first line")
arguments.add_argument("--nan-from", type=int, default=-1, help="the loss is no number any more")
arguments.add_argument("--slow-from", type=int, default=-1, help="a step takes 9 seconds, it says")
arguments.add_argument("--error-at", type=int, default=-1, help="it reports an error and goes on")
arguments.add_argument("--only-first", action="store_true", help="nothing goes wrong after that")
options = arguments.parse_args()

rank = int(os.environ["RANK"])
attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
checkpoint = options.folder / "checkpoint.json"
goes_wrong = attempt == 0 or not options.only_first

if goes_wrong:
    time.sleep(options.silent)
dist.init_process_group("gloo")
first = json.loads(checkpoint.read_text())["step"] + 1 if checkpoint.exists() else 0
for step in range(first, options.steps):
    mean = torch.ones(1) * rank
    dist.all_reduce(mean)
    loss = f"{1 / (step + 1):.4f}"
    took = 1
    if goes_wrong and 0 <= options.nan_from <= step:
        loss = "nan"
    if goes_wrong and 0 <= options.slow_from <= step:
        took = 9
    if goes_wrong and step == options.error_at:
        print("error: uncorrectable memory", flush=True)
    world = dist.get_world_size()
    print(f"step={step} loss={loss} took={took} world={world} attempt={attempt}", flush=True)
    if rank == 0 and step % options.every == options.every - 1:
        fresh = checkpoint.with_suffix(".new")
        fresh.write_text(json.dumps({"step": step}))
        fresh.rename(checkpoint)
    time.sleep(options.pause)
dist.destroy_process_group()
