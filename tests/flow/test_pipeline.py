"""The flow: computed once, mended when damaged, edited files honoured, nobody's files lost, killed at any moment."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from img2mv3d.errors import InputError, PhotoError, ResourceError, UsageError, WeightsError
from img2mv3d.files.durable import digest_file
from img2mv3d.flow.entry import Source, source_of
from img2mv3d.flow.graph import GRAPH, STAGES
from img2mv3d.plans import DecodeOptions, ExportOptions, GenerateOptions, Plan, ShapeOptions
from img2mv3d.values import Latents
from tests.conftest import Workshop
from tests.fakes import FakeBundle
from tests.folders import KINDS, contents, flip, one_of_each_kind

ROOT = Path(__file__).parents[2]
EVERY = dict.fromkeys(STAGES, 1)


def paint(path: Path) -> None:
    """An edit: another picture of the same size, with transparency."""
    with Image.open(path) as picture:
        size = picture.size
    Image.new("RGBA", size, (9, 99, 9, 200)).save(path)


def test_the_files_of_the_table_stand_under_out(workshop: Workshop) -> None:
    result = workshop.run()
    assert set(one_of_each_kind(contents(workshop.out))) == KINDS
    assert result.path == workshop.out / "mesh.glb" and result.path.is_absolute()
    assert result.warnings == ("cut", "hull")
    assert workshop.runners.calls == EVERY


def test_the_photo_itself_goes_to_decode_for_larger_views_alone(workshop: Workshop) -> None:
    given = []
    decode = workshop.runners.decode

    def noted(*words: Any, subject: Any = None, **told: Any) -> Any:
        given.append(subject is not None)
        return decode(*words, **told)

    workshop.runners.decode = noted
    workshop.run()
    workshop.run(plan=Plan(decode=DecodeOptions(resolution=512)))
    assert given == [False, True]


def test_run_json_tells_everything(workshop: Workshop) -> None:
    workshop.run(plan=Plan(seed=5))
    record = json.loads((workshop.out / "run.json").read_text())
    assert record["seed"] == 5 and record["device"] in ("cpu", "cuda") and record["version"] == "0.1.0"
    assert record["settings"]["export"]["faces"] == 20_000 and record["source"]["name"] == "photo.png"
    for stage in STAGES:
        assert record["stages"][stage]["seconds"] >= 0 and record["stages"][stage]["peak_bytes"] > 10**6
    files = {name: facts["sha256"] for name, facts in record["files"].items()}
    assert files == contents(workshop.out)


def test_the_second_run_computes_nothing(workshop: Workshop) -> None:
    workshop.run()
    before = contents(workshop.out)
    result = workshop.run()
    assert not workshop.runners.calls and set(workshop.told.how.values()) == {"kept"}
    assert contents(workshop.out) == before and result.warnings == ("cut", "hull")


def test_another_folder_is_filled_from_the_cache(workshop: Workshop) -> None:
    workshop.run()
    result = workshop.run(out=workshop.folder / "second")
    assert not workshop.runners.calls and set(workshop.told.how.values()) == {"cached"}
    assert contents(workshop.folder / "second") == contents(workshop.out) and result.warnings == ("cut", "hull")


def test_without_cache_the_same_files_come_out(workshop: Workshop) -> None:
    workshop.run()
    before = contents(workshop.out)
    workshop.cached = False
    workshop.run(out=workshop.folder / "second")
    assert workshop.runners.calls == EVERY and contents(workshop.folder / "second") == before


def test_an_option_redoes_its_stage_and_what_depends_on_it(workshop: Workshop) -> None:
    workshop.run()
    workshop.run(plan=Plan(export=ExportOptions(faces=500)))
    assert workshop.runners.calls == {"export": 1}
    workshop.run(plan=Plan(generate=GenerateOptions(steps=3)))
    assert workshop.runners.calls == {s: 1 for s in STAGES[1:]}
    workshop.run()
    assert not workshop.runners.calls


def test_a_photo_of_the_back_redoes_what_shows_it_and_nothing_else(workshop: Workshop) -> None:
    workshop.run()
    behind = workshop.folder / "behind.png"
    behind.write_bytes(b"its back")
    both = Source("photo", workshop.photo, back=behind)
    result = workshop.run(both)
    assert workshop.runners.calls == {"back": 1, "decode": 1, "reconstruct": 1, "export": 1}
    assert result.warnings == ("cut", "behind", "hull")
    with_it = contents(workshop.out)
    workshop.run(both)
    assert not workshop.runners.calls and contents(workshop.out) == with_it
    behind.write_bytes(b"another back")
    workshop.run(both)
    assert workshop.runners.calls == {"back": 1, "decode": 1, "reconstruct": 1, "export": 1}


def test_a_run_of_the_photo_alone_forgets_the_back_and_a_run_s_folder_keeps_it(workshop: Workshop) -> None:
    workshop.run()
    alone = contents(workshop.out)
    behind = workshop.folder / "behind.png"
    behind.write_bytes(b"its back")
    workshop.run(Source("photo", workshop.photo, back=behind))
    behind.unlink()
    workshop.run(Source("run", workshop.out), plan=Plan(export=ExportOptions(faces=500)))
    assert workshop.runners.calls == {"export": 1} and (workshop.out / "back" / "subject.png").exists()
    (workshop.out / "back" / "subject.png").write_bytes((workshop.out / "subject.png").read_bytes())
    workshop.run(Source("run", workshop.out))
    assert set(workshop.runners.calls) == {"decode", "reconstruct", "export"}  # painted in: taken as it is
    workshop.run()
    assert not workshop.runners.calls and not (workshop.out / "back" / "subject.png").exists()
    after = contents(workshop.out)
    assert {n for n in after if not n.startswith("set-aside")} == set(alone)
    assert any(n.endswith("back/subject.png") for n in after)  # the painted one was not ours to delete


def test_seed_and_weights_are_part_of_what_they_change_only(workshop: Workshop) -> None:
    workshop.run()
    workshop.run(plan=Plan(seed=1))
    assert "prepare" not in workshop.runners.calls and "generate" in workshop.runners.calls
    workshop.run(bundle=FakeBundle(digest="1" * 64))
    assert set(workshop.runners.calls) >= {"generate", "depth", "decode"} and "prepare" not in workshop.runners.calls


def test_a_raised_version_redoes_the_stage(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.run()
    monkeypatch.setitem(GRAPH, "export", replace(GRAPH["export"], version=99))
    workshop.run()
    assert workshop.runners.calls == {"export": 1}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_flipped_bit_in_the_cache_is_mended_from_out_or_computed_anew(workshop: Workshop, kind: str) -> None:
    workshop.run()
    before = contents(workshop.out)
    name = one_of_each_kind(before)[kind]
    (victim,) = [e for e in workshop.store.entries() if name in e.files]
    stored = workshop.folder / "cache" / "entries" / victim.key[:2] / victim.key / "files" / name
    flip(stored)
    workshop.run()
    assert not workshop.runners.calls and any("damaged" in note for note in workshop.told.notes)
    assert workshop.store.holds(victim.key)
    flip(stored)
    workshop.run(out=workshop.folder / "second")
    assert workshop.runners.calls == {victim.stage: 1} and any("damaged" in note for note in workshop.told.notes)
    assert contents(workshop.out) == contents(workshop.folder / "second") == before


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_flipped_bit_under_out_is_said_and_undone_by_deleting_the_file(workshop: Workshop, kind: str) -> None:
    workshop.run()
    before = contents(workshop.out)
    name = one_of_each_kind(before)[kind]
    flip(workshop.out / name)
    stage = json.loads((workshop.out / "run.json").read_text())["files"][name]["stage"]
    workshop.run(until=stage)
    assert not workshop.runners.calls and [n for n in workshop.told.notes if n.startswith(f"{name} was edited")]
    (workshop.out / name).unlink()
    workshop.run()
    assert not workshop.runners.calls and contents(workshop.out) == before


def test_a_lost_cache_is_filled_from_out(workshop: Workshop) -> None:
    workshop.run()
    workshop.store.prune(0)
    workshop.run()
    assert not workshop.runners.calls and len(workshop.store.entries()) == len(STAGES)


@pytest.mark.parametrize(
    ("name", "redone"),
    [
        ("subject.png", {"generate", "depth", "decode", "reconstruct", "export"}),
        ("plain/color_left.png", {"decode", "reconstruct", "export"}),
        ("views/color_front.png", {"reconstruct", "export"}),
    ],
)
def test_an_edited_file_is_honoured_and_only_what_depends_on_it_redone(
    workshop: Workshop, name: str, redone: set[str]
) -> None:
    workshop.run()
    before = contents(workshop.out)
    paint(workshop.out / name)
    edited = digest_file(workshop.out / name)
    workshop.run()
    assert set(workshop.runners.calls) == redone
    assert [n for n in workshop.told.notes if "edited" in n and name in n] == workshop.told.notes
    assert digest_file(workshop.out / name) == edited
    workshop.run()
    assert not workshop.runners.calls and workshop.told.notes
    (workshop.out / name).unlink()  # the way back
    workshop.run()
    assert not workshop.runners.calls and contents(workshop.out) == before


def test_an_edited_file_stays_while_settings_change(workshop: Workshop) -> None:
    workshop.run()
    paint(workshop.out / "views" / "color_back.png")
    edited = digest_file(workshop.out / "views" / "color_back.png")
    workshop.run(plan=Plan(seed=3))
    assert digest_file(workshop.out / "views" / "color_back.png") == edited
    assert set(workshop.runners.calls) == {"generate", "depth", "reconstruct", "export"}


def test_a_missing_file_beside_an_edited_one_comes_back(workshop: Workshop) -> None:
    workshop.run()
    before = contents(workshop.out)
    paint(workshop.out / "views" / "color_back.png")
    (workshop.out / "views" / "color_left.png").unlink()
    workshop.run()
    after = contents(workshop.out)
    assert after["views/color_left.png"] == before["views/color_left.png"]
    assert after["views/color_back.png"] != before["views/color_back.png"]


def test_a_shorter_run_on_another_photo_leaves_nothing_of_the_old(workshop: Workshop) -> None:
    workshop.run()
    workshop.photo.write_bytes(b"another photo")
    result = workshop.run(until="generate")
    assert result.path.name == "latents.pt"
    here = {name for name in contents(workshop.out) if not name.startswith("previous-1/")}
    assert here == {"subject.png", "subject_full.png", "prepare.json", "latents.pt"}


def test_files_that_are_not_ours_are_never_overwritten(workshop: Workshop) -> None:
    workshop.out.mkdir()
    (workshop.out / "mesh.glb").write_bytes(b"precious")
    workshop.run()
    assert (workshop.out / "set-aside-1" / "mesh.glb").read_bytes() == b"precious"
    assert any("mesh.glb" in note for note in workshop.told.notes)


def test_a_damaged_run_json_is_said_and_costs_nothing(workshop: Workshop) -> None:
    workshop.run()
    before = contents(workshop.out)
    flip(workshop.out / "run.json")
    workshop.run()
    assert not workshop.runners.calls and any("run.json" in note for note in workshop.told.notes)
    assert contents(workshop.out) == before


def test_formats_stand_side_by_side(workshop: Workshop) -> None:
    workshop.run()
    workshop.run(plan=Plan(export=ExportOptions(format="obj")))
    assert (workshop.out / "mesh.glb").exists() and (workshop.out / "mesh.obj").exists()
    assert workshop.run().path.name == "mesh.glb" and not workshop.runners.calls
    (workshop.out / "mesh.obj").write_bytes(b"edited")
    workshop.run()
    assert workshop.told.how["export"] == "kept"
    (workshop.out / "mesh.glb").write_bytes(b"edited")
    workshop.run()
    assert workshop.told.how["export"] == "edited" and (workshop.out / "mesh.glb").read_bytes() == b"edited"


def test_every_stage_can_be_the_last(workshop: Workshop) -> None:
    names = ("subject.png", "latents.pt", "depth.npz", "views", "surface.npz", "mesh.glb")
    for stage, name in zip(STAGES, names, strict=True):
        result = workshop.run(until=stage)
        assert result.path == workshop.out / name and result.path.exists()
        assert workshop.runners.calls == {stage: 1}


@pytest.mark.parametrize(
    ("name", "redone"),
    [
        ("subject.png", {"generate", "depth", "decode", "reconstruct", "export"}),
        ("latents.pt", {"depth", "decode", "reconstruct", "export"}),
        ("depth.npz", {"decode", "reconstruct", "export"}),
        ("views", {"reconstruct", "export"}),
        ("surface.npz", {"export"}),
    ],
)
def test_every_stages_file_can_be_the_first(workshop: Workshop, name: str, redone: set[str]) -> None:
    workshop.run()
    workshop.cached = False
    workshop.run(source_of(workshop.out / name), out=workshop.folder / "second")
    assert set(workshop.runners.calls) == redone
    first, second = contents(workshop.out), contents(workshop.folder / "second")
    assert first.pop("mesh.glb") != second.pop("mesh.glb")  # it tells what it knows of where it comes from
    assert second == first


def test_latents_alone_are_enough(workshop: Workshop) -> None:
    workshop.run()
    (workshop.folder / "alone").mkdir()
    lone = workshop.folder / "alone" / "chair.pt"
    lone.write_bytes((workshop.out / "latents.pt").read_bytes())
    result = workshop.run(Source("latents", lone, depth="neus"), out=workshop.folder / "second", until="decode")
    assert result.path == workshop.folder / "second" / "views"
    assert set(contents(workshop.folder / "second")) == {
        name for name in contents(workshop.out) if name.startswith(("latents", "plain", "depth", "coarse", "views"))
    }


def test_a_given_file_in_its_own_folder_is_not_touched(workshop: Workshop) -> None:
    workshop.run()
    workshop.out.joinpath("run.json").unlink()
    for name in ("subject.png", "subject_full.png", "prepare.json", "mesh.glb", "mesh.json"):
        (workshop.out / name).unlink()
    before = digest_file(workshop.out / "latents.pt")
    workshop.run(source_of(workshop.out / "latents.pt"), until="decode")
    assert digest_file(workshop.out / "latents.pt") == before and workshop.told.how["generate"] == "given"
    (workshop.out / "latents.pt").write_bytes(b"a person's own")
    workshop.run()  # a photo into the same folder
    assert (workshop.out / "set-aside-1" / "latents.pt").read_bytes() == b"a person's own"


def test_pictures_are_encoded_first(workshop: Workshop) -> None:
    workshop.run()
    pictures = workshop.folder / "six"
    (workshop.out / "views").rename(pictures)
    workshop.run(Source("pictures", pictures), out=pictures, until="decode")
    assert workshop.runners.calls == {"encode": 1, "depth": 1, "decode": 1}
    assert (pictures / "latents.pt").exists() and (pictures / "views" / "views.json").exists()
    assert (pictures / "color_front.png").exists()
    workshop.run(Source("pictures", pictures), out=pictures, until="decode")
    assert not workshop.runners.calls


def test_depth_can_come_from_elsewhere(workshop: Workshop) -> None:
    workshop.run()
    source = source_of(workshop.out / "latents.pt")
    workshop.run(replace(source, depth="none"), until="decode")
    assert workshop.runners.calls == {"depth": 1, "decode": 1}
    assert not (workshop.out / "coarse.npz").exists()  # of the fit that no longer counts
    np.savez(workshop.folder / "mine.npz", z=np.zeros((6, 32, 32)), hit=np.ones((6, 32, 32)))
    workshop.run(replace(source, depth=str(workshop.folder / "mine.npz")), until="decode")
    assert workshop.runners.calls == {"depth": 1, "decode": 1}
    workshop.run(source_of(workshop.out))  # a run's folder goes on from what stands there
    assert workshop.runners.calls == {"reconstruct": 1, "export": 1}


def test_a_runs_folder_goes_on_whatever_machine_made_it(workshop: Workshop) -> None:
    workshop.run(until="reconstruct")
    workshop.run(source_of(workshop.out), bundle=FakeBundle(digest="9" * 64), plan=Plan(seed=77))
    assert workshop.runners.calls == {"export": 1}
    paint(workshop.out / "views" / "color_left.png")
    workshop.run(source_of(workshop.out))
    assert workshop.runners.calls == {"reconstruct": 1, "export": 1}


def test_a_surface_alone_cannot_be_exported(workshop: Workshop) -> None:
    workshop.run(until="reconstruct")
    lone = workshop.folder / "lone"
    lone.mkdir()
    (workshop.out / "surface.npz").rename(lone / "surface.npz")
    with pytest.raises(InputError, match="export needs views"):
        workshop.run(source_of(lone / "surface.npz"), out=lone)


def test_a_missing_photo_leaves_no_folder(workshop: Workshop) -> None:
    with pytest.raises(PhotoError, match="no such file"):
        workshop.run(Source("photo", workshop.folder / "none.png"))
    assert not workshop.out.exists()


def test_impossible_wishes_are_refused(workshop: Workshop) -> None:
    with pytest.raises(UsageError, match="expected one of"):
        workshop.run(until="dream")
    workshop.run(until="decode")
    with pytest.raises(UsageError, match="nothing is left to do"):
        workshop.run(source_of(workshop.out / "views"), until="generate")
    workshop.photo.with_name("file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        workshop.run(out=workshop.photo.with_name("file"))


def test_a_failing_stage_leaves_no_trace_and_keeps_the_earlier_ones(workshop: Workshop) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise MemoryError

    workshop.runners.decode = broken  # type: ignore[method-assign]
    with pytest.raises(ResourceError, match="decode: not enough memory"):
        workshop.run()
    assert not [p for p in workshop.out.iterdir() if p.name.startswith(".")]
    del workshop.runners.decode
    workshop.run()
    assert set(workshop.runners.calls) == {"decode", "reconstruct", "export"}


@pytest.mark.parametrize("decoder", ["svd", "sd"])
def test_weights_that_were_asked_for_are_missed_before_all_the_work(workshop: Workshop, decoder: str) -> None:
    plan = Plan(decode=DecodeOptions(decoder=decoder))
    with pytest.raises(WeightsError, match=r"no weights of Stable .*Diffusion.s decoder; .*weights add DIR"):
        workshop.run(plan=plan)
    assert not workshop.runners.calls
    workshop.run(plan=plan, until="depth")  # where nothing is decoded, nothing is missed


def test_another_decoder_is_another_result(workshop: Workshop) -> None:
    workshop.run(until="decode")
    workshop.run(plan=Plan(decode=DecodeOptions(decoder="mini")), until="decode")
    assert workshop.runners.calls == {"decode": 1}
    told = json.loads((workshop.out / "run.json").read_text())["stages"]["decode"]["made_with"]["weights"]
    assert told["name"] == "mini" and len(told["digest"]) == 64


# --------------------------------------------------------------------------------------------- killed at any moment

KILLED = """
import os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from img2mv3d.flow import inputs, pipeline
from img2mv3d.plans import Plan
from img2mv3d.flow.entry import Source
from img2mv3d.flow.store import Store
from tests.fakes import FakeBundle, FakeRunners
inputs.matting_digest, os.fsync = lambda remover: None, lambda handle: None
folder = Path({folder!r})
print("ready", flush=True)
sys.stdin.readline()
pipeline.run(Source("photo", folder / "photo.png"), folder / "out", Plan(seed={seed}), store=Store(folder / "cache"),
             runners=FakeRunners().table(), bundle=FakeBundle())
"""


def killed_run(workshop: Workshop, after: float, seed: int) -> bool:
    """A run in a process of its own that is killed `after` seconds; True when it did not get to its end."""
    code = KILLED.format(root=str(ROOT), folder=str(workshop.folder), seed=seed)
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdin is not None and process.stdout is not None
    with process:
        process.stdout.readline()
        process.stdin.write(b"\n")
        process.stdin.flush()
        time.sleep(after)
        os.kill(process.pid, signal.SIGKILL)
    return process.returncode == -signal.SIGKILL


def kill_often(workshop: Workshop, times: int) -> None:
    workshop.run(out=workshop.folder / "undisturbed", plan=Plan(seed=1))
    wanted = contents(workshop.folder / "undisturbed")
    workshop.store.prune(0)
    rng = random.Random(0)
    for round_ in range(times):
        # every other time with another seed, so that files are being replaced, not only made
        killed_run(workshop, rng.uniform(0.0, 1.2), round_ % 2)
    workshop.run(plan=Plan(seed=1))
    assert contents(workshop.out) == wanted
    assert not [note for note in workshop.told.notes if "edited" in note or "not from this run" in note]
    assert not [p for p in workshop.out.iterdir() if p.name.startswith((".", "set-aside"))]
    assert workshop.store.verify()[1:] == ([], [])


def test_killed_at_a_few_moments_a_new_run_ends_the_same(workshop: Workshop) -> None:
    kill_often(workshop, 3)


@pytest.mark.slow
def test_killed_at_a_hundred_moments_a_new_run_ends_the_same(workshop: Workshop) -> None:
    kill_often(workshop, 100)


def test_killed_between_any_two_steps_on_disk_a_new_run_ends_the_same(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, without chance: every os.replace and os.rename in turn is the last thing that happens."""
    workshop.run(out=workshop.folder / "undisturbed", plan=Plan(seed=1))
    wanted = contents(workshop.folder / "undisturbed")
    workshop.run(plan=Plan(seed=0))

    class Killed(BaseException):
        pass

    steps, seed, limit = 0, 1, 0
    real_replace, real_rename = os.replace, os.rename

    def counted(real: Any) -> Any:
        def step(*words: Any) -> None:
            nonlocal steps
            steps += 1
            if steps > limit:
                raise Killed
            real(*words)

        return step

    ends = 0
    while ends < 2:
        limit, steps = limit + 2, 0
        workshop.store.prune(0) if limit % 3 == 1 else None
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", counted(real_replace))
            patched.setattr(os, "rename", counted(real_rename))
            try:
                workshop.run(plan=Plan(seed=seed))
                ends += 1
            except Killed:
                pass
        seed = 1 - seed
    workshop.run(plan=Plan(seed=1))
    assert contents(workshop.out) == wanted and limit >= 20
    assert not [note for note in workshop.told.notes if "edited" in note]


def test_killed_between_two_steps_in_a_runs_own_folder_the_mesh_still_says_what_it_is_made_with(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New latents of another seed are in their place, and run.json does not know of them yet."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    workshop.run()
    earlier = workshop.folder / "earlier"
    shutil.copytree(workshop.out, earlier)

    def again(out: Path) -> dict[str, str]:
        workshop.run(source_of(out), out=out, plan=Plan(seed=5))
        return contents(out)

    (workshop.out / "latents.pt").unlink()
    wanted = again(workshop.out)

    class Killed(BaseException):
        pass

    real, left = os.replace, 0

    def step(*words: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        real(*words)

    for steps in range(1, 7):  # run.json, the latents, run.json once more, and into the next stage
        out = workshop.folder / f"killed-{steps}"
        shutil.copytree(earlier, out)
        (out / "latents.pt").unlink()
        left = steps
        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(os, "replace", step)
            again(out)
        assert again(out) == wanted, f"killed before step {steps}"


def test_what_a_folder_never_had_is_not_made_when_later_results_are_there(workshop: Workshop) -> None:
    """Views from elsewhere beside a subject: latents would cost a network's time, and the mesh would name its seed."""
    workshop.run()
    for name in ("run.json", "latents.pt", "depth.npz", "coarse.npz", "mesh.glb", "mesh.json"):
        (workshop.out / name).unlink()
    workshop.run(source_of(workshop.out))
    assert workshop.runners.calls == {"export": 1} and not (workshop.out / "latents.pt").exists()


WITH_SHAPE = FakeBundle(has=("shape", "unet"))


def test_a_bundle_with_a_shape_network_begins_with_a_body(workshop: Workshop) -> None:
    workshop.run(bundle=WITH_SHAPE)
    assert workshop.runners.calls == {**EVERY, "shape": 1} and (workshop.out / "shape.npz").exists()
    workshop.run(bundle=WITH_SHAPE)
    assert not workshop.runners.calls


def test_lines_are_numbered_by_the_stages_that_the_run_goes_through(workshop: Workshop) -> None:
    def numbered(source: Source | None = None, **more: Any) -> list[tuple[str, int, int]]:
        workshop.run(source, **more)
        assert list(workshop.told.how) == [stage for stage, *_ in workshop.told.numbers]
        return workshop.told.numbers

    workshop.cached = False
    assert numbered() == [(stage, n, 6) for n, stage in enumerate(STAGES, 1)]
    with_body = [("prepare", 1, 4), ("shape", 2, 4), ("generate", 3, 4), ("depth", 4, 4)]
    assert numbered(bundle=WITH_SHAPE, until="depth", out=workshop.folder / "body") == with_body
    six = workshop.folder / "six"
    (workshop.out / "views").rename(six)
    assert numbered(Source("pictures", six), until="depth", out=six) == [("encode", 1, 2), ("depth", 2, 2)]


def test_another_depth_gives_another_body_and_all_that_follows(workshop: Workshop) -> None:
    workshop.run(bundle=WITH_SHAPE)
    before = contents(workshop.out)
    workshop.run(plan=Plan(shape=ShapeOptions(depth_ratio=0.3)), bundle=WITH_SHAPE)
    assert workshop.runners.calls == {**{s: 1 for s in STAGES[1:]}, "shape": 1}
    assert contents(workshop.out)["shape.npz"] != before["shape.npz"]


def test_a_run_without_a_body_forgets_the_former_one_and_stays_without(workshop: Workshop) -> None:
    workshop.run(bundle=WITH_SHAPE)
    workshop.run()
    assert not (workshop.out / "shape.npz").exists() and "shape" not in workshop.runners.calls
    workshop.run(source_of(workshop.out), bundle=WITH_SHAPE)
    assert not (workshop.out / "shape.npz").exists() and not workshop.runners.calls


def test_the_body_beside_latents_goes_with_them(workshop: Workshop) -> None:
    workshop.run(bundle=WITH_SHAPE)
    before = contents(workshop.out)
    other = workshop.folder / "other"
    workshop.run(source_of(workshop.out / "latents.pt"), out=other, bundle=WITH_SHAPE)
    assert contents(other)["depth.npz"] == before["depth.npz"] and (other / "shape.npz").exists()
    (workshop.out / "latents.pt").rename(workshop.folder / "latents.pt")
    workshop.run(source_of(workshop.folder / "latents.pt"), out=workshop.folder / "bare", bundle=WITH_SHAPE)
    assert not (workshop.folder / "bare" / "shape.npz").exists()
    assert contents(workshop.folder / "bare")["depth.npz"] != before["depth.npz"]


def test_latents_that_somebody_edited_overrule_the_body(workshop: Workshop) -> None:
    workshop.run(bundle=WITH_SHAPE)
    edited = Latents.load(workshop.out)
    edited.color[:] += 1
    edited.save(workshop.out)
    workshop.run(bundle=WITH_SHAPE)
    assert any("the body in shape.npz is ignored" in note for note in workshop.told.notes)
    assert workshop.runners.calls == {s: 1 for s in STAGES[2:]}
