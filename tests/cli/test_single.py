"""One stage on its own: what it takes, and where `export` finds a run when nobody names one."""

from pathlib import Path

import pytest

from img2mv3d.cli.single import run_here
from img2mv3d.errors import InputError
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
