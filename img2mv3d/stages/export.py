"""Surface, Views and the photo -> Mesh: isosurface, colours, and what was checked.

In: `Surface`, the `Views` it was fitted to, the `Subject` if there is a photo. Out: `Mesh` with notes; writing it is
`mesh.files`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from img2mv3d.conventions import FRONT, IMAGE_SIZE
from img2mv3d.geometry.boxes import UprightBox, box_mesh, off_box
from img2mv3d.geometry.cameras import Rig
from img2mv3d.geometry.hull import mask_distance
from img2mv3d.geometry.sides import aligned, side_camera
from img2mv3d.mesh.base import base_of
from img2mv3d.mesh.extract import Extraction, extract, volume
from img2mv3d.mesh.fidelity import front_psnr, seam_contrast, silhouette_iou
from img2mv3d.mesh.formats import FORMATS
from img2mv3d.mesh.grain import Grain, grain_of
from img2mv3d.mesh.likenesses import likenesses
from img2mv3d.mesh.normal_map import bake_relief
from img2mv3d.mesh.photographs import behind, photo_source
from img2mv3d.mesh.sources import Source
from img2mv3d.mesh.texture import Painting, paint
from img2mv3d.mesh.upright import elevation, upright
from img2mv3d.plans import ExportOptions
from img2mv3d.values import Body, Mesh, Sides, Subject, Surface, Views

SILHOUETTE_IOU = 0.95  # of the mesh against the views' masks; below it a sentence says so
MISFIT = 0.1  # of a body's proportions against those that were asked for: more is worth a sentence
PAINT_PRIORITY = 20_000.0  # of what somebody painted on a view: above the photo's own pixels
ROUNDED = 3.0  # cells by which a fit may round a box
FEWEST = 50  # faces of a level of detail
UNSEEN_SHARE = 0.35  # of the surface: more is worth a sentence


def export(
    surface: Surface,
    views: Views,
    subject: Subject | None,
    *,
    options: ExportOptions,
    back: Subject | None = None,
    body: Body | None = None,
    sides: Sides | None = None,
) -> Mesh:
    """The coloured mesh, in world axes and units, turned upright by options.elevation_deg (about the x axis), or by how
    far from above the body says that the photo was taken, where it is sure.

    The front of `subject` is painted from its photo at the photo's own resolution, what a camera straight behind sees
    from the photo of `back` (a user's own) likewise, the other half of a symmetric body from the photo's mirror image,
    what photos of other `sides` show from those, the rest from `views`. Formats without textures (ply, stl, 3mf) and
    texture_size 0 get vertex colours. lods: extracted and painted anew, each with half of the faces. normal_map: where
    it is asked for, from the body's normals and the photo. notes: what `Extraction.notes` has (watertight, faces,
    pieces, pieces_dropped, ...), seen (shares of the area by photos, views, none), silhouette_iou (of each view, mean,
    min), color_shift (of each picture), likeness (with a subject: front_db and front_covered, the mesh from the front
    against the photo; seam_jump, seam_usual, seam_pairs, the step at the photo's border from 45 degrees:
    `mesh.fidelity`; with a back: back_db and back_covered), base (elevation_deg and share: `mesh.base`), facing_deg
    (of a body that is its own mirror image), offer (a sentence, where the base leans), warnings (sentences).
    Raises NothingFoundError when the surface is empty, SurfaceError when it holds NaN.
    """
    solid = _solid(surface, body, subject, options.faces)
    pictures = _pictures(solid, views, subject, back, body, sides)
    elevation_deg, told_by = elevation(options.elevation_deg, None if body is None else body.pitch)
    texture_size = options.texture_size if FORMATS[options.format].texture else 0

    def made(solid: Extraction) -> tuple[Painting, Mesh]:
        painting = paint(solid.vertices, solid.faces, pictures.sources, texture_size=texture_size, grain=pictures.grain)
        relief = None
        if options.normal_map and pictures.photo is not None and body is not None and painting.chart is not None:
            relief = bake_relief(painting.chart, solid.vertices, solid.faces, pictures.photo, body.normal)
        mesh = painting.mesh
        plain = Mesh(upright(mesh.vertices, elevation_deg), mesh.faces, mesh.colors, mesh.uv, mesh.texture)
        return painting, replace(plain, normal_map=relief, roughness=options.roughness, metallic=options.metallic)

    painting, mesh = made(solid)
    notes = dict(solid.notes) | _looks(painting, solid, pictures, views, subject, back)
    notes["elevation_deg"], notes["elevation_from"] = elevation_deg, told_by
    notes |= _stands(solid, body, told_by)
    notes["warnings"] = [*solid.notes["warnings"], *_sentences(notes)]
    if texture_size and painting.mesh.texture is None:
        notes["warnings"].append(f"a texture of {texture_size} px is too small for this mesh: vertex colours instead")
    if (said := _not_held(options, mesh, texture_size)) is not None:
        notes["warnings"].append(said)
    lods = []
    for level in range(1, options.lod):
        coarse = _solid(surface, body, subject, max(FEWEST, options.faces >> level))
        checked = {"watertight": coarse.notes["watertight"], "warnings": coarse.notes["warnings"]}
        lods.append(replace(made(coarse)[1], notes=checked))
    return replace(mesh, notes=notes, lods=tuple(lods))


def _solid(surface: Surface, body: Body | None, subject: Subject | None, faces: int) -> Extraction:
    """The closed surface. Where a box was recognised and no view says otherwise, that box: a grid would round it."""
    outline = None
    if subject is not None:
        outline = mask_distance(subject.image[..., 3].astype(np.float32) / 255) * (2 / subject.image.shape[1])
    solid = extract(surface.sdf, faces=faces, fair=body is not None, outline=outline)
    if body is None or body.box is None:
        return solid
    box, cell = UprightBox.of(body.box), 2 / (surface.sdf.shape[0] - 1)
    if off_box(box, solid.vertices).max() > ROUNDED * cell:
        return solid
    vertices, triangles = box_mesh(box, faces)
    return Extraction(
        vertices, triangles, solid.notes | {"faces": len(triangles), "volume": volume(vertices, triangles)}
    )


class _Pictures(NamedTuple):
    """What the mesh is coloured by. sources: views, photos, copies of the photo, paint, in this order. names: of those
    whose colours may be shifted. photo: the source of the photo."""

    sources: list[Source]
    names: list[str]
    photo: Source | None
    grain: Grain | None


def _pictures(
    solid: Extraction,
    views: Views,
    subject: Subject | None,
    back: Subject | None,
    body: Body | None,
    sides: Sides | None,
) -> _Pictures:
    sources, names = view_sources(views), list(views.rig.names)
    copied, photo = list[Source](), None
    if subject is not None:
        photo = photo_source(subject.full, subject.framing, views.rig.cameras(IMAGE_SIZE)[FRONT])
        shown, copied = (photo, list[Source]()) if body is None else likenesses(photo, body)
        sources.append(shown)
        names.append("photo")
    if back is not None:
        sources.append(photo_source(back.full, back.framing, behind(views.rig)))
        names.append("back photo")
    if sides is not None:  # aligned as the body was carved by them, whatever a user says of the elevation
        predicted = None if body is None else body.pitch
        sources += side_sources(sides, solid.vertices, elevation(None, predicted)[0])
        names += [f"photo at {azimuth:g}" for azimuth in sides.parts]
    sources += [*copied, *painted_sources(views)]
    return _Pictures(sources, names, photo, None if photo is None else grain_of(photo))


def _looks(
    painting: Painting,
    solid: Extraction,
    pictures: _Pictures,
    views: Views,
    subject: Subject | None,
    back: Subject | None,
) -> dict[str, Any]:
    """What the notes tell of the colours, and of the mesh against the pictures."""
    overlap = silhouette_iou(solid.vertices, solid.faces, views.mask, views.rig)
    shifts = zip(pictures.names, painting.shifts, strict=False)  # those of copies and paint are not told
    notes: dict[str, Any] = {
        "seen": {name: round(share, 4) for name, share in painting.shares.items()},
        "silhouette_iou": {
            "mean": round(float(overlap.mean()), 4),
            "min": round(float(overlap.min()), 4),
            "views": {name: round(float(v), 4) for name, v in zip(views.rig.names, overlap, strict=True)},
        },
        "color_shift": {name: [round(float(c), 4) for c in shift] for name, shift in shifts},
    }
    if subject is not None:
        notes["likeness"] = likeness(painting, solid.vertices, solid.faces, subject, views.rig)
    if back is not None:
        db, covered = front_psnr(painting.mesh, behind(views.rig), back.image)
        told = {"back_db": round(db, 2), "back_covered": round(covered, 4)}
        notes["likeness"] = notes.get("likeness", {}) | told
    return notes | {"vertices": len(painting.mesh.vertices), "texture_coverage": round(painting.coverage, 4)}


def _stands(solid: Extraction, body: Body | None, told_by: str) -> dict[str, Any]:
    """What the notes tell of proportions and base, and what is offered."""
    notes: dict[str, Any] = {}
    if body is not None and body.facing_deg is not None:
        notes["facing_deg"] = round(body.facing_deg, 1)
    if body is not None and body.box_misfit is not None:
        notes["box_misfit"] = round(body.box_misfit, 3)
    if (base := base_of(solid.vertices)) is None:
        return notes
    notes["base"] = {"elevation_deg": round(base.elevation_deg, 1), "share": round(base.share, 3)}
    if told_by == "default" and base.worth_a_word:
        degrees = round(base.elevation_deg)
        notes["offer"] = (
            f"the base leans by {degrees} degrees, as in photos from above; --elevation {degrees} turns it upright"
        )
    return notes


def view_sources(views: Views) -> list[Source]:
    """One source per view, colours taken back from the white they lie on."""
    alpha = views.mask.astype(np.float32)
    share = np.maximum(alpha, 0.05)[..., None]
    straight = ((views.color - (1 - alpha[..., None])) / share).clip(0, 1).astype(np.float32)
    cameras = views.rig.cameras(views.mask.shape[-1])
    return [Source(camera, c, a) for camera, c, a in zip(cameras, straight, alpha, strict=True)]


def side_sources(sides: Sides, vertices: Float[np.ndarray, "N 3"], elevation_deg: float) -> list[Source]:
    """A user's photos of other sides, each aligned to the mesh (world units) as its camera sees it."""
    sources = []
    for azimuth, part in sides.parts.items():
        camera = side_camera(azimuth, elevation_deg)
        sources.append(photo_source(part.full, aligned(part.framing, part.image, vertices, camera), camera))
    return sources


def painted_sources(views: Views) -> list[Source]:
    """What somebody painted on views: it goes before every other picture."""
    if views.painted is None:
        return []
    cameras = views.rig.cameras(views.mask.shape[-1])
    parts = zip(cameras, views.color, views.painted, strict=True)
    return [
        Source(camera, color, where.astype(np.float32), priority=PAINT_PRIORITY, exact=True, shown=True)
        for camera, color, where in parts
        if where.any()
    ]


def likeness(
    painting: Painting, vertices: np.ndarray, faces: np.ndarray, subject: Subject, rig: Rig
) -> dict[str, float | int]:
    """What the notes tell of how the photo was kept. vertices, faces: of the mesh before it was unwrapped (world
    units).
    """
    db, covered = front_psnr(painting.mesh, rig.cameras(IMAGE_SIZE)[FRONT], subject.image)
    step = seam_contrast(painting.mesh, vertices, faces, painting.by_photo)
    front = {"front_db": round(db, 2), "front_covered": round(covered, 4)}
    return {**front, "seam_jump": round(step.jump, 4), "seam_usual": round(step.usual, 4), "seam_pairs": step.pairs}


def _not_held(options: ExportOptions, mesh: Mesh, texture_size: int) -> str | None:
    """What was asked of the surface and is not in the file, in a sentence."""
    plain = options.roughness == ExportOptions.roughness and options.metallic == ExportOptions.metallic
    if not FORMATS[options.format].texture and not (plain and not options.normal_map):
        return f"{options.format} files hold no material: --roughness, --metallic and --normal-map are ignored"
    if options.normal_map and mesh.normal_map is None:
        why = "a photo and a body (shape.npz)" if texture_size else "a texture"
        return f"no normal map: it needs {why}"
    return None


def _sentences(notes: Mapping[str, Any]) -> list[str]:
    """What is worth a warning of what the notes tell."""
    said = []
    overlap = notes["silhouette_iou"]
    if overlap["mean"] < SILHOUETTE_IOU:
        worst = min(overlap["views"], key=overlap["views"].__getitem__).replace("_", " ")
        said.append(
            f"the mesh matches the views' outlines with an IoU of {overlap['mean']:.2f} (expected {SILHOUETTE_IOU}), "
            f"{overlap['min']:.2f} in the {worst} view: the views may not agree with each other"
        )
    if notes["seen"]["none"] > UNSEEN_SHARE:
        said.append(
            f"no picture shows {notes['seen']['none']:.0%} of the surface; its colour is filled in from around it"
        )
    if notes.get("box_misfit", 0) > MISFIT:
        said.append(
            f"no depth gives the proportions of --size-mm: one side is {notes['box_misfit']:.0%} off; the object may be"
            " cut off or seen from far above (--elevation)"
        )
    return said
