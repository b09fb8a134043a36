"""Slurm's programs as scripts that run jobs here, at once; they write down what they were told."""

import os
import sys
from pathlib import Path

SBATCH = """#!{python}
import json, os, re, subprocess, sys
from pathlib import Path

place = Path({place!r})
script = Path(sys.argv[-1]).read_text()
number = 1 + len(list(place.glob("env-*.json")))
(place / f"env-{{number}}.json").write_text(json.dumps(dict(os.environ)))
(place / f"script-{{number}}.sh").write_text(script)
found = re.search(r"^#SBATCH --array=0-(\\d+)", script, re.M)
count = int(found.group(1)) + 1 if found else 1
if count > {most}:
    sys.exit("sbatch: error: Batch job submission failed: Invalid job array specification")
out = re.search(r"^#SBATCH --output=(.*)$", script, re.M).group(1)
for index in range(count):
    env = dict(os.environ, SLURM_JOB_ID=str(100 * number + index), SLURM_NODEID="0")
    env |= {{"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "1"}}
    env |= {{"SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "here"}}
    log = out.replace("%A", str(number)).replace("%a", str(index)).replace("%j", str(number)).replace("%t", "0")
    if found:
        env |= {{"SLURM_ARRAY_JOB_ID": str(number), "SLURM_ARRAY_TASK_ID": str(index)}}
    else:
        env["SLURM_JOB_ID"] = str(number)
    with open(log, "wb") as file:
        job = subprocess.Popen(["bash", sys.argv[-1]], env=env, stdout=file, stderr=file, start_new_session=True)
    (place / f"pid-{{number}}-{{index}}").write_text(str(job.pid))
print(f"Submitted batch job {{number}}")
"""
NOTHING = "#!/bin/sh\nexit 1\n"  # no accounting, and nothing that is cancelled


def install(place: Path, most: int = 100) -> dict[str, str]:
    """The programs in `place`, and the environment that finds them. most: jobs in an array."""
    programs = place / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text(SBATCH.format(python=sys.executable, place=str(place), most=most))
    for name in ("srun", "sacct", "squeue", "scancel"):
        (programs / name).write_text(NOTHING)
    for path in programs.iterdir():
        path.chmod(0o755)
    root = str(Path(__file__).parents[2])
    return {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
    }
