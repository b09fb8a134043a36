"""What the views ask of the rays of one grid: masks, normals and their trust; and the hull on that grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from img2mv3d.geometry.cameras import Rig
from img2mv3d.geometry.hull import UNKNOWN, mask_distance
from img2mv3d.neus.kernels import in_threads
from img2mv3d.neus.narrow_band import FAR, Block
from img2mv3d.neus.raygrid import NodeRays, box_filters, point_filters

MARGIN = 5  # cells of room round the silhouettes' box
TRUST = (0.08, 0.33)  # cosines between which a normal's weight rises from 0 to 1: grazing pixels say little
WHOLE = 0.97  # mask above which a pixel is seen whole, so that its normal is one surface's
FAINT = 0.3  # mask below which a pixel has no part in the box


@dataclass(frozen=True, eq=False)
class ViewTargets:
    """One view at one level; flat values are row * columns + column of its picture of rays.

    known: rays inside of the frame.
    mask: covered share.
    normal: mask times unit normals, world axes.
    trust: weight of the normals, 0..1.
    distance: signed distance to the mask's edge, cells; UNKNOWN outside of the frame.
    color, color_trust: what the pixels show, and its weight, 0..1; None without pictures.
    """

    rays: NodeRays
    known: Bool[Tensor, "N C"]
    mask: Float[Tensor, " NC"]
    normal: Float[Tensor, "NC 3"]
    trust: Float[Tensor, " NC"]
    distance: Float[Tensor, "N C"]
    color: Float[Tensor, "NC 3"] | None = None
    color_trust: Float[Tensor, " NC"] | None = None


def view_targets(
    normal: Float[np.ndarray, "V H W 3"],
    mask: Float[np.ndarray, "V H W"],
    rig: Rig,
    nodes: int,
    distance: Sequence[Float[np.ndarray, "H W"]] | None = None,
    threads: int = 1,
    color: Float[np.ndarray, "V H W 3"] | None = None,
) -> list[ViewTargets]:
    """The targets of all views for a grid of `nodes` a side. The rig must be one that `raygrid.serves`.

    distance: of `mask_distance` by view, where it is known: it is the same for every grid, and dear.
    color: [0, 1]; pixels whose normals are known and grazing say little of it, too.
    """
    half, (height, width) = rig.width / 2, mask.shape[1:]
    cells_per_px = (2 * half / width) / (2 / (nodes - 1))
    cameras = rig.cameras(8)

    def one(i: int) -> ViewTargets:
        camera = cameras[i]
        rays = NodeRays.of(rig.azimuth_deg[i], nodes)
        rows, columns, known = box_filters(rays, half, height, width)
        cover, direction = _tensor(mask[i]), _tensor(normal[i])
        cosine = -(direction @ torch.tensor(camera.forward, dtype=torch.float32))
        trust = ((cosine - TRUST[0]) / (TRUST[1] - TRUST[0])).clamp(0, 1) * (cover > WHOLE)
        pictures = torch.cat([cover[..., None], trust[..., None], direction * cover[..., None]], dim=-1)
        box = rows, columns
        flat = _through(pictures, box)
        rows, columns, _ = point_filters(rays, half, height, width)
        apart = mask_distance(mask[i]) if distance is None else distance[i]
        cells = rows @ torch.from_numpy(apart) @ columns.T * cells_per_px
        shown = () if color is None else _colors(_tensor(color[i]), direction, cover, trust, box)
        return ViewTargets(
            rays,
            known,
            flat[:, 0].contiguous(),
            flat[:, 2:].contiguous(),
            flat[:, 1].contiguous(),
            torch.where(known, cells, UNKNOWN),
            *shown,
        )

    return in_threads(one, range(len(rig)), threads)


def block_of(mask: Float[np.ndarray, "V H W"], rig: Rig, nodes: int) -> Block:
    """The nodes in the box of the silhouettes, plus MARGIN. Every mask must show something."""
    half = rig.width / 2
    low, high = np.full((3, len(mask)), -1.0), np.full((3, len(mask)), 1.0)
    for i, azimuth in enumerate(rig.azimuth_deg):
        rows, columns = (np.flatnonzero((mask[i] > FAINT).any(axis)) for axis in (1, 0))
        step = 2 * half / mask.shape[2]
        low[0, i], high[0, i] = half - (rows[-1] + 1) * step, half - rows[0] * step
        left, right = columns[0] * step - half, (columns[-1] + 1) * step - half
        across = NodeRays.of(azimuth, 2).right
        if 0 in across:  # diagonal views bound the box no tighter than the straight ones do
            axis = 1 if across[1] == 0 else 2
            low[axis, i], high[axis, i] = (left, right) if sum(across) > 0 else (-right, -left)
    # a view may be wrong: the box is that of the widest silhouette, the hull decides inside of it
    straight = [[i for i in range(len(mask)) if (low[a, i], high[a, i]) != (-1, 1)] or [0] for a in range(3)]
    cell = 2 / (nodes - 1)
    first = [max(0, int(np.floor((low[a, straight[a]].min() + 1) / cell)) - MARGIN) for a in range(3)]
    end = [min(nodes, int(np.ceil((high[a, straight[a]].max() + 1) / cell)) + MARGIN + 1) for a in range(3)]
    shape = (end[0] - first[0], end[1] - first[1], end[2] - first[2])
    return Block((first[0], first[1], first[2]), shape, nodes)


def hull_field(views: list[ViewTargets], block: Block, missing: int = 0) -> Float[Tensor, "Y X Z"]:
    """The hull on the block's nodes: cells, cut at FAR.

    missing: so many views may contradict (0 to 2).
    """
    largest: list[Tensor] = []
    for view in views:
        field = _over_block(view.distance, view.rays, block).clamp(-FAR, FAR)
        for k in range(missing + 1):  # keep the missing + 1 largest so far, in falling order
            if k == len(largest):
                largest.append(field)
                break
            largest[k], field = torch.maximum(largest[k], field), torch.minimum(largest[k], field)
    return largest[min(missing, len(largest) - 1)].clone()


def rays_to_block(picture: Tensor, view: ViewTargets, block: Block) -> Tensor:
    """A value a ray [N, C] -> that value at every node of the block [Y, X, Z] on the ray."""
    return _over_block(picture, view.rays, block)


def silhouette_iou(
    field: Float[Tensor, "Y X Z"], views: list[ViewTargets], block: Block, slack: float = 0.0
) -> list[float]:
    """Intersection over union of the field's silhouettes and the masks, by view.

    A ray is covered when a node on it lies inside.

    slack: cells by which the surface may be off without counting as wrong: parts thinner than a cell pass between the
        nodes.
    """
    near, deep = (_covered(field < limit, views, block) for limit in (slack, -slack))
    figures = []
    for view, reached, overdone in zip(views, near, deep, strict=True):
        known = view.known.flatten()
        wanted = (view.mask > 0.5) & known
        union = int(((overdone & known) | wanted).sum())
        figures.append(int((reached & wanted).sum()) / union if union else 1.0)
    return figures


def _covered(nodes: Bool[Tensor, "Y X Z"], views: list[ViewTargets], block: Block) -> list[Bool[Tensor, " NC"]]:
    """The rays of each view on which one of the nodes lies."""
    iy, ix, iz = nodes.nonzero().T + torch.tensor(block.low)[:, None]
    covered = []
    for view in views:
        rays = torch.zeros(view.known.numel(), dtype=torch.bool)
        rays[iy * view.rays.columns + view.rays.column(ix, iz)] = True
        covered.append(rays)
    return covered


def _over_block(picture: Tensor, rays: NodeRays, block: Block) -> Tensor:
    (low_y, low_x, low_z), (ny, nx, nz) = block.low, block.shape
    columns = rays.column(_range(low_x, nx)[:, None], _range(low_z, nz)[None, :])
    return picture[low_y : low_y + ny].index_select(1, columns.flatten()).view(ny, nx, nz)


def _range(first: int, count: int) -> Int[Tensor, " n"]:
    return torch.arange(first, first + count)


def _through(pictures: Float[Tensor, "H W D"], box: tuple[Tensor, Tensor]) -> Float[Tensor, "NC D"]:
    """Means of a picture's channels over the boxes of the rays."""
    return torch.einsum("nh,hwd,cw->ncd", box[0], pictures, box[1]).reshape(-1, pictures.shape[-1])


def _colors(
    color: Float[Tensor, "H W 3"],
    normal: Float[Tensor, "H W 3"],
    cover: Float[Tensor, "H W"],
    trust: Float[Tensor, "H W"],
    box: tuple[Tensor, Tensor],
) -> tuple[Float[Tensor, "NC 3"], Float[Tensor, " NC"]]:
    """(color, color_trust) of `ViewTargets`: means over whole pixels, so that no background is mixed in."""
    weight = torch.where(normal.square().sum(-1) > 0, trust, (cover > WHOLE).to(trust))[..., None]
    flat = _through(torch.cat([color * weight, weight], dim=-1), box)
    return (flat[:, :3] / flat[:, 3:].clamp(min=1e-6)).contiguous(), flat[:, 3].contiguous()


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
