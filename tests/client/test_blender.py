"""The Blender add-on: its thread never touches bpy, Esc cancels, and a server that cannot help is one line."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.client.fake_bpy import FakeBpy
from tests.client.other_servers import dead, foreign, silent
from tests.finished import finished_run
from tests.serve.served import Served, picture, wait_for
from tests.serve.works_of_page import Finished

ROOT = Path(__file__).parents[2]
ADDON = ROOT / "examples" / "blender" / "img2mv3d_addon.py"
OTHERS = {"dead": (dead, "no answer"), "silent": (silent, "none within 0.5 s"), "foreign": (foreign, "another program")}
REAL = Path(os.environ.get("IMG2MV3D_BPY") or ROOT / ".venv-bpy" / "bin" / "python")  # with PyPI's bpy; make addon-test


@pytest.fixture
def bpy(monkeypatch: pytest.MonkeyPatch) -> FakeBpy:
    fake = FakeBpy()
    monkeypatch.setitem(sys.modules, "bpy", fake)
    return fake


@pytest.fixture
def addon(bpy: FakeBpy, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("img2mv3d_addon", ADDON)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PAUSE", 0.05)
    return module


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    server = Served(tmp_path_factory.mktemp("runs")).ready()
    yield server
    server.end()


def begun(addon: ModuleType, bpy: FakeBpy, address: str, photo: Path, **more: Any) -> tuple[Any, Any]:
    """An operator that runs, and its context."""
    given = {"filepath": str(photo), "quality": "draft", "seed": 0, "size_mm": 0.0, **more}
    operator, context = addon.RECONSTRUCT_OT_img2mv3d(**given), bpy.context(addon.__name__, address)
    assert operator.execute(context) == {"RUNNING_MODAL"}
    return operator, context


def ended(operator: Any, context: Any) -> set[str]:
    """What the operator says at last, when Blender's timer asks it again and again."""
    end = time.monotonic() + 20
    while (found := operator.modal(context, SimpleNamespace(type="TIMER"))) == {"RUNNING_MODAL"}:
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_a_photo_becomes_an_object_and_only_the_main_thread_touches_blender(
    addon: ModuleType, bpy: FakeBpy, server: Served, tmp_path: Path
) -> None:
    (tmp_path / "cup.png").write_bytes(picture(1))
    operator, context = begun(addon, bpy, server.address, tmp_path / "cup.png", seed=3)
    assert operator.modal(context, SimpleNamespace(type="MOUSEMOVE")) == {"PASS_THROUGH"}
    assert ended(operator, context) == {"FINISHED"}
    assert bpy.imported == [b"mesh.glb seed 3 0 " + picture(1)] and bpy.scene.objects[0].name == "cup"
    assert any("cutting (Esc cancels)" in (line or "") for line in context.workspace.told)
    assert context.workspace.told[-1] is None and bpy.strangers == []


def test_esc_cancels_at_once_here_and_soon_at_the_server(
    addon: ModuleType, bpy: FakeBpy, server: Served, tmp_path: Path
) -> None:
    (tmp_path / "cup.png").write_bytes(picture(2))
    operator, context = begun(addon, bpy, server.address, tmp_path / "cup.png", seed=100)
    wait_for(lambda: [r for r in server.ask("GET", "/runs").json if r["options"]["seed"] == 100])
    started = time.monotonic()
    assert operator.modal(context, SimpleNamespace(type="ESC")) == {"CANCELLED"}
    assert time.monotonic() - started < 0.1 and operator.said == [("WARNING", "img2mv3d: cancelled")]
    wait_for(lambda: not [r for r in server.ask("GET", "/runs").json if r["options"]["seed"] == 100], 5)
    assert bpy.imported == []


@pytest.mark.parametrize("kind", OTHERS)
def test_a_server_that_cannot_help_is_one_line(
    addon: ModuleType, bpy: FakeBpy, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addon, "PATIENCE", 0.5 if kind == "silent" else 20.0)
    (tmp_path / "cup.png").write_bytes(picture(3))
    other, words = OTHERS[kind]
    with other() as address:
        operator, context = begun(addon, bpy, address, tmp_path / "cup.png")
        assert ended(operator, context) == {"CANCELLED"}
    ((level, line),) = operator.said
    assert level == "ERROR" and words in line and address in line and "\n" not in line


def test_what_the_server_or_the_disk_refuses_is_said_in_its_words(
    addon: ModuleType, bpy: FakeBpy, server: Served, tmp_path: Path
) -> None:
    (tmp_path / "not.png").write_text("no picture")
    for photo, words in (("not.png", "cannot be read as a picture"), ("gone.png", "No such file")):
        operator, context = begun(addon, bpy, server.address, tmp_path / photo)
        assert ended(operator, context) == {"CANCELLED"} and words in operator.said[0][1]


SCRIPT = """
import json, sys
import bpy
addon, photo, addresses = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.preferences.addon_install(filepath=addon)
bpy.ops.preferences.addon_enable(module="img2mv3d_addon")
where = bpy.context.preferences.addons["img2mv3d_addon"].preferences
said = {}
for kind, address in addresses.items():
    sys.modules["img2mv3d_addon"].PATIENCE = 0.5 if kind == "silent" else 20.0
    where.address = address
    try:
        bpy.ops.import_scene.img2mv3d(filepath=photo, quality="draft")
    except RuntimeError as error:
        said[kind] = str(error).strip()
meshes = [(o.name, len(o.data.polygons)) for o in bpy.context.scene.objects if o.type == "MESH"]
bpy.ops.preferences.addon_disable(module="img2mv3d_addon")
print("TOLD " + json.dumps({"said": said, "meshes": meshes, "left": hasattr(bpy.types, "VIEW3D_PT_img2mv3d")}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason="no Blender here: `make addon-test` installs PyPI's bpy into .venv-bpy")
def test_in_blender_itself_without_a_window(tmp_path: Path) -> None:
    server = Served(tmp_path / "runs", work=Finished(finished_run(tmp_path))).ready()
    (tmp_path / "ring.png").write_bytes(picture(4, 64))
    env = {**os.environ, "BLENDER_USER_RESOURCES": str(tmp_path / "blender")}
    env.pop("PYTHONPATH", None)
    with dead() as nobody, silent() as mute, foreign() as other:
        addresses = json.dumps({"dead": nobody, "silent": mute, "foreign": other, "ours": server.address})
        words = [REAL, "-c", SCRIPT, ADDON, tmp_path / "ring.png", addresses]
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=env, timeout=300)
    server.end()
    line = next((line for line in done.stdout.splitlines() if line.startswith("TOLD ")), None)
    assert line is not None, done.stdout + done.stderr
    told = json.loads(line.removeprefix("TOLD "))
    assert set(told["said"]) == set(OTHERS), told
    assert all(OTHERS[kind][1] in text and "\n" not in text for kind, text in told["said"].items()), told
    ((name, count),) = told["meshes"]
    assert name == "ring" and count > 500 and not told["left"]
