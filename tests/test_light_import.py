"""What is imported before it is needed: nothing heavy. In fresh processes, since this one has everything loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "diffusers", "nerfacc", "scipy", "trimesh", "cv2", "onnxruntime", "transformers", "PIL", "mcubes")
SLOW = ("pydantic", "asyncio", "email", "http", "importlib.metadata", "platformdirs", "psutil")


def loaded(code: str, *names: str) -> list[str]:
    """Those of the modules `names` that a fresh interpreter has loaded after `code`."""
    tail = f"\nimport sys\nprint('LOADED', *[n for n in {names!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, cwd=ROOT, check=True)
    return done.stdout.split("LOADED")[-1].split()


def test_importing_the_package_loads_neither_numpy_nor_anything_heavy() -> None:
    assert loaded("import img2mv3d; dir(img2mv3d)", "numpy", "typer", *HEAVY) == []


def test_importing_flow_store_and_weights_loads_nothing_heavy() -> None:
    names = ("flow.pipeline", "flow.store", "bundles.weights", "values", "readers.photos")
    code = "; ".join(f"import img2mv3d.{name}" for name in names)
    assert loaded(code, *HEAVY) == []


@pytest.mark.parametrize("words", [(), ("run",), ("check",), ("weights", "fetch"), ("train", "decoder")])
def test_help_loads_neither_numpy_nor_anything_heavy(words: tuple[str, ...]) -> None:
    code = f"from img2mv3d.cli.app import app\ntry: app([*{words!r}, '--help'])\nexcept SystemExit: pass"
    assert loaded(code, "numpy", *SLOW, *HEAVY) == []


def test_the_check_of_loaded_modules_can_fail() -> None:
    assert loaded("import PIL", *HEAVY) == ["PIL"]


RUN = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from img2mv3d.flow import inputs, pipeline
from img2mv3d.plans import Plan
from img2mv3d.flow.entry import Source
from img2mv3d.flow.store import Store
inputs.matting_digest = lambda remover: None
class Bundle:
    name, digest, framing_px, licence, manifest = "fake", "0" * 64, 144, None, {{}}
    parts = staticmethod(lambda: ("unet",))
folder = Path({folder!r})
runners = {{}}
if {compute}:
    from tests.fakes import FakeRunners
    runners = FakeRunners().table()
source, store = Source("photo", folder / "photo.png"), Store(folder / "cache")
pipeline.run(source, folder / {out!r}, Plan(), store=store, runners=runners, bundle=Bundle())
"""


@pytest.mark.parametrize("out", ["out", "elsewhere"])
def test_a_run_whose_every_stage_is_known_loads_nothing_heavy(tmp_path: Path, out: str) -> None:
    (tmp_path / "photo.png").write_bytes(b"a photo")
    first = RUN.format(root=str(ROOT), folder=str(tmp_path), out="out", compute=True)
    again = RUN.format(root=str(ROOT), folder=str(tmp_path), out=out, compute=False)
    assert "torch" in loaded(first, *HEAVY)
    assert loaded(again, *HEAVY) == []
