"""A run's folder: another input never costs a finished run, and two runs never share a folder."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from img2mv3d.errors import PhotoError, UsageError
from img2mv3d.files.durable import digest_file
from img2mv3d.flow.entry import Source, source_of
from img2mv3d.flow.graph import STAGES
from img2mv3d.flow.run_folder import LOCK, RunFolder, held
from img2mv3d.plans import ExportOptions, Plan
from tests.conftest import Workshop
from tests.folders import contents

EVERY = dict.fromkeys(STAGES, 1)


def finished(workshop: Workshop) -> dict[str, str]:
    """A finished run, and another photo in the place of its own."""
    workshop.run()
    before = contents(workshop.out)
    workshop.photo.write_bytes(b"another photo")
    return before


def below(folder: Path, name: str) -> dict[str, str]:
    return {n.removeprefix(f"{name}/"): d for n, d in contents(folder).items() if n.startswith(f"{name}/")}


def test_another_photo_sets_the_finished_run_aside_as_a_whole(workshop: Workshop) -> None:
    before = finished(workshop)
    workshop.run()
    assert workshop.runners.calls == EVERY and below(workshop.out, "previous-1") == before
    assert any("previous-1" in note and "photo.png" in note for note in workshop.told.notes)
    workshop.photo.write_bytes(b"a third photo")
    workshop.run()
    assert below(workshop.out, "previous-1") == before and (workshop.out / "previous-2" / "mesh.glb").exists()


def test_what_was_set_aside_is_a_run_that_goes_on(workshop: Workshop) -> None:
    finished(workshop)
    workshop.run()
    workshop.run(source_of(workshop.out / "previous-1"), plan=Plan(export=ExportOptions(faces=500)))
    assert workshop.runners.calls == {"export": 1}


def test_an_edit_goes_along_with_its_run(workshop: Workshop) -> None:
    workshop.run()
    (workshop.out / "views" / "color_back.png").write_bytes((workshop.out / "subject.png").read_bytes())
    edited = digest_file(workshop.out / "views" / "color_back.png")
    workshop.photo.write_bytes(b"another photo")
    workshop.run()
    assert workshop.runners.calls == EVERY
    assert digest_file(workshop.out / "previous-1" / "views" / "color_back.png") == edited


def test_nothing_moves_before_the_first_stage_of_the_new_photo_stands(workshop: Workshop) -> None:
    before = finished(workshop)

    def broken(*_: Any, **__: Any) -> None:
        raise PhotoError("cannot be read")

    workshop.runners.prepare = broken  # type: ignore[method-assign]
    with pytest.raises(PhotoError):
        workshop.run()
    with pytest.raises(UsageError):
        workshop.run(plan=Plan(device="gpu"))
    assert contents(workshop.out) == before and workshop.told.notes == []
    del workshop.runners.prepare
    workshop.photo.write_bytes(b"a photo")
    workshop.run()
    assert not workshop.runners.calls and contents(workshop.out) == before


def test_a_later_failure_costs_nothing_either(workshop: Workshop) -> None:
    before = finished(workshop)

    def broken(*_: Any, **__: Any) -> None:
        raise PhotoError("no more")

    workshop.runners.generate = broken  # type: ignore[method-assign]
    with pytest.raises(PhotoError):
        workshop.run()
    assert below(workshop.out, "previous-1") == before


def test_killed_anywhere_while_it_is_set_aside_nothing_is_lost(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    before = finished(workshop)
    real, limit, ended = (os.replace, os.rename), 0, False

    def counted(move: Any) -> Any:
        def step(*words: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            move(*words)

        return step

    while not ended:
        left = limit = limit + 1
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", counted(real[0]))
            patched.setattr(os, "rename", counted(real[1]))
            try:
                workshop.run(until="prepare")
                ended = True
            except Killed:
                pass
        everywhere = contents(workshop.out)
        for name, digest in before.items():
            assert digest in (everywhere.get(name), everywhere.get(f"previous-1/{name}")), name
    assert limit > 8 and not (workshop.out / "previous-2").exists()
    assert below(workshop.out, "previous-1") == before


@pytest.mark.parametrize("name", ["subject.png", "views/color_left.png", "views/../subject_full.png"])
def test_a_file_of_the_run_is_no_photo_for_the_same_folder(workshop: Workshop, name: str) -> None:
    workshop.run()
    before = contents(workshop.out)
    for source in (Source("photo", workshop.out / name), Source("photo", workshop.photo, mask=workshop.out / name)):
        with pytest.raises(UsageError, match=r"is a file of the run in .*; use --from .*, or -o another folder"):
            workshop.run(source)
    assert contents(workshop.out) == before
    workshop.run(Source("photo", workshop.out / name), out=workshop.folder / "other")
    assert workshop.runners.calls == EVERY


def test_a_photo_that_lies_beside_the_results_is_a_photo(workshop: Workshop) -> None:
    own = workshop.out / "cup.png"
    workshop.out.mkdir()
    own.write_bytes(b"a cup")
    workshop.run(Source("photo", own))
    assert workshop.runners.calls == EVERY and own.read_bytes() == b"a cup"


def test_a_second_run_in_the_same_folder_is_refused_and_harms_nothing(workshop: Workshop) -> None:
    begun, go_on, ends = threading.Event(), threading.Event(), []
    real = workshop.runners.depth

    def slow(*words: Any, **more: Any) -> Any:
        begun.set()
        go_on.wait(20)
        return real(*words, **more)

    workshop.runners.depth = slow  # type: ignore[method-assign]
    first = threading.Thread(target=lambda: ends.append(workshop.run()))
    first.start()
    assert begun.wait(20)
    other = workshop.folder / "other.png"
    other.write_bytes(b"another photo")
    try:
        with pytest.raises(UsageError, match="another run is at work in this folder"):
            workshop.run(Source("photo", other))
    finally:
        go_on.set()
        first.join(20)
    assert ends and ends[0].path.is_file() and not (workshop.out / "previous-1").exists()
    assert not (workshop.out / LOCK).exists()


def test_where_locks_do_not_work_a_run_goes_on(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    import filelock

    def without(*_: Any, **__: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(filelock.FileLock, "acquire", without)
    with held(workshop.out):
        assert workshop.out.is_dir()


def test_a_run_is_carried_on_in_another_folder(workshop: Workshop) -> None:
    workshop.run(plan=Plan(seed=3))
    before, other = contents(workshop.out), workshop.folder / "other"
    workshop.cached = False
    result = workshop.run(source_of(workshop.out), Plan(export=ExportOptions(format="obj")), out=other)
    assert workshop.runners.calls == {"export": 1} and result.path == other / "mesh.obj"
    copied = contents(other)
    assert {n: copied[n] for n in before if not n.startswith("mesh")} == {
        n: d for n, d in before.items() if not n.startswith("mesh")
    }
    workshop.run(source_of(workshop.out), out=workshop.folder / "decoded", until="decode")
    assert workshop.runners.calls == {"decode": 1} and contents(workshop.out) == before
    assert not (workshop.folder / "decoded" / "mesh.glb").exists()


def test_an_edit_goes_along_into_another_folder_and_is_no_entry_of_the_cache(workshop: Workshop) -> None:
    workshop.run()
    for name in ("color_left", "color_right"):
        (workshop.out / "views" / f"{name}.png").write_bytes((workshop.out / "plain" / "color_back.png").read_bytes())
        edited = digest_file(workshop.out / "views" / f"{name}.png")
        workshop.run(source_of(workshop.out), out=workshop.folder / "other")
        assert digest_file(workshop.folder / "other" / "views" / f"{name}.png") == edited
        assert workshop.runners.calls == {"reconstruct": 1, "export": 1}
    assert workshop.store.verify()[1:] == ([], [])
    workshop.run(out=workshop.folder / "third")
    assert digest_file(workshop.folder / "third" / "views" / "color_left.png") != edited


def test_another_run_carried_into_the_same_folder_sets_the_first_aside(workshop: Workshop) -> None:
    workshop.run()
    workshop.photo.write_bytes(b"another photo")
    second, other = workshop.folder / "second", workshop.folder / "other"
    workshop.run(out=second)
    workshop.run(source_of(workshop.out), out=other)
    before = contents(other)
    workshop.run(source_of(workshop.out), out=other)
    assert contents(other) == before and not workshop.runners.calls
    workshop.run(source_of(second), out=other)
    assert below(other, "previous-1") == before


def test_who_only_reads_a_run_harms_nothing_that_is_at_work(workshop: Workshop) -> None:
    workshop.run()
    draft = RunFolder(workshop.out, workshop.told.note).draft()
    RunFolder(workshop.out, workshop.told.note)
    assert draft.is_dir()
    workshop.run()
    assert not draft.exists()


def test_words_are_paths(tmp_path: Path) -> None:
    """In a process of its own: types are not checked there, as with users."""
    Image.new("RGB", (64, 64), "white").save(tmp_path / "cup.png")
    code = "from img2mv3d import PLANS, Source, run; run(Source('photo', 'cup.png'), 'out', PLANS['draft'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("img2mv3d.errors.NothingFoundError"), done.stderr


def test_paint_on_a_view_reaches_the_mesh_from_wherever_the_run_goes_on(workshop: Workshop) -> None:
    workshop.run()
    seen: list[Any] = []
    real = workshop.runners.export

    def export(context: Any, views: Any, **more: Any) -> Any:
        seen.append(views.painted)
        return real(context, views=views, **more)

    workshop.runners.export = export  # type: ignore[method-assign]
    path = workshop.out / "views" / "color_left.png"
    picture = Image.open(path).convert("RGBA")
    picture.paste((0, 255, 0, 255), (10, 10, 14, 14))
    picture.save(path)
    second, third = workshop.folder / "second", workshop.folder / "third"
    for begin, out in ((None, workshop.out), (workshop.out, second), (second, third), (workshop.out / "views", third)):
        source = Source("photo", workshop.photo) if begin is None else source_of(begin)
        workshop.run(source, out=out, plan=Plan(export=ExportOptions(faces=500 + len(str(out)))))
        assert [[int(one.sum()) for one in painted] for painted in seen] == [[0, 0, 0, 0, 16, 0]]
        seen.clear()
    path.unlink()
    workshop.run()
    assert seen in ([], [None])
