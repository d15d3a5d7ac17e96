"""The moving picture at the top of the README, rule-based traffic in `downtown`: `python -m docs_tools.traffic`."""

from pathlib import Path

from PIL import Image

from docs_tools.world import ALL_LIGHTS, CROSSING, DT, MIX, panel, record, traffic
from gigaflow_env.files import replacing
from gigaflow_env.render import View

PATH = Path(__file__).resolve().parents[1] / "docs" / "media" / "traffic.webp"
START, SECONDS = 30.0, 16.0  # s: by then queues have formed at the lights
WIDTH, HEIGHT, SPAN = 880, 440, 165.0  # pixels, pixels, m


def frames(agents: int = 240, start: float = START, seconds: float = SECONDS) -> list[Image.Image]:
    """A crossing with lights from above, a frame every 0.1 s."""
    (film,) = record(traffic("downtown", 1, agents, population=MIX, **ALL_LIGHTS), start, seconds, seed=3)
    return [panel(moment.scene, View(*moment.at(CROSSING), SPAN), WIDTH, HEIGHT) for moment in film]


def main() -> None:
    """Write docs/media/traffic.webp."""
    first, *others = frames()
    with replacing(PATH) as temporary:
        options = {"save_all": True, "append_images": others, "duration": round(1000 * DT), "loop": 0}
        first.save(temporary, format="webp", quality=55, method=4, **options)
    print(f"{PATH}: {PATH.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
