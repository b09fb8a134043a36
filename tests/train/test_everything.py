"""All trainings by one command."""

from pathlib import Path

from img2mv3d.bundles.weights import load_bundle
from img2mv3d.train.everything import train_all


def test_one_command_trains_everything_and_leaves_a_bundle_that_loads(tmp_path: Path) -> None:
    lines: list[str] = []
    folder = train_all(tmp_path / "data", tmp_path / "out", 0.06, toy=True, report=lines.append)
    bundle = load_bundle(folder)
    assert bundle.parts() == ("encoder", "plain_decoder", "crossview_decoder", "tokens", "unet")
    bundle.check()
    assert bundle.manifest["data"]["held_out_objects"] == 1
    for name in ("encoder", "decoder", "multiview"):
        assert (tmp_path / "out" / name / "sheet.png").exists()
