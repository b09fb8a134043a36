"""The public surface: these names and no others, each of them found where it is said to be."""

import configparser
from pathlib import Path

import pytest

import img2mv3d

VALUES = ("Photo", "Subject", "Latents", "Depth", "Views", "Surface", "Mesh")
STAGES = ("prepare", "generate", "plain_views", "fit_depth", "decode", "reconstruct", "export")
REST = ("__version__", "Camera", "Rig", "Plan", "PLANS", "load_bundle", "read_photo", "Source", "Store", "run")
REST = (*REST, "Pipeline", "reconstruct_photo")


def test_the_public_names_are_these() -> None:
    assert sorted(img2mv3d.__all__) == sorted((*VALUES, *STAGES, *REST)) == dir(img2mv3d)


@pytest.mark.parametrize("name", [*VALUES, *STAGES, *REST])
def test_every_public_name_is_found_and_documented(name: str) -> None:
    found = getattr(img2mv3d, name)
    assert name in ("__version__", "PLANS") or found.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'gaussians'"):
        img2mv3d.gaussians  # noqa: B018


def test_the_version_is_that_of_the_package() -> None:
    told = configparser.ConfigParser()
    told.read(Path(__file__).parents[1] / "setup.cfg")
    assert told["metadata"]["version"] == img2mv3d.__version__
