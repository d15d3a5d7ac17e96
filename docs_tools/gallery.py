"""All shipped towns in one picture, as the documents show them: `python -m docs_tools.gallery`, or `make gallery`."""

from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from gigaflow_env.files import replacing
from gigaflow_env.render import draw_map
from gigaflow_env.render.mapview import PAPER
from gigaflow_env.roads import load, shipped

ORDER = (
    "loop",
    "arterial",
    "boulevards",
    "highway",
    "village",
    "lots",
    "mixed",
    "downtown",
    "lefthand",
    "roundabouts",
    "oldtown",
)
COLUMNS, SIZE, GAP = 6, 366, 12  # pixels


def gallery(towns: dict[str, Path]) -> np.ndarray:
    """(H, W, 3) uint8: towns in rows, each in the middle of its place, north up and each at its own scale."""
    paper = (np.array(to_rgb(PAPER)) * 255).round().astype(np.uint8)
    pictures = [draw_map(load(path), size=SIZE, legend=False) for path in towns.values()]
    rows = [pictures[k : k + COLUMNS] for k in range(0, len(pictures), COLUMNS)]
    heights = [max(len(picture) for picture in row) for row in rows]
    image = np.full((sum(heights) + GAP * (len(rows) - 1), COLUMNS * (SIZE + GAP) - GAP, 3), 255, np.uint8)
    for k, row in enumerate(rows):
        top = sum(heights[:k]) + k * GAP
        for column, picture in enumerate(row):
            left = column * (SIZE + GAP)
            image[top : top + heights[k], left : left + SIZE] = paper
            # The name stays on top; only a narrow town moves to the middle.
            beside = left + (SIZE - picture.shape[1]) // 2
            image[top : top + len(picture), beside : beside + picture.shape[1]] = picture
    return image


def main() -> None:
    """Write docs/media/towns.png."""
    towns = shipped()
    if sorted(towns) != sorted(ORDER):
        raise SystemExit(f"the gallery orders {', '.join(ORDER)}, but shipped are {', '.join(towns)}")
    path = Path(__file__).resolve().parents[1] / "docs" / "media" / "towns.png"
    with replacing(path) as temporary:
        Image.fromarray(gallery({name: towns[name] for name in ORDER})).save(temporary, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
