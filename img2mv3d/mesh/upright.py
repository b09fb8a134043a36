"""How the photo's camera looked down, and the object turned upright by it.

In: what a user says, else what the shape network predicted. Out: degrees, turned points.
"""

from __future__ import annotations

import numpy as np

SURE_DEG = 12.0  # Laplace spread of a predicted elevation above which the mesh is left as the photo shows it
LEAST_DEG = 3.0  # an elevation below it is none


def elevation(user_deg: float | None, predicted: tuple[float, float] | None) -> tuple[float, str]:
    """(degrees, who says so: "user", "photo" or "default") of the photo's camera above the horizon.

    predicted: degrees and their Laplace spread.
    """
    if user_deg is not None:
        return user_deg, "user"
    if predicted is not None and predicted[1] <= SURE_DEG and abs(predicted[0]) >= LEAST_DEG:
        return round(predicted[0], 1), "photo"
    return 0.0, "default"


def upright(vertices: np.ndarray, elevation_deg: float) -> np.ndarray:
    """[N, 3] turned about the x axis, so that what a camera at that elevation (degrees above the horizon) saw as
    leaning towards it stands upright.
    """
    if elevation_deg == 0:
        return vertices
    cos, sin = np.cos(np.radians(elevation_deg)), np.sin(np.radians(elevation_deg))
    turned: np.ndarray = vertices @ np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]]).T
    return turned
