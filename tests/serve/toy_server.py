"""`python -m tests.serve.toy_server FOLDER`: the real stages on tiny networks, served by a process of its own."""

import sys
from pathlib import Path

from img2mv3d.plans import PLANS, DepthOptions, ExportOptions, GenerateOptions, Plan, ReconstructOptions
from img2mv3d.serve.server import Settings, listen, run_server
from img2mv3d.serve.work import PhotoRuns
from tests.toys import toy_bundle

QUICK = Plan(
    generate=GenerateOptions(steps=1),
    depth=DepthOptions(grid=32, effort=0.01),
    reconstruct=ReconstructOptions(grid=32, effort=0.01),
    export=ExportOptions(faces=400, texture_size=64),
)


def toy_runs(folder: Path) -> PhotoRuns:
    """What its workers do; the networks are written to `folder`."""
    toy_bundle(folder / "toy")
    return PhotoRuns(str(folder / "toy"), "cpu", dict.fromkeys(PLANS, QUICK))


if __name__ == "__main__":
    place = Path(sys.argv[1])
    bound = listen("127.0.0.1", 0)
    print(bound.getsockname()[1], flush=True)
    run_server(Settings(place / "runs", workers=2, queue=16, work=toy_runs(place)), bound)
