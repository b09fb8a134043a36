"""The steps of a fit as compiled loops (numba, kept on disk): over the nodes, over the rays of each view, over the
nodes.

The loss stands here compiled, in `node_terms` and `view_terms`. It stands readable in `losses`, and once more for other
rigs in `anyrig`: all three change together. `losses` and `reference` are the twins that the tests compare with.

Rays of one view share no node, so threads take ranges and the result does not depend on how many there are. Letters: M
nodes, K entries, R rays.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from img2mv3d.geometry.compiled import compiled
from img2mv3d.neus.narrow_band import CUT, FAR, OPAQUE
from img2mv3d.neus.options import CHARBONNIER, DIM, ENOUGH, NEAR, SURE

SMALL = 12_000  # items (nodes or entries) below which a second thread costs more than it brings


# Sums may be regrouped: a fit's digits are those of one machine anyway.
_compiled = functools.partial(compiled, fastmath={"contract", "nsz", "arcp"})

# compiled code keeps these as constants
_FAR, _OPAQUE, _CUT = np.float32(FAR), np.float32(OPAQUE), CUT
_SMOOTH, _NEAR, _SURE, _ENOUGH, _DIM = (np.float32(x) for x in (CHARBONNIER, NEAR, SURE, ENOUGH, DIM))


def in_ranges(work: Callable[..., Any], count: int, items: int, threads: int, *arguments: Any) -> list[Any]:
    """work(*arguments, first, last) over 0..count in one range per thread; its results in order.

    items: how much work there is, to decide whether threads pay.
    """
    if threads <= 1 or items < SMALL:
        return [work(*arguments, 0, count)]
    edges = [count * i // threads for i in range(threads + 1)]
    return list(_pool(threads).map(lambda i: work(*arguments, edges[i], edges[i + 1]), range(threads)))


def in_threads(work: Callable[[Any], Any], items: Iterable[Any], threads: int) -> list[Any]:
    """work(item) of all items, in their order."""
    return [work(i) for i in items] if threads <= 1 else list(_pool(threads).map(work, items))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "fit")


@_compiled
def node_terms(
    values,
    near,
    sharp,
    eikonal,
    curvature_weight,
    hull_weight,
    want,
    phi,
    gradient,
    d_field,
    d_gradient,
    d_curvature,
    first,
    last,
):
    """Phi, raw gradients and the field's own losses of nodes first..last.

    Written: phi [M] = sigmoid(sharp * value), gradient [M, 3] (per cell), d_gradient [M + 2, 3] and d_curvature [M +
    2]; added to: d_field [M]: the gradients of the loss, which is returned (`losses.field_loss`).

    values: float32 [M + 2], cells, the last two FAR and -FAR.
    near: int32 [M, 6], `Band.neighbours` transposed.
    hull_weight, want: float32 [M].
    """
    loss = 0.0
    for i in range(first, last):
        value = values[i]
        phi[i] = np.float32(1) / (np.float32(1) + np.exp(-np.float32(sharp) * value))
        y0, y1, x0, x1 = values[near[i, 0]], values[near[i, 1]], values[near[i, 2]], values[near[i, 3]]
        z0, z1 = values[near[i, 4]], values[near[i, 5]]
        gx, gy, gz = np.float32(0.5) * (x1 - x0), np.float32(0.5) * (y1 - y0), np.float32(0.5) * (z1 - z0)
        gradient[i, 0], gradient[i, 1], gradient[i, 2] = gx, gy, gz
        if abs(value) < _NEAR:
            length = max(np.sqrt(gx * gx + gy * gy + gz * gz), np.float32(1e-6))
            stretch = length - np.float32(1)
            curvature = (y0 + y1 + x0 + x1 + z0 + z1) / np.float32(6) - value
            loss += eikonal * stretch * stretch + curvature_weight * curvature * curvature
            pull = np.float32(2 * eikonal) * stretch / length
            d_gradient[i, 0], d_gradient[i, 1], d_gradient[i, 2] = pull * gx, pull * gy, pull * gz
            d_curvature[i] = np.float32(2 * curvature_weight) * curvature
        else:
            d_gradient[i, 0] = d_gradient[i, 1] = d_gradient[i, 2] = np.float32(0)
            d_curvature[i] = np.float32(0)
        if hull_weight[i] > np.float32(0):
            off = value - want[i]
            loss += hull_weight[i] * off * off
            d_field[i] += np.float32(2) * hull_weight[i] * off
    return loss


@_compiled
def view_terms(
    values, phi, gradient, colors, node, start, mask, normal, trust, color, color_trust, silhouette_weight, limit,
    sharp, scale, d_field, d_gradient, error, first, last,
):  # fmt: skip
    """One view's losses on rays first..last, and their gradients times `scale` added to d_field and d_gradient.

    Written: error [R], how far the normals are off where they are trusted, else 0. Returns the loss. The formulas are
    those of `reference.composite`, `reference.backward`, `losses.view_loss` and `losses.color_loss`.

    node: int32 [K], start: int32 [R + 1];
    mask, trust: float32 [R], normal: float32 [R, 3], the targets of the rays.
    colors: float32 [M, 3], of the nodes, held constant; color: float32 [R, 3], of the rays' pixels; color_trust:
    float32 [R], weights. No rows: colours are not looked at.
    silhouette_weight, limit: of `losses.view_loss`.
    """
    longest = 0
    for r in range(first, last):
        longest = max(longest, start[r + 1] - start[r])
    through, weight = np.empty(longest + 1, np.float32), np.empty(longest + 1, np.float32)
    share = np.empty(longest + 1, np.float32)
    far = np.float32(1) / (np.float32(1) + np.exp(-np.float32(sharp) * _FAR))
    one, zero, least = np.float32(1), np.float32(0), np.float32(1e-6)
    painted = len(colors) > 0
    loss = 0.0
    for r in range(first, last):
        begin, count = start[r], start[r + 1] - start[r]
        light, phi_before, value_before, before = one, far, _FAR, node[begin]
        nx = ny = nz = red = green = blue = zero
        colored = painted and color_trust[r] > zero
        lowest, deepest = _FAR, begin
        for k in range(count):
            i = node[begin + k]
            value, p = values[i], phi[i]
            if value < lowest:
                lowest, deepest = value, begin + k
            entering = light
            if p < phi_before:
                light = light * (p / phi_before)
            w = entering - light
            s = one
            if k > 0:
                s = min(max(value_before / max(value_before - value, least), zero), one)
            a, b = w * s, w * (one - s)
            nx += a * gradient[i, 0] + b * gradient[before, 0]
            ny += a * gradient[i, 1] + b * gradient[before, 1]
            nz += a * gradient[i, 2] + b * gradient[before, 2]
            if colored:
                red += a * colors[i, 0] + b * colors[before, 0]
                green += a * colors[i, 1] + b * colors[before, 1]
                blue += a * colors[i, 2] + b * colors[before, 2]
            through[k], weight[k], share[k] = light, w, s
            phi_before, value_before, before = p, value, i
        off = (one - light) - mask[r]
        ex, ey, ez = nx - normal[r, 0], ny - normal[r, 1], nz - normal[r, 2]
        length = np.sqrt(ex * ex + ey * ey + ez * ez + _SMOOTH * _SMOOTH)
        known = trust[r]
        error[r] = length if known > zero else zero
        if length > limit:
            known = zero
        miss = lowest - (np.float32(0.5) - mask[r])
        if (mask[r] > one - _SURE and miss < zero) or (mask[r] < _SURE and miss > zero):
            miss = zero
        miss = min(max(miss, -one), one)
        if abs(miss) < _ENOUGH:
            off = zero
        loss += off * off + known * length + silhouette_weight * miss * miss
        d_field[node[deepest]] += np.float32(2 * scale * silhouette_weight) * miss
        pull = np.float32(scale) * known / length
        dx, dy, dz = pull * ex, pull * ey, pull * ez
        d_opacity = np.float32(2 * scale) * off
        if colored:
            red -= (one - light) * color[r, 0]
            green -= (one - light) * color[r, 1]
            blue -= (one - light) * color[r, 2]
            length = np.sqrt(red * red + green * green + blue * blue + _SMOOTH * _SMOOTH)
            loss += color_trust[r] * (length - _SMOOTH)
            pull = np.float32(scale) * color_trust[r] / length
            red, green, blue = pull * red, pull * green, pull * blue
            d_opacity -= red * color[r, 0] + green * color[r, 1] + blue * color[r, 2]
        # backwards along the ray; `behind` is the sum of d_through * through from the entry on
        behind, d_weight_next, d_step_next, given_next = zero, zero, zero, zero
        for k in range(count - 1, -1, -1):
            i = node[begin + k]
            s = share[k]
            d_weight = s * (dx * gradient[i, 0] + dy * gradient[i, 1] + dz * gradient[i, 2])
            if k > 0:
                j = node[begin + k - 1]
                d_weight += (one - s) * (dx * gradient[j, 0] + dy * gradient[j, 1] + dz * gradient[j, 2])
            if colored:
                d_weight += s * (red * colors[i, 0] + green * colors[i, 1] + blue * colors[i, 2])
                if k > 0:
                    j = node[begin + k - 1]
                    d_weight += (one - s) * (red * colors[j, 0] + green * colors[j, 1] + blue * colors[j, 2])
            d_through = d_weight_next - d_weight
            if k == count - 1:
                d_through -= d_opacity
            behind += d_through * through[k]
            d_step = behind if weight[k] > zero else zero
            own = weight[k] * s + given_next
            d_gradient[i, 0] += own * dx
            d_gradient[i, 1] += own * dy
            d_gradient[i, 2] += own * dz
            d_field[i] += (d_step - d_step_next) * (one - phi[i]) * np.float32(sharp)
            d_weight_next, d_step_next, given_next = d_weight, d_step, weight[k] * (one - s)
    return loss


@_compiled
def add_colors(values, node, start, sharp, color, color_trust, total, weight):
    """Add what one view shows of the nodes on its rays: to total [M, 3] the pixel's colour times its trust and the
    light that gets to the node, to weight [M] the latter two (`reference.color_sums`)."""
    far = np.float32(1) / (np.float32(1) + np.exp(-np.float32(sharp) * _FAR))
    for r in range(len(start) - 1):
        light, before = np.float32(1), far
        for k in range(start[r], start[r + 1]):
            i = node[k]
            share = color_trust[r] * max(light, _DIM)
            weight[i] += share
            total[i, 0] += share * color[r, 0]
            total[i, 1] += share * color[r, 1]
            total[i, 2] += share * color[r, 2]
            p = np.float32(1) / (np.float32(1) + np.exp(-np.float32(sharp) * values[i]))
            if p < before:
                light = light * (p / before)
            before = p


@_compiled
def update(values, near, d_field, d_gradient, d_curvature, mean, square, rate, fade, betas, eps, first, last):
    """Adam on nodes first..last, after the transpose of `reference.differences` has brought all gradients to the
    values.

    The rows M and M + 1 of d_gradient and d_curvature must be zero.

    rate: step size over the first moment's bias;
    fade: 1 / the second's.
    mean, square: float32 [M], the moments. d_field is set to zero for the next step.
    """
    half, sixth = np.float32(0.5), np.float32(1 / 6)
    keep, keep_square = np.float32(betas[0]), np.float32(betas[1])
    for i in range(first, last):
        g = d_field[i] - d_curvature[i]
        for axis, low in ((1, 0), (0, 2), (2, 4)):
            a, b = near[i, low], near[i, low + 1]
            g += sixth * (d_curvature[a] + d_curvature[b]) + half * (d_gradient[a, axis] - d_gradient[b, axis])
        d_field[i] = np.float32(0)
        mean[i] = keep * mean[i] + (np.float32(1) - keep) * g
        square[i] = keep_square * square[i] + (np.float32(1) - keep_square) * g * g
        step = np.float32(rate) * mean[i] / (np.sqrt(square[i] * np.float32(fade)) + np.float32(eps))
        values[i] = min(max(values[i] - step, -_FAR), _FAR)


@_compiled
def pack_rays(position, values, known, sharp, low, right, forward, offset, node, start, target):
    """One view's packed rays: the band's nodes ray by ray, front to back, cut CUT nodes after the light is gone.

    Written: node [>= M], start [>= rays + 1], target [>= rays]. Returns (entries, rays).

    position: int32 [Y, X, Z], number in the band or -1.
    known: bool [N, C].
    low: first node (y, x, z) of the block.
    right, forward, offset: of `raygrid.NodeRays`.
    """
    ny, nx, nz = position.shape
    columns = known.shape[1]
    far = np.float32(1) / (np.float32(1) + np.exp(-np.float32(sharp) * _FAR))
    entries = rays = 0
    start[0] = 0
    for y in range(ny):
        for column in range(columns):
            if not known[y + low[0], column]:
                continue
            # nodes of the ray: right . (ix, iz) = q; in the block's own numbers from here on
            q = column - offset - right[0] * low[1] - right[1] * low[2]
            if right[1] == 0:
                x, z, count = q * right[0], 0 if forward[1] > 0 else nz - 1, nz
                if x < 0 or x >= nx:
                    continue
            elif right[0] == 0:
                x, z, count = 0 if forward[0] > 0 else nx - 1, q * right[1], nx
                if z < 0 or z >= nz:
                    continue
            else:
                x, count = 0 if forward[0] > 0 else nx - 1, nx
                z = (q - right[0] * x) * right[1]
                skip = max(-z, 0) if forward[1] > 0 else max(z - nz + 1, 0)
                x, z, count = x + skip * forward[0], z + skip * forward[1], count - skip
            light, before, left = np.float32(1), far, _CUT
            first = entries
            for _ in range(count):
                if z < 0 or z >= nz:
                    break
                i = position[y, x, z]
                x, z = x + forward[0], z + forward[1]
                if i < 0:
                    continue
                node[entries] = i
                entries += 1
                if light < _OPAQUE:
                    left -= 1
                    if left == 0:
                        break
                p = np.float32(1) / (np.float32(1) + np.exp(-np.float32(sharp) * values[i]))
                if p < before:
                    light = light * (p / before)
                before = p
            if entries > first:
                target[rays] = (y + low[0]) * columns + column
                rays += 1
                start[rays] = entries
    return entries, rays


@_compiled
def look(values, node, start, sharp, opacity, lowest):
    """Forward only: opacity [R] of every ray and the least value on it [R], both written."""
    far = np.float32(1) / (np.float32(1) + np.exp(-np.float32(sharp) * _FAR))
    for r in range(len(start) - 1):
        light, before, least = np.float32(1), far, _FAR
        for k in range(start[r], start[r + 1]):
            value = values[node[k]]
            p = np.float32(1) / (np.float32(1) + np.exp(-np.float32(sharp) * value))
            if p < before:
                light = light * (p / before)
            before, least = p, min(least, value)
        opacity[r], lowest[r] = np.float32(1) - light, least
