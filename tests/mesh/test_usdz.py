"""USDZ: packed by its own rule, read by Pixar's library; without that library a line says what to install."""

import io
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from img2mv3d.errors import UsageError
from img2mv3d.flow import runners
from img2mv3d.mesh.files import read_mesh, write_mesh
from img2mv3d.mesh.usdz import usdz_files
from tests.balls import ball


def test_without_the_library_a_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pxr", None)
    (tmp_path / "a.usdz").write_bytes(b"PK")
    for attempt in (lambda: write_mesh(ball(), tmp_path / "b.usdz"), lambda: read_mesh(tmp_path / "a.usdz")):
        with pytest.raises(UsageError, match=r"pip install 'img2mv3d\[usd\]'"):
            attempt()
    assert not (tmp_path / "b.usdz").exists()
    monkeypatch.setattr(runners.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="usd-core"):
        runners.check_format("usdz")
    runners.check_format("glb")


def test_every_file_in_the_package_begins_at_a_multiple_of_64_and_is_only_stored() -> None:
    pytest.importorskip("pxr", reason="usd-core is not installed")
    data = usdz_files(ball(True), "ball", {})["ball.usdz"]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        assert [e.filename for e in entries] == ["mesh.usdc", "textures/color.png"]  # the first is what is opened
        for entry in entries:
            content = archive.read(entry)
            assert entry.compress_type == zipfile.ZIP_STORED and data.index(content) % 64 == 0


def test_usd_finds_units_up_and_the_colour_of_the_material(tmp_path: Path) -> None:
    pxr = pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
    from pxr import UsdGeom, UsdShade

    write_mesh(ball(True), tmp_path / "ball.usdz", size_mm=80.0)
    stage = pxr.Stage.Open(str(tmp_path / "ball.usdz"))
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1 and UsdGeom.GetStageUpAxis(stage) == "Y"
    body = stage.GetDefaultPrim().GetChild("body")
    box = UsdGeom.BBoxCache(0, ["default"]).ComputeWorldBound(body).ComputeAlignedRange()
    np.testing.assert_allclose(box.GetSize(), np.array([1.4, 1.0, 1.2]) / 1.4 * 0.08, rtol=1e-5)
    material, _ = UsdShade.MaterialBindingAPI(body).ComputeBoundMaterial()
    shader, *_ = material.ComputeSurfaceSource()
    source, _, _ = shader.GetInput("diffuseColor").GetConnectedSource()
    assert source.GetPrim().GetName() == "texture"


def test_usd_finds_roughness_metal_and_the_normal_map(tmp_path: Path) -> None:
    pxr = pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
    from pxr import UsdShade

    mesh = replace(ball(True), roughness=0.25, metallic=0.75)
    mesh = replace(mesh, normal_map=np.full_like(mesh.texture, (128, 160, 250)))
    write_mesh(mesh, tmp_path / "ball.usdz")
    stage = pxr.Stage.Open(str(tmp_path / "ball.usdz"))
    material, _ = UsdShade.MaterialBindingAPI(stage.GetDefaultPrim().GetChild("body")).ComputeBoundMaterial()
    shader, *_ = material.ComputeSurfaceSource()
    assert (shader.GetInput("roughness").Get(), shader.GetInput("metallic").Get()) == (0.25, 0.75)
    source, _, _ = shader.GetInput("normal").GetConnectedSource()
    assert source.GetPrim().GetName() == "texture_normal"
    with zipfile.ZipFile(tmp_path / "ball.usdz") as archive:
        picture = np.asarray(Image.open(io.BytesIO(archive.read("textures/normal.png"))))
    np.testing.assert_array_equal(picture, mesh.normal_map)
    np.testing.assert_array_equal(read_mesh(tmp_path / "ball.usdz").texture, mesh.texture)


@pytest.mark.parametrize("textured", [True, False])
def test_usds_own_validators_find_nothing(tmp_path: Path, textured: bool) -> None:
    pytest.importorskip("pxr", reason="usd-core is not installed")
    from pxr import Usd, UsdValidation

    mesh = ball(textured)
    mesh = replace(mesh, normal_map=mesh.texture)
    write_mesh(mesh, tmp_path / "ball.usdz")
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    found = UsdValidation.ValidationContext(validators).Validate(Usd.Stage.Open(str(tmp_path / "ball.usdz")))
    assert len(validators) > 20 and [(e.GetName(), e.GetMessage()) for e in found] == []


@pytest.mark.parametrize("textured", [True, False])
def test_equal_meshes_give_equal_bytes(textured: bool) -> None:
    pytest.importorskip("pxr", reason="usd-core is not installed")
    assert usdz_files(ball(textured), "ball", {}) == usdz_files(ball(textured), "ball", {})
