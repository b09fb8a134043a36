"""Rows of figures: those that can be had, with their numbers."""

from pathlib import Path

import pytest

from img2mv3d.flow.graph import GRAPH
from img2mv3d.report.gather import gather
from img2mv3d.report.tables import figures, front_psnr, spent
from tests.finished import finished_run


def test_figures_compare_before_and_after(tmp_path: Path) -> None:
    story = gather(finished_run(tmp_path))
    rows = {label: number for label, number, _ in figures(story)}
    assert float(rows["Reprojection error, plain views"]) > float(rows["Reprojection error, cross-view views"]) > 0
    assert rows["Fitted outlines"] == "1.000" and rows["Photo on the mesh"] == "30%" and rows["Watertight"] == "yes"


def test_the_front_is_compared_where_sizes_allow(tmp_path: Path) -> None:
    from dataclasses import replace

    story = gather(finished_run(tmp_path))
    assert front_psnr(story, "views") is None  # 96 px against 256
    small = replace(story, subject=story.subject[1::3, 1::3][:96, :96])
    assert small.subject.shape != (96, 96, 4) or front_psnr(small, "views") > front_psnr(small, "plain")


def test_seconds_and_memory_are_those_of_the_computing() -> None:
    record = {
        "stages": {"export": {"seconds": 2.5, "peak_bytes": 1_250_000_000}, "decode": {"seconds": 1}, "odd": 3},
        "last": {"export": {"how": "cached"}, "decode": {"how": "computed"}},
    }
    assert spent(record) == [("decode", 1.0, "", ""), ("export", 2.5, "1.25 GB", "from the cache")]
    assert spent({}) == [] and spent({"stages": {"export": None}}) == []


def test_every_stage_of_the_flow_has_its_row_in_order() -> None:
    record = {"stages": {stage: {"seconds": 1.0} for stage in sorted(GRAPH)}}  # run.json sorts by name
    assert [stage for stage, *_ in spent(record)] == list(GRAPH) and "shape" in GRAPH


def test_a_story_without_views_has_the_figures_of_its_mesh(tmp_path: Path) -> None:
    out = finished_run(tmp_path)
    for name in ("views", "plain", "depth.npz"):
        (out / name).rename(tmp_path / name)
    assert [label for label, _, _ in figures(gather(out))] == ["Photo on the mesh", "Watertight"]
    assert pytest.approx(27.0) == sum(seconds for _, seconds, _, _ in spent(gather(out).record))


def test_outlines_of_no_view_have_a_mean_and_no_worst(tmp_path: Path) -> None:
    from dataclasses import replace

    story = gather(finished_run(tmp_path))
    story = replace(story, notes=story.notes | {"silhouette_iou": {"mean": 0.9, "min": 0.8, "views": {}}})
    assert ("Outlines of the mesh", "0.900", "IoU of mesh and masks, mean") in figures(story)
