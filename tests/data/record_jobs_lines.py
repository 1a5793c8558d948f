"""Records how the Python tool reads jobs files: writes jobs_lines.jsonl beside
this.

    python3 -m venv /tmp/tool && /tmp/tool/bin/pip install gpusched==0.4.0
    /tmp/tool/bin/python tests/data/record_jobs_lines.py

Each line is a text and what the tool makes of it:

    text     a whole jobs file; mostly of one line
    jobs     its jobs, each [key, command, vram, GPUs, seconds, retries, cancel]
    error    or the first error, which stands for the whole file
    refused  what we, on purpose, do not take although the tool does

The seed is fixed: the same tool, the same file. What is left out: a return
alone, which ends a line for the tool; the control characters 0x1c to 0x1f, which
are white space to it; bytes that are not UTF-8; and a byte order mark.
"""

import json
import random
import tempfile
from pathlib import Path

from gpusched.jobspec import JobSpecError, parse_jobs_file

LINES = 3000
FILES = 300

SPACES = ["", "", "", " ", "  ", "\t", " \t ", "\u3000", "\u00a0", "\x0b"]
COMMANDS = [
    "a", "python train.py", "python train.py --config a.yaml", "echo [vram=8G]", "x # y", "  a  b ",
    "[gpus=2] x", "[ -f x ] && y", "true; false", "echo 'ä ö'", "echo \u65e5\u672c", "]", "=", "cancel",
    "env A=b c", "echo \\", 'echo "q"', "\U0001f600", "a\tb", "#x", "",
]
GOOD = [
    "vram=8G", "vram=8000", "VRAM=1g", "vram=512mb", "vram=22GiB", "vram=0.5G", "vram=12.5", "vram=13.5",
    "vram=23.5G", "vram=007M", "vram=1.0009765625G", "vram=0.0005G", "gpus=1", "gpus=2", "Gpus=08",
    "timeout=90", "timeout=90s", "timeout=15M", "timeout=2h", "timeout=1.5d", "timeout=0.001", "timeout=2.25",
    "retries=0", "retries=2", "retries=007", "cancel", "CANCEL", "Cancel", "gpus=9", "timeout=0.5m",
]
BAD = [
    "vram=", "vram=-5", "vram=+5", "vram=1e3", "vram=8k", "vram=1T", "vram=.5G", "vram=5.G", "vram=0",
    "vram=0.4", "vram=0.5", "vram=8G,", "vram=8GB9", "vram=1.2.3", "vram", "vram=8 G", "vram = 8G", "vram=8G=9",
    "gpus=", "gpus=0", "gpus=-1", "gpus=two", "gpus=2.0", "gpus=0x2", "gpus=1,2", "gpus", "gpus==2",
    "timeout=", "timeout=1h30m", "timeout=1w", "timeout=-1", "timeout=.5", "timeout=1.", "timeout=0",
    "timeout=0.0", "timeout=s", "retries=", "retries=-1", "retries=x", "retries=1.5", "retries=1e2",
    "cancel=1", "cancel,", "cancelled", "mem=8G", "Mem=8G", "=5", "=", "x", "-f", "$X", "!", "vram:8G",
    "\u00e4=1", "\u00c4=1", "priority=3", "gpu=1", "gpus\u00e4",
]
# The tool takes these, and we have a reason not to.
REFUSED = {
    "a sign": ["gpus=+2", "retries=+1", "retries=-0"],
    "an underscore": ["gpus=1_0", "retries=1_0"],
    "digits that are not ASCII": ["vram=\uff19G", "timeout=\u0663s", "gpus=\uff12", "retries=\u0661"],
    "less than a millisecond": ["timeout=0.0001", "timeout=0.0004s"],
    "more than a hundred years": ["timeout=40000d", "timeout=99999999999999"],
    "more than any GPU has": ["vram=5000000G", "vram=99999999999"],
    "more GPUs than can be counted": ["gpus=70000"],
    "more retries than can be counted": ["retries=5000000000"],
}


def block(dice, words):
    separators = [" ", " ", " ", "  ", "\t", "\u3000"]
    text = dice.choice(["", "", " "])
    for word in words:
        text += word + dice.choice(separators)
    return text.rstrip() if dice.random() < 0.8 else text


def line(dice):
    """A line, and why we refuse it, if the tool does not."""
    kind = dice.random()
    command = dice.choice(COMMANDS)
    before, after = dice.choice(SPACES), dice.choice(SPACES)
    if kind < 0.1:
        return before + command + after, None
    if kind < 0.15:
        pieces = ["[", "]", "=", " ", "vram", "gpus=2", "G", "8", "#", "cancel", ".", "-", "a"]
        return before + "".join(dice.choices(pieces, k=dice.randint(1, 9))) + after, None
    if kind < 0.18:
        return before + "[" + block(dice, dice.choices(GOOD, k=2)), None
    words = dice.choices(GOOD, k=dice.choice([0, 1, 1, 2, 2, 3, 4]))
    why = None
    if kind < 0.45:
        words.insert(dice.randint(0, len(words)), dice.choice(BAD))
        if dice.random() < 0.2:
            words.append(dice.choice(BAD))
    elif kind < 0.55:
        why = dice.choice(sorted(REFUSED))
        words.insert(dice.randint(0, len(words)), dice.choice(REFUSED[why]))
    elif kind < 0.57:
        why, command = "a NUL byte", "echo \0"
    return before + "[" + block(dice, words) + "]" + dice.choice(SPACES) + command + after, why


def several(dice):
    """A file whose lines are mostly alike, with comments and empty lines."""
    commands = dice.choices(COMMANDS[:6], k=3)
    lines = []
    for _ in range(dice.randint(2, 8)):
        kind = dice.random()
        words = dice.choices(GOOD, k=dice.choice([0, 1, 2]))
        if kind < 0.15:
            lines.append(dice.choice(["", "   ", "# a comment", "\t# [vram=8k] x", "#"]))
        elif kind < 0.2:
            lines.append("[" + block(dice, [dice.choice(BAD)]) + "] " + dice.choice(commands))
        elif kind < 0.6:
            lines.append(dice.choice(commands))
        else:
            lines.append("[" + block(dice, words) + "]" + dice.choice(["", " "]) + dice.choice(commands))
    end = dice.choice(["\n", "\n", "\r\n"])
    return end.join(lines) + dice.choice(["", end])


def record(text, why, scratch):
    scratch.write_bytes(text.encode())
    found = {"text": text}
    try:
        jobs = parse_jobs_file(str(scratch))
    except JobSpecError as error:
        return found | {"error": str(error)}
    found["jobs"] = [[job.key, job.command, job.vram_mib, job.n_gpus, job.timeout_s, job.retries, job.cancel]
                     for job in jobs]
    return found | {"refused": why} if why and jobs else found


def main():
    dice = random.Random(20240608)
    with tempfile.TemporaryDirectory() as directory, \
            open(Path(__file__).with_name("jobs_lines.jsonl"), "w", encoding="utf-8") as out:
        scratch = Path(directory, "jobs.txt")
        texts = [line(dice) for _ in range(LINES)] + [(several(dice), None) for _ in range(FILES)]
        for text, why in texts:
            recorded = record(text, why, scratch)
            out.write(json.dumps(recorded, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
