"""Islands: spots of a crossing that neither connectors nor mouths cover, where roads meet at odd angles. They are paved."""

import numpy as np
import shapely

from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.road_map import Lane
from gigaflow_env.roads.towns.parts import DECIMALS

LARGE = 20.0
"""[m^2] From this size on an island is one, with road edges around it that agents see."""
CLOSING = 0.05
"""[m] Gaps up to twice as wide count as closed, as they do where road edges are traced."""
MARGIN = 0.3
"""[m] By which a patch is longer and wider than the spot."""


def patches(name: str, lanes: list[Lane]) -> list[Lane]:
    """Shoulders over what the lanes of the crossing `name` leave open between them."""
    # Grown: rounding opens nothing between lanes that touch, and a bay with a neck as narrow as that is a spot, too.
    area = shapely.union_all([_outline(lane).buffer(CLOSING) for lane in lanes])
    rings = [ring for part in shapely.get_parts(area) for ring in part.interiors]
    spots = sorted(
        (ring.bounds for ring in rings if shapely.Polygon(ring).area < LARGE), key=lambda box: np.round(box, 2).tolist()
    )
    return [_patch(f"{name}.patch.{k}", box, name) for k, box in enumerate(spots)]


def _patch(called: str, box: tuple[float, ...], junction: str) -> Lane:
    low_x, low_y, high_x, high_y = box
    y, width = (low_y + high_y) / 2, high_y - low_y + 2 * MARGIN
    rows = [(low_x - MARGIN, y, 0.0, 0.0, width), (high_x + MARGIN, y, 0.0, 0.0, width)]
    return Lane(called, np.round(np.array(rows), DECIMALS) + 0.0, kind="shoulder", junction=junction)


def _outline(lane: Lane) -> shapely.Polygon:
    x, y, _, heading, width, *_ = sample(lane.line, 1.0).T
    across = np.column_stack([-np.sin(heading), np.cos(heading)]) * width[:, None] / 2
    center = np.column_stack([x, y])
    return shapely.Polygon(np.concatenate([center + across, (center - across)[::-1]]))
