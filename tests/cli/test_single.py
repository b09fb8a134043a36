"""One stage on its own: what it takes, and where `export` finds a run when nobody names one."""

from pathlib import Path

import numpy as np
import pytest

from img2mv3d.cli.single import run_here
from img2mv3d.errors import InputError
from img2mv3d.flow import bare
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.framing import Framing
from img2mv3d.values import Latents, Subject
from tests.cli.conftest import Run
from tests.conftest import Workshop


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["prepare", "out"], "prepare takes a photo; out is a run's folder"),
        (["decode", "out/surface.npz"], "decode takes latents.pt or depth.npz or a folder of views or a run's folder"),
        (["generate", "out/latents.pt"], "; out/latents.pt is latents.pt"),
        (["export", "photo.png"], "photo.png is a photo; `img2mv3d run photo.png --until export` starts from a photo"),
        (["export", "out/latents.pt.txt"], "out/latents.pt.txt is none of these"),
    ],
)
def test_a_stage_says_what_it_takes(img2mv3d: Run, workshop: Workshop, words: list[str], says: str) -> None:
    img2mv3d("run", "photo.png")
    Path("out/latents.pt.txt").write_text("notes")
    result = img2mv3d(*words)
    assert result.exit_code == 2 and says in result.stderr


def test_export_without_a_folder_needs_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no run in out/ or here"):
        run_here()
    (tmp_path / "surface.npz").write_text("")
    assert run_here() == Path()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "surface.npz").write_text("")
    assert run_here() == Path("out")


def test_a_bare_tensor_is_decoded_with_its_photo(
    img2mv3d: Run, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {}

    def adopt(path: Path, photo: Path, rig: str | None, bundle: object, **more: object) -> tuple[Latents, Subject]:
        told.update(path=path, photo=photo, rig=rig, **more)
        image = np.zeros((256, 256, 4), np.uint8)
        latents = Latents(np.zeros((6, 4, 32, 32), np.float32), None, image, SIX_VIEWS, 144, {"name": "sd-1.x"}, "x", 0)
        return latents, Subject(image, image, Framing((1.0, 1.0), (0.0, 0.0), 144))

    monkeypatch.setattr(bare, "adopt", adopt)
    result = img2mv3d("decode", "tensor.npy", "--photo", "photo.png", "--unscaled", "--rig", "rig.json", "-o", "better")
    assert result.exit_code == 0, result.output
    assert told["photo"] == Path("photo.png") and told["unscaled"] is True and told["rig"] == "rig.json"
    assert (workshop.folder / "better" / "foreign" / "latents.pt").exists()
    assert result.stdout.strip() == str(workshop.folder / "better" / "views")
    assert "colours of 6 views" in result.stderr


def test_what_goes_with_a_bare_tensor_is_no_use_without_its_photo(img2mv3d: Run, workshop: Workshop) -> None:
    result = img2mv3d("decode", "tensor.npy", "--unscaled")
    assert result.exit_code == 2 and "--photo" in result.stderr
