"""What a post may ask of a run, checked, and the plan that it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from img2mv3d.errors import UsageError
from img2mv3d.mesh.formats import FORMATS
from img2mv3d.plans import PLANS, Plan


class RunOptions(BaseModel):
    """Options of one run; ranges are those of the command line. Sizes in millimetres, angles in degrees."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    quality: Literal[*PLANS] = "standard"
    seed: int = Field(0, ge=0, lt=2**63, description="Another seed, another back side.")
    depth_ratio: float | None = Field(
        None, ge=0.05, le=2, description="How deep the object is, over the long side of its outline."
    )
    facing_deg: float | None = Field(
        None, ge=-180, le=180, description="Where its front points: 0 to the camera, 90 to the photo's right."
    )
    size_mm: float | None = Field(None, ge=1, le=100_000, description="The longest side of the mesh in its file.")
    format: Literal[*FORMATS] = "glb"
    faces: int | None = Field(None, ge=100, le=2_000_000, description="Triangles, at most.")
    texture_size: int | None = Field(None, ge=0, le=8192, description="px a side; 0 for colours at the vertices.")
    elevation_deg: float | None = Field(None, ge=-89, le=89, description="How far from above the photo was taken.")
    up: Literal["y", "z"] | None = Field(None, description="The file's axis that points up.")
    remover: Literal["auto", "alpha", "plain", "u2netp", "grabcut", "rembg"] = "auto"

    def plan(self, plans: Mapping[str, Plan] = PLANS) -> Plan:
        """The plan that these options mean."""
        plan = plans[self.quality]
        typed = {"faces": self.faces, "texture_size": self.texture_size}
        export = replace(
            plan.export,
            format=self.format,
            size_mm=self.size_mm,
            elevation_deg=self.elevation_deg,
            up=self.up,
            **{name: value for name, value in typed.items() if value is not None},
        )
        prepare = replace(plan.prepare, remover=self.remover)
        shape = replace(plan.shape, depth_ratio=self.depth_ratio, facing_deg=self.facing_deg)
        return replace(plan, seed=self.seed, export=export, prepare=prepare, shape=shape)


def read_options(text: str | bytes) -> RunOptions:
    """Options out of JSON. Raises UsageError, in one line that names the field."""
    try:
        return RunOptions.model_validate_json(text or "{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "options"
        raise UsageError(f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None
