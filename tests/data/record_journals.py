"""Records journals of the Python tool: writes python-journals/*.jsonl beside
this, from python-journals/jobs.txt.

    python3 -m venv /tmp/tool && /tmp/tool/bin/pip install gpusched==0.4.0
    /tmp/tool/bin/python tests/data/record_journals.py

and again with 0.3.0, which has no `cancel`: that line is left out for it.

    VERSION-finished.jsonl   a run that went to its end
    VERSION-killed.jsonl     one that kill -9 ended while the job `slow` ran and
                             the job `late` waited
    VERSION-resumed.jsonl    the same, and then a second run, to its end
    VERSION-torn.jsonl       the same with the last line of the first run torn: the
                             second one wrote on behind the tear

Nothing in them is changed, so process groups and utilization are those of the
day.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gpusched

DATA = Path(__file__).with_name("python-journals")


class Run:
    """The tool at work in a directory of its own."""

    def __init__(self):
        self.dir = Path(tempfile.mkdtemp())
        self.journal = self.dir / "gpusched_logs" / "journal.jsonl"
        lines = (DATA / "jobs.txt").read_text().splitlines(keepends=True)
        if gpusched.__version__.startswith("0.3"):
            lines = [line for line in lines if "cancel" not in line]
        (self.dir / "jobs.txt").write_text("".join(lines))

    def start(self):
        program = [sys.executable, "-m", "gpusched.cli", "jobs.txt", "--sim", "2", "--poll", "0.2"]
        environment = dict(os.environ, GPUSCHED_SIM_DIR=str(self.dir / "sim"))
        return subprocess.Popen(program, cwd=self.dir, env=environment)

    def finish(self):
        (self.dir / "go").touch()
        self.start().wait()

    def kill_in_the_middle(self):
        scheduler = self.start()
        slow = None
        while slow is None:
            time.sleep(0.05)
            ended = self.journal.read_text().count('"done"') if self.journal.exists() else 0
            runs = [pid for pid in children(scheduler.pid) if "slow" in command_line(pid)]
            slow = runs[0] if runs and ended == len((self.dir / "jobs.txt").read_text().splitlines()) - 2 else None
        scheduler.kill()
        scheduler.wait()
        os.killpg(slow, signal.SIGKILL)
        # A zombie counts as running to the tool: leave it time to be reaped.
        while Path(f"/proc/{slow}").exists():
            time.sleep(0.05)

    def keep(self, name):
        shutil.copy(self.journal, DATA / f"{gpusched.__version__}-{name}.jsonl")


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def main():
    run = Run()
    run.finish()
    run.keep("finished")
    shutil.rmtree(run.dir)

    run = Run()
    run.kill_in_the_middle()
    run.keep("killed")
    run.finish()
    run.keep("resumed")
    shutil.rmtree(run.dir)

    run = Run()
    run.kill_in_the_middle()
    os.truncate(run.journal, run.journal.stat().st_size - 20)
    run.finish()
    run.keep("torn")
    shutil.rmtree(run.dir)


if __name__ == "__main__":
    main()
