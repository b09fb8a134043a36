"""A picture in memory becomes a mesh in memory: every kind of picture, no file, no mixing of threads."""

import asyncio
import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from img2mv3d.bundles import weights
from img2mv3d.errors import PhotoError
from img2mv3d.flow import runners
from img2mv3d.flow.photo import Pipeline, file_of, reconstruct_photo
from img2mv3d.plans import PLANS
from tests.conftest import Workshop
from tests.fakes import FakeBundle, numbers
from tests.toys import toy_bundle


class Box:
    """A mesh whose size tells what it was made of."""

    warnings = ("a box",)

    def __init__(self, side: float) -> None:
        self.side = side

    def save(self, folder: Path) -> None:
        (folder / "mesh.glb").write_bytes(trimesh.creation.box((self.side,) * 3).export(file_type="glb"))
        (folder / "mesh.json").write_text("{}")


@pytest.fixture
def pipeline(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    for name, stage in workshop.runners.table().items():
        monkeypatch.setattr(runners, name, stage)

    def export(context: Any, surface: Any, **more: Any) -> Box:
        return Box(1 + float(numbers(surface.sdf).random()))

    monkeypatch.setattr(runners, "export", export)
    monkeypatch.setattr(weights, "load_bundle", lambda name: FakeBundle(str(name)))
    return Pipeline("fake")


def picture(shade: int) -> Image.Image:
    return Image.new("RGB", (40, 30), (shade, 80, 80))


def png(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, format="PNG")
    return sink.getvalue()


def test_the_result_is_in_memory_and_nothing_is_left_on_disk(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    result = pipeline(picture(1))
    assert isinstance(result.mesh, trimesh.Trimesh) and len(result.mesh.faces) == 12
    assert result.views.color.shape == (6, 32, 32, 3) and result.depth.z.shape == (6, 32, 32)
    assert "a box" in result.warnings and result.subject.image.shape == (256, 256, 4)
    assert list(place.iterdir()) == []


def test_files_are_kept_where_somebody_asks(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline(picture(1), out=tmp_path / "kept")
    assert (tmp_path / "kept" / "mesh.glb").exists() and (tmp_path / "kept" / "run.json").exists()


def test_every_kind_of_picture_is_taken_as_it_is(tmp_path: Path) -> None:
    image = picture(3)
    image.save(tmp_path / "a.png")
    assert file_of(tmp_path / "a.png", tmp_path / "x") == file_of(str(tmp_path / "a.png"), tmp_path / "x")
    array = np.asarray(image)
    array.flags.writeable = False
    for given in (png(image), image, array, array[..., 0], np.dstack([array, array[..., :1]])):
        with Image.open(file_of(given, tmp_path / "x")) as found:
            assert found.size == (40, 30)
    with Image.open(file_of(array, tmp_path / "x")) as found:
        assert np.array_equal(np.asarray(found), array)


def test_a_picture_of_pil_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    turned = picture(3)
    exif = turned.getexif()
    exif[0x0112] = 6
    sink = io.BytesIO()
    turned.save(sink, format="JPEG", exif=exif)
    with Image.open(file_of(Image.open(sink), tmp_path / "x")) as found:
        assert found.size == (30, 40)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(1000, np.uint8), "one dimension"),
        (np.zeros((30, 40, 3), np.float32), "float32 is ambiguous"),
        (np.zeros((3, 30, 40), np.uint8), "height x width"),
        (np.zeros((2, 30, 40, 3), np.uint8), "expected"),
        (None, "NoneType"),
        (object(), "no picture"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(array: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match=words) as error:
        file_of(array, tmp_path / "x")
    assert "\n" not in str(error.value)


def test_threads_on_one_pipeline_get_what_they_get_alone(pipeline: Pipeline) -> None:
    alone = [pipeline(picture(n)).mesh.extents[0] for n in range(10)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda n: pipeline(picture(n)).mesh.extents[0], range(10)))
    assert together == alone and len(set(alone)) == 10


def test_a_call_leaves_the_process_as_it_was(pipeline: Pipeline) -> None:
    import logging
    import os
    import signal
    import threading

    def state() -> Any:
        loggers = {name: logging.getLogger(name).level for name in ("", "PIL", "trimesh")}
        drawn = np.random.get_state()[1].tolist()  # noqa: NPY002 - the one that others share
        return (
            loggers,
            dict(os.environ),
            drawn,
            signal.getsignal(2),
        )  # Python's own is drawn from by the tests' beartype

    before, found = state(), []
    thread = threading.Thread(target=lambda: found.append(pipeline(picture(5))))
    thread.start()
    thread.join()
    assert found and state() == before


def test_the_function_is_a_pipeline_for_one_photo(pipeline: Pipeline) -> None:
    first = reconstruct_photo(png(picture(7)), bundle="fake", plan=PLANS["draft"])
    assert first.mesh.extents[0] == pipeline(png(picture(7)), plan=PLANS["draft"]).mesh.extents[0]


def test_inside_of_a_running_loop_a_call_simply_blocks(pipeline: Pipeline) -> None:
    async def notebook() -> Any:
        return pipeline(picture(8)), await asyncio.to_thread(pipeline, picture(8))

    first, second = asyncio.run(notebook())
    assert first.mesh.extents[0] == second.mesh.extents[0]


@pytest.mark.slow
def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    """Whoever spawns a process runs the user's script again in it."""
    bundle = toy_bundle(tmp_path / "toy").folder
    picture(9).save(tmp_path / "cup.png")
    plan = "replace(img2mv3d.PLANS['draft'], seed=1)"
    script = f"from dataclasses import replace\nimport img2mv3d\nprint('begun')\np = {plan}\n"
    script += f"try:\n    img2mv3d.reconstruct_photo('cup.png', bundle={str(bundle)!r}, plan=p)\n"
    script += "except img2mv3d.errors.Img2mv3dError as error:\n    print('no mesh:', error)\nprint('ended')\n"
    (tmp_path / "script.py").write_text(script.replace("import img2mv3d\n", "import img2mv3d, img2mv3d.errors\n"))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=env, capture_output=True, text=True)
    words = done.stdout.split("\n")
    assert (words.count("begun"), words.count("ended")) == (1, 1), done.stdout + done.stderr
