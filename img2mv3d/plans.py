"""Options of the stages, and the three presets.

In: nothing. Out: one frozen `XOptions` per stage, `Plan`, `PLANS`. Plain numbers, no torch, so that flags and help can
read the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

REMOVERS = ("auto", "alpha", "plain", "u2netp", "grabcut", "rembg")
WITHOUT_NETWORK = ("alpha", "plain", "grabcut")  # of them


RESOLUTIONS = (256, 512)  # px a side, of decoded views
ATTENTIONS = ("epipolar", "off", "full")  # near the depth, not at all, along whole lines


@dataclass(frozen=True)
class PrepareOptions:
    """remover: a name of REMOVERS or the path of an .onnx file.

    framing_px: the silhouette's long side in px of 256; None: the
    bundle's own.
    """

    remover: str = "auto"
    framing_px: int | None = None


@dataclass(frozen=True)
class ShapeOptions:
    """What the body is predicted with.

    depth_ratio: its extent in depth over the long side of the photo's outline; None: the seed's, for seed 0 the most
        likely one.
    box_mm: width, height and depth of the object, which give the extent in depth instead.
    facing_deg: where its front points: 0 to the camera, 90 to the photo's right; None: as predicted.
    """

    depth_ratio: float | None = None
    box_mm: tuple[float, float, float] | None = None
    facing_deg: float | None = None


@dataclass(frozen=True)
class GenerateOptions:
    """steps: solver steps. guidance: classifier-free scale, 1 is off. solver: a name of diffusion.sampler.SOLVERS.
    eta: DDIM noise 0..1.
    """

    steps: int | None = None
    guidance: float | None = None
    solver: str | None = None
    eta: float | None = None


@dataclass(frozen=True)
class DepthOptions:
    """What the depth is fitted with.

    grid: finest level of the quick fit in nodes a side.
    effort: factor on the steps of every level.
    revolution_prior: how far outlines from the side lean towards a body of revolution, 0 to 1; None: as far as the
        bundle says for latents of its own.
    """

    grid: int = 128
    effort: float = 1.0
    revolution_prior: float | None = None


DECODERS = ("crossview", "mini", "svd", "sd", "plain")


@dataclass(frozen=True)
class DecodeOptions:
    """decoder: one of DECODERS; crossview is the bundle's own or the best that is there (`decoders.choose`), plain
    decodes view by view. decode_normals: send the normals through the cross-view decoder, too.
    attention: one of ATTENTIONS, how the decoder looks into other views. samples: on each ray, in every up-block.
    radius: half the length of the piece of a ray that is looked along, world units; "auto": longer where the depth is
        unsure. None: as it was trained.
    passes: how often the views are decoded; each time but the first by the depth of the final fit to those before.
    resolution: of the views, one of RESOLUTIONS.
    """

    decoder: str = "crossview"
    decode_normals: bool = False
    attention: str = "epipolar"
    samples: int | None = None
    radius: float | str | None = None
    passes: int = 1
    resolution: int = 256


@dataclass(frozen=True)
class ReconstructOptions:
    """grid: finest level of the final fit in nodes a side. effort: factor on the steps of every level."""

    grid: int = 192
    effort: float = 1.0


@dataclass(frozen=True)
class ExportOptions:
    """How the mesh is written.

    format: a name of `mesh.formats.FORMATS`.
    faces: at most so many triangles.
    texture_size: px, 0 for vertex colours.
    elevation_deg: of the photo's camera above the horizon; None: as predicted, where that is sure.
    size_mm, height_mm: of the mesh in the file, its longest side or its height, at most one of the two; None: as the
        format says (`mesh.placement`).
    up: y or z, the file's axis that points up; None: as the format says.
    roughness, metallic: of the whole surface, 0 to 1, as glTF means them.
    normal_map: small relief of the photo's side as a second picture.
    lod: levels of detail, each with half of the faces of the one before it.
    """

    format: str = "glb"
    faces: int = 20_000
    texture_size: int = 1024
    elevation_deg: float | None = None
    size_mm: float | None = None
    height_mm: float | None = None
    up: str | None = None
    roughness: float = 1.0
    metallic: float = 0.0
    normal_map: bool = False
    lod: int = 1


@dataclass(frozen=True)
class Plan:
    """All options of a run. None inside of an option means: as the bundle's manifest says. vram: bytes of a card's
    memory that may be used, None: all."""

    prepare: PrepareOptions = field(default_factory=PrepareOptions)
    shape: ShapeOptions = field(default_factory=ShapeOptions)
    generate: GenerateOptions = field(default_factory=GenerateOptions)
    depth: DepthOptions = field(default_factory=DepthOptions)
    decode: DecodeOptions = field(default_factory=DecodeOptions)
    reconstruct: ReconstructOptions = field(default_factory=ReconstructOptions)
    export: ExportOptions = field(default_factory=ExportOptions)
    seed: int = 0
    bundle: str = "mini"
    device: str = "auto"
    vram: int | None = None


STANDARD = Plan()
DRAFT = replace(
    STANDARD,
    depth=DepthOptions(grid=64),
    reconstruct=ReconstructOptions(grid=128, effort=0.5),
    export=ExportOptions(texture_size=512),
)
FINE = replace(
    STANDARD,
    reconstruct=ReconstructOptions(grid=256),
    export=ExportOptions(faces=60_000, texture_size=2048),
)
PLANS = {"draft": DRAFT, "standard": STANDARD, "fine": FINE}
