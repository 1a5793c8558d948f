"""Records where the Python tool puts jobs: writes placement.jsonl beside this.

    python3 -m venv /tmp/tool && /tmp/tool/bin/pip install gpusched==0.4.0
    /tmp/tool/bin/python tests/data/record_placement.py

Each line is a machine, what was seen of it in one to three looks, the jobs that
run on it, and requests with the tool's answers:

    rules      [margin, idle threshold, spike buffer, exclusive]
    allowed    the GPUs that --gpus names; absent: all
    looks      each [[GPU, total, used]...] and [[GPU, pid, used, job or null]...]
    jobs       each [GPUs, declared or null, {GPU: used now}, {GPU: peak}], as the
               tool itself has them after the last look; null has ended before it
    requests   each [vram or null, GPUs, answer]: a list of GPUs, "wait" or
               "infeasible". Where we differ on purpose, our own answer follows.

The answers are those of the tool's scheduler, fed with the looks one by one, so
that its peaks are its own. The seed is fixed: the same tool, the same file.

What is left out, because the tool has no answer to compare: memory that the
driver keeps for itself, cells that say [N/A], GPUs that MIG or a fault has taken
out of use, and requests for a GPU alone that have a declaration.
"""

import json
import random
import tempfile
from pathlib import Path

from gpusched import scheduler
from gpusched.allocation import AllocOptions, effective_headroom, find_allocation
from gpusched.backend import GpuSnapshot, GpuStat, ProcStat
from gpusched.jobspec import JobSpec
from gpusched.testing import FakeBackend

MACHINES = 5000
REQUESTS = 2
TOTALS = [8192, 11264, 16384, 24000, 24576, 40960, 49140, 81559, 81920]


class Machine:
    """A machine made at random, and the tool's scheduler looking at it."""

    def __init__(self, dice, log_dir):
        self.dice = dice
        n = dice.randint(1, 8)
        total = dice.choice(TOTALS)
        mixed = dice.random() < 0.4
        self.totals = {g: dice.choice(TOTALS) if mixed else total for g in range(n)}
        self.rules = AllocOptions(
            margin_mib=dice.choice([0, 1, 512, 512, 512, 1024, dice.randint(0, 3000)]),
            idle_threshold_mib=dice.choice([0, 1, 200, 200, 200, dice.randint(1, 2000)]),
            spike_buffer=dice.choice([0.0, 0.1, 0.1, 0.1, 0.05, 0.15, 0.3, 0.333, 1.0]),
            exclusive=dice.random() < 0.15,
        )
        self.allowed = None
        if dice.random() < 0.2:
            self.allowed = set(dice.sample(range(n), dice.randint(1, n)))
        self.tool = scheduler.Scheduler(
            FakeBackend({}), jobs=[], allowed_gpus=self.allowed or set(self.totals),
            options=scheduler.SchedulerOptions(alloc=self.rules, log_dir=log_dir),
        )
        self.jobs = self.start_jobs()
        self.processes = self.start_processes()
        self.looks = []
        self.snapshot = None

    def start_jobs(self):
        dice, jobs = self.dice, []
        for at in range(dice.choice([0, 0, 1, 1, 2, 3, 4, 6, 8])):
            gpus = dice.sample(sorted(self.totals), min(len(self.totals), dice.choice([1, 1, 1, 2, 3])))
            most = max(2, min(self.totals[g] for g in gpus) // 2)
            declared = None if dice.random() < 0.2 else dice.randint(1, most)
            spec = JobSpec(index=at + 1, command=str(at), vram_mib=declared, n_gpus=len(gpus))
            job = scheduler.RunningJob(
                spec=spec, no=at + 1, proc=None, pgid=1000 + at,
                gpu_indices=tuple(sorted(gpus)), log_path="", started_at=0.0,
            )
            self.tool.running[str(at)] = job
            jobs.append(job)
        return jobs

    def start_processes(self):
        """Processes as [GPU, pid, usual use, job]: of jobs, some on a GPU that
        their job does not hold, and of strangers."""
        dice, processes = self.dice, []
        for at, job in enumerate(self.jobs):
            for g in job.gpu_indices:
                for _ in range(dice.choice([0, 1, 1, 1, 2])):
                    usual = round((job.spec.vram_mib or 3000) * dice.choice([0.2, 0.5, 0.9, 1.0, 1.0, 1.2]))
                    processes.append([g, 10 + len(processes), usual, at])
            if dice.random() < 0.05:
                processes.append([dice.choice(sorted(self.totals)), 10 + len(processes), 300, at])
        for _ in range(dice.choice([0, 0, 0, 1, 2, 4])):
            g = dice.choice(sorted(self.totals))
            usual = dice.choice([10, 100, 110, 181, 182, 1000, dice.randint(1, self.totals[g] // 3)])
            processes.append([g, 10 + len(processes), usual, None])
        return processes

    def look(self, gone):
        """Shows the tool what the GPUs look like, all but `gone`."""
        dice, listed = self.dice, []
        for g, pid, usual, job in self.processes:
            if g == gone or dice.random() < 0.1:
                continue
            used = round(usual * dice.choice([1.0, 1.0, 0.5, 0.1, 1.1]))
            runs = job is not None and str(job) in self.tool.running
            listed.append([g, pid, used, job if runs else None])
            if dice.random() < 0.02:
                listed.append([g, pid, used // 2, job if runs else None])
        gpus = []
        for g, total in self.totals.items():
            if g == gone:
                continue
            unlisted = dice.choice([0, 0, 0, 4, 199, 200, self.rules.idle_threshold_mib, dice.randint(0, 3000)])
            used = sum(entry[2] for entry in listed if entry[0] == g) + unlisted
            if dice.random() < 0.05:
                used //= 2
            gpus.append([g, total, min(used, total)])
        self.snapshot = GpuSnapshot(
            gpus={g: GpuStat(index=g, total_mib=total, used_mib=used) for g, total, used in gpus},
            procs=[ProcStat(gpu_index=g, pid=pid, used_mib=used) for g, pid, used, _ in listed],
        )
        groups = {pid: 1000 + job for _, pid, _, job in listed if job is not None}
        scheduler.pgid_of = groups.get
        self.tool._attribute(self.snapshot)
        # A process on a GPU that its job does not hold is a stranger to the tool.
        for entry in listed:
            if entry[3] is not None and entry[0] not in self.jobs[entry[3]].gpu_indices:
                entry[3] = None
        self.looks.append([gpus, listed])

    def end_a_job(self):
        if self.tool.running and self.dice.random() < 0.3:
            del self.tool.running[self.dice.choice(sorted(self.tool.running))]

    def occupants(self):
        return [job.as_occupant() for job in self.tool.running.values()]

    def draw_request(self):
        dice, n = self.dice, len(self.totals)
        gpus = dice.choice([1, 1, 1, 1, 2, 2, dice.randint(1, n + 1)])
        kind = dice.random()
        if kind < 0.2:
            return None, gpus
        if kind < 0.3:
            vram = dice.choice(list(self.totals.values())) - self.rules.margin_mib + dice.choice([-1, 0, 1])
        elif kind < 0.8:
            # At the edge of what the GPUs have to spare.
            view = self.tool._ext_view
            spare = [effective_headroom(g, self.snapshot, self.occupants(), self.rules, view)
                     for g in self.snapshot.gpus]
            spare = [s for s in spare if s is not None] or [0]
            vram = dice.choice(spare) - self.rules.margin_mib + dice.choice([-1, 0, 0, 1])
        else:
            vram = dice.randint(1, max(self.totals.values()))
        return max(1, vram), gpus

    def ask(self):
        vram, gpus = self.draw_request()
        spec = JobSpec(index=1, command="new", vram_mib=vram, n_gpus=gpus)
        if self.tool._infeasible_reason(spec, self.snapshot) is not None:
            everything = GpuSnapshot(
                gpus={g: GpuStat(index=g, total_mib=total, used_mib=0) for g, total in self.totals.items()}
            )
            # A GPU that is gone for one look makes nothing impossible for us.
            ours = [] if self.tool._infeasible_reason(spec, everything) else ["wait"]
            return [vram, gpus, "infeasible", *ours]
        found = find_allocation(
            spec, self.snapshot, self.occupants(), self.tool.allowed_gpus, self.rules, self.tool._ext_view
        )
        return [vram, gpus, "wait" if found is None else found]

    def record(self):
        rules = self.rules
        jobs = [
            [list(job.gpu_indices), job.spec.vram_mib, job.last_mib, job.peak_mib]
            if str(at) in self.tool.running else None
            for at, job in enumerate(self.jobs)
        ]
        line = {
            "rules": [rules.margin_mib, rules.idle_threshold_mib, rules.spike_buffer, rules.exclusive],
            "looks": self.looks,
            "jobs": jobs,
            "requests": [self.ask() for _ in range(REQUESTS)],
        }
        if self.allowed is not None:
            line["allowed"] = sorted(self.allowed)
        return line


def main():
    dice = random.Random(20240607)
    with tempfile.TemporaryDirectory() as log_dir, \
            open(Path(__file__).with_name("placement.jsonl"), "w", encoding="utf-8") as out:
        for _ in range(MACHINES):
            machine = Machine(dice, log_dir)
            for _ in range(dice.choice([0, 0, 1, 2])):
                machine.look(gone=None)
                machine.end_a_job()
            # Only a GPU that was seen before can be missed.
            missed = machine.looks and dice.random() < 0.15
            machine.look(gone=dice.choice(sorted(machine.totals)) if missed else None)
            out.write(json.dumps(machine.record(), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
