"""A head in a process of its own: `python -m tests.cluster.ray_head ADDRESS FOLDER COUNT`. Tells when the first task is
done, and how it ended."""

import sys
from pathlib import Path

from img2mv3d.cluster.engine import Need
from img2mv3d.cluster.on_ray import OnRay
from img2mv3d.cluster.policy import drive
from tests.serve.works import Echo

NEED = Need(cpus=1, memory=100 << 20)


def main(address: str, folder: str, count: str) -> None:
    """Work."""
    heard, done = [], 0
    engine = OnRay(Echo(), NEED, None, Path(folder), address)
    for _, outcome in drive(engine, (f"task {n}" for n in range(int(count))), NEED.memory, heard.append):
        if not done:
            print("begun", flush=True)
        done += outcome.ok
    print(f"{done} of {count} done, {sum(news.kind == 'again' for news in heard)} tried again", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
