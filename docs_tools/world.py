"""Five pictures of what the simulated world has in it: `python -m docs_tools.world [NAME ...]`, or `make world`.

Rule-based drivers drive some worlds for a minute or two; what happens is kept, and the clearest moment of it is drawn.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gigaflow_env import GigaflowVectorEnv
from gigaflow_env.files import replacing
from gigaflow_env.population import ROAD_USERS
from gigaflow_env.render import Scene, View, draw
from gigaflow_env.sim.erratic import PHANTOM
from gigaflow_env.state import GREEN, RED, YELLOW

WIDTH, GAP = 960, 6  # pixels
INK, PAPER, HALO = (255, 255, 255), (255, 255, 255), (16, 18, 22)
DT = 0.1  # s

MIX = {"car": 0.5, "truck": 0.2, "cyclist": 0.2, "pedestrian": 0.1}
BRIDGE, DECK = (-430.0, 0.0), 6.0  # m, on the highway: two lanes each way, above three each way
CROSSING = 195.0, 176.0  # m, in downtown
WARPED = {"variant_scale": (0.75, 1.3), "variant_shear": (-0.3, 0.3), "variant_flip": 0.5, "variant_turn": (-0.4, 0.4)}
ALL_LIGHTS = {"lights_off": 0.0, "light_groups_removed": 0.0, "lights_removed": 0.0, "lights_green": 0.0}

Point = tuple[float, float]


class Moment(NamedTuple):
    """One world at one time."""

    scene: Scene
    kind: np.ndarray  # (agents,) number in KINDS
    phantom: np.ndarray  # (agents,) bool: brakes for nothing now
    matrix: np.ndarray  # (2, 2) from its map to the world
    origin: np.ndarray  # (3,) [m] place of the map that is the world's (0, 0, 0)

    def at(self, place: Point) -> Point:
        """Image in the world of a place of the map."""
        x, y = self.matrix @ (np.array(place) - self.origin[:2])
        return float(x), float(y)


Film = list[Moment]


def traffic(town: str, worlds: int, agents: int, rules: float = 1.0, **config: object) -> GigaflowVectorEnv:
    """Drivers of whom the share `rules` is rule-based, on a town, with 10 steps a second."""
    settings = {"dt": DT, "world_stagger": 0.0, "world_steps": 100_000, "max_steps": 100_000, "vel_spread": 1.0, **config}
    return GigaflowVectorEnv(
        worlds * agents,
        map=town,
        preset="laptop",
        agents_per_world=agents,
        drivers={"idm": rules, "policy": 1 - rules},
        action="continuous",
        copy=False,
        config=settings,
    )


def cruise(env: GigaflowVectorEnv) -> np.ndarray:
    """Actions (rows, 2) that keep 10 m/s and the middle of a straight lane: enough of a policy to brake for nothing."""
    motion, place = env.simulator.state.motion, env.simulator.state.lane_position
    jerk = (np.clip(10 - motion.speed, -3, 2) - motion.acceleration) / DT
    ahead = np.maximum(motion.speed, 4.0)
    lateral = -2 * (place.offset + ahead * place.angle) / ahead**2 * motion.speed**2
    side = (lateral - motion.lateral) / (3 * DT)
    actions = np.stack([np.where(jerk < 0, jerk / 15, jerk / 4), side / 4], axis=-1)
    return np.clip(actions, -1, 1).reshape(-1, 2).astype(np.float32)


def record(env: GigaflowVectorEnv, start: float, seconds: float, seed: int = 0) -> list[Film]:
    """A film of each world, a moment every 0.1 s, from `start` [s] on."""
    films: list[Film] = [[] for _ in range(env.num_worlds)]
    env.reset(seed=seed)
    for step in range(round((start + seconds) / DT)):
        env.step(cruise(env))
        if step < round(start / DT):
            continue
        for world, film in enumerate(films):
            state = env.simulator.world_state(world)
            phantom = (state.rows.erratic & PHANTOM != 0) & (state.motion.jerk == np.float32(env.config.phantom_jerk))
            scene = env.scene(world)._replace(followed=-1, neighbours=np.zeros(0, int), goals=np.zeros((0, 2)), text=())
            matrix = np.reshape([float(number) for number in state.variant[:4]], (2, 2))
            film.append(Moment(scene, state.body.kind, phantom, matrix, env.simulator.roads.origins[int(state.clock.map)]))
    return films


def panel(scene: Scene, view: View, width: int, height: int, notes: Sequence[tuple[float, float, str]] = ()) -> Image.Image:
    """`view` as wide as `width` pixels, and of its height the middle `height`; notes (x, y, text) stand above (x, y) [m]."""
    side = max(width, height)
    picture = draw(scene, view._replace(span=view.span * side / width), side)
    top, left = (side - height) // 2, (side - width) // 2
    image = Image.fromarray(picture[top : top + height, left : left + width])
    scale = width / view.span
    for x, y, text in notes:
        at = width / 2 + (x - view.x) * scale, height / 2 - (y - view.y) * scale
        ImageDraw.Draw(image).text(at, text, INK, _font(14), anchor="ms", stroke_width=2, stroke_fill=HALO)
    return image


def captioned(image: Image.Image, text: str) -> Image.Image:
    """The image with a text in its corner."""
    ImageDraw.Draw(image).text((10, 8), text, INK, _font(16), stroke_width=3, stroke_fill=HALO)
    return image


def sheet(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Panels in rows, those of a row of one height."""
    width = max(sum(image.width + GAP for image in row) for row in rows) - GAP
    whole = Image.new("RGB", (width, sum(row[0].height + GAP for row in rows) - GAP), PAPER)
    top = 0
    for row in rows:
        left = 0
        for image in row:
            whole.paste(image, (left, top))
            left += image.width + GAP
        top += row[0].height + GAP
    return whole


def _font(pixels: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(pixels)


def _speed(scene: Scene, agent: int) -> str:
    return f"{3.6 * abs(scene.speed[agent]):.0f} km/h"


def _level_road(scene: Scene) -> np.ndarray:
    """(agents,) bool: is there, and drives along x."""
    return scene.active & (abs(np.sin(scene.heading)) < 0.06)


# Each class


def classes_view(moment: Moment, span: float, height: float) -> tuple[float, View]:
    """How well a view (span, height) [m] shows all four classes, each with room for a label; 0 where one is missing."""
    scene, best = moment.scene, (0.0, View(0.0, 0.0))
    level = _level_road(scene)
    for a in np.flatnonzero(level & (moment.kind == list(ROAD_USERS).index("truck"))):
        for shift in (-12.0, 0.0, 12.0):
            x, y = scene.x[a] + shift, scene.y[a]
            there = scene.active & (abs(scene.x - x) < span / 2 - 3) & (abs(scene.y - y) < height / 2 - 1.5)
            if len(set(moment.kind[there].tolist())) < len(MIX) or not level[there].all():
                continue
            apart = np.maximum(abs(np.subtract.outer(scene.x[there], scene.x[there])) / 7.0,
                               abs(np.subtract.outer(scene.y[there], scene.y[there])) / 3.0)  # fmt: skip
            if apart[~np.eye(len(apart), dtype=bool)].min() < 1:
                continue
            quality = there.sum() + 2.0 * (np.ptp(np.cos(scene.heading[there])) > 1) - 0.02 * abs(scene.x[there].mean() - x)
            middle = (scene.y[there].min() + scene.y[there].max()) / 2
            best = max(best, (float(quality), View(float(x), float(middle), span)))
    return best


def classes() -> Image.Image:
    """A street on which many kinds of road users meet."""
    span, height = 64.0, 20.0
    films = record(traffic("downtown", 8, 100, population=MIX), 10.0, 60.0)
    rated = [(*classes_view(moment, span, height), moment) for film in films for moment in film[::5]]
    quality, view, moment = max(rated, key=lambda one: one[:2])
    found("classes", quality > 0)
    return classes_picture(moment, view, round(WIDTH * height / span))


def classes_picture(moment: Moment, view: View, height: int) -> Image.Image:
    """One moment, each road user labelled with its speed."""
    scene, names = moment.scene, list(ROAD_USERS)
    near = scene.active & (abs(scene.x - view.x) < view.span / 2) & (abs(scene.y - view.y) < view.span / 2)
    notes = [
        (scene.x[a], scene.y[a] + scene.width[a] / 2 + 0.5, f"{names[moment.kind[a]]} {_speed(scene, a)}")
        for a in np.flatnonzero(near)
    ]
    return panel(scene, view, WIDTH, height, notes)


# An erratic driver

PHANTOM_TIMES = (0.0, 0.8, 1.6, 4.0)  # s


def phantoms(film: Film) -> Iterator[tuple[float, int, int, int]]:
    """Phantom brakes on a level road: (quality, number of the moment before, who brakes, who follows)."""
    for start in range(1, len(film) - round(max(PHANTOM_TIMES) / DT) - 1):
        before, scene = film[start - 1], film[start].scene
        for a in np.flatnonzero(film[start].phantom & ~before.phantom & _level_road(scene) & (scene.speed > 8)):
            way = np.sign(np.cos(scene.heading[a]))
            ahead, aside = (scene.x - scene.x[a]) * way, abs(scene.y - scene.y[a])
            same = _level_road(scene) & (aside < 1.2) & (np.cos(scene.heading) * way > 0)
            behind = np.flatnonzero(same & (ahead < -5) & (ahead > -26) & (scene.speed > 7))
            if (same & (ahead > 0) & (ahead < 40)).any() or len(behind) == 0:
                continue
            b = int(behind[np.argmax(ahead[behind])])
            later = [film[start - 1 + round(t / DT)].scene for t in PHANTOM_TIMES]
            pair, here = [a, b], later[0]
            stay = [
                _level_road(one)[pair] & (abs(one.x - here.x)[pair] < 45) & (abs(one.y - here.y)[pair] < 2) for one in later
            ]
            if not np.all(stay):  # one of them turned, or began anew elsewhere
                continue
            drop = float(scene.speed[a] - later[2].speed[a])
            if drop > 4:
                yield drop + float(scene.speed[b] - later[2].speed[b]) + 0.3 * float(ahead[b]), start - 1, int(a), b


def erratic() -> Image.Image:
    """The clearest phantom brake."""
    films = record(traffic("downtown", 16, 60, rules=0.8, phantom=1.0, population="cars"), 5.0, 90.0)
    rated = [(one, film) for film in films for one in phantoms(film)]
    found("erratic", bool(rated))
    (_, start, a, b), film = max(rated, key=lambda one: one[0][0])
    return erratic_picture(film, start, a, b)


def erratic_picture(film: Film, start: int, a: int, b: int) -> Image.Image:
    """Four moments below one another at one place: who brakes is orange."""
    scenes = [film[start + round(t / DT)].scene for t in PHANTOM_TIMES]
    x = np.array([scene.x[[a, b]] for scene in scenes])
    left = 1.7 * np.sign(np.cos(scenes[0].heading[a]))  # half a lane: the middle of the street
    view = View(float(x.min() + x.max()) / 2, float(scenes[0].y[a] + left), max(float(np.ptp(x)) + 20.0, 60.0))
    rows = []
    for t, scene in zip(PHANTOM_TIMES, scenes, strict=True):
        notes = [(scene.x[k], scene.y[k] + 1.7, _speed(scene, k)) for k in (a, b)]
        image = panel(scene._replace(followed=a), view, WIDTH, 176, notes)
        rows.append([captioned(image, f"{t:.1f} s" + "  brakes for nothing" * bool(film[start + round(t / DT)].phantom[a]))])
    return sheet(rows)


# A bridge


def bridge() -> Image.Image:
    """A car that passes below a deck on which others drive."""
    films = record(traffic("highway", 8, 60), 10.0, 90.0)
    rated = [(*passing(film, k), film) for film in films for k in range(0, len(film) - 14)]
    quality, start, a, film = max(rated, key=lambda one: one[0])
    found("bridge", quality > 0)
    return bridge_picture(film, start, a)


def passing(film: Film, start: int) -> tuple[float, int, int]:
    """How many are on the deck and below it while one passes under it in 1.2 s: (quality, start, who)."""
    scenes = [film[start + k].scene for k in (0, 6, 12)]
    (x, y), deck_z = film[start].at(BRIDGE), DECK - film[start].origin[2]
    first, middle, last = scenes
    under = [scene.active & (scene.z < deck_z - 3) & (abs(scene.y - y) < 16) for scene in scenes]
    covered = under[1] & (abs(middle.x - x) < 2)
    out = under[0] & (abs(first.x - x) > 10) & (abs(first.x - x) < 24) & under[2] & (abs(last.x - x) > 10)
    deck = middle.active & (middle.z > deck_z - 1) & (abs(middle.x - x) < 9) & (abs(middle.y - y) < 20)
    who = np.flatnonzero(covered & out)
    if len(who) == 0 or not deck.any():
        return 0.0, start, -1
    both = np.ptp(np.sign(np.sin(middle.heading[deck]))) > 0
    others = under[1] & (abs(middle.x - x) < 24)
    return float(min(deck.sum(), 4) + others.sum() + both), start, int(who[0])


def bridge_picture(film: Film, start: int, a: int) -> Image.Image:
    """Before, below and behind the deck."""
    panels = []
    for k, text in ((0, "before"), (6, "below the deck"), (12, "behind")):
        scene = film[start + k].scene._replace(followed=a)
        panels.append(captioned(panel(scene, View(*film[start].at(BRIDGE), 52.0), _third(), _third()), text))
    return sheet([panels])


def _third() -> int:
    return (WIDTH - 2 * GAP) // 3


# A light cycle


def lights() -> Image.Image:
    """The clearest light cycle."""
    cycle = {"light_green": (5.0, 7.0), "light_red": (8.0, 10.0)}
    films = record(traffic("downtown", 16, 70, **cycle, **ALL_LIGHTS), 20.0, 80.0)
    rated = [(*turn, film) for film in films for turn in cycles(film)]
    found("lights", bool(rated))
    quality, stop, numbers, film = max(rated, key=lambda one: one[0])
    return lights_picture(film, stop, numbers)


def ahead_of(scene: Scene, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Place of each agent [m] beyond a stop line, and beside its middle."""
    x1, y1, x2, y2 = scene.roads.stops[stop]
    across = np.array([x2 - x1, y2 - y1]) / np.hypot(x2 - x1, y2 - y1)
    dx, dy = scene.x - (x1 + x2) / 2, scene.y - (y1 + y2) / 2
    side = dx * across[0] + dy * across[1]
    beyond = dx * -across[1] + dy * across[0]
    return beyond, abs(side)


def cycles(film: Film) -> Iterator[tuple[float, int, tuple[int, int, int]]]:
    """Stop lines of the crossing with a green, yellow and red moment: (quality, stop line, the three numbers)."""
    roads = film[0].scene.roads
    middles = roads.stops.reshape(-1, 2, 2).mean(axis=1)
    near = np.hypot(*(middles - film[0].at(CROSSING)).T) < 30
    for stop in np.flatnonzero(near & (roads.stop_lights >= 0)).tolist():
        colours = np.array([moment.scene.lights[roads.stop_lights[stop]] for moment in film])
        for k in np.flatnonzero((colours[:-1] == GREEN) & (colours[1:] == YELLOW)).tolist():
            red = k + 1 + int(np.argmax(colours[k + 1 :] == RED))
            stays = red + int(np.argmax(colours[red:] != RED)) - 1
            if k < 50 or colours[red] != RED or stays < red + 20:
                continue
            green = k - 15
            first, last = film[green].scene, film[stays].scene
            beyond, side = ahead_of(first, stop)
            drives = first.active & (side < 2) & (beyond > -10) & (beyond < 8) & (first.speed > 4)
            beyond, side = ahead_of(last, stop)
            waits = last.active & (side < 2) & (beyond > -25) & (beyond < 0) & (last.speed < 0.2)
            if drives.any() and waits.any() and not (waits & (first.speed < 1)).any():
                yield float(waits.sum() + drives.sum()), stop, (green, red - 5, stays)


def lights_picture(film: Film, stop: int, numbers: tuple[int, int, int]) -> Image.Image:
    """The same crossing at green, yellow and red."""
    panels = []
    for k, name in zip(numbers, ("green", "yellow", "red"), strict=True):
        view = View(*film[k].at(CROSSING), 64.0)
        image = panel(film[k].scene, view, _third(), _third())
        x, y = film[k].scene.roads.stops[stop].reshape(2, 2).mean(axis=0) - view[:2]
        at = _third() / 2 + x * _third() / view.span, _third() / 2 - y * _third() / view.span
        ImageDraw.Draw(image).circle(at, 16, outline=INK, width=2)
        panels.append(captioned(image, f"{(k - numbers[0]) * DT:.1f} s: {name}"))
    return sheet([panels])


# A warped town


def warped() -> Image.Image:
    """A town as it is, sheared, and flipped."""
    plain = record(traffic("downtown", 1, 80, **ALL_LIGHTS), 40.0, DT)
    others = record(traffic("downtown", 8, 80, **WARPED, **ALL_LIGHTS), 40.0, DT)
    flipped = min(
        (film[0] for film in others if np.linalg.det(film[0].matrix) < 0), key=lambda one: np.linalg.det(one.matrix)
    )
    sheared = max(
        (film[0] for film in others if np.linalg.det(film[0].matrix) > 0), key=lambda one: abs(one.matrix[0] @ one.matrix[1])
    )
    return warped_picture(
        [plain[0][0], sheared, flipped], ("the map", "sheared", "flipped"), View(300.0, 270.0, 800.0), View(*CROSSING, 90.0)
    )


def warped_picture(moments: Sequence[Moment], names: Sequence[str], whole: View, part: View) -> Image.Image:
    """Above the towns, below the same crossing of each."""
    rows = []
    for view in (whole, part):
        row = []
        for moment, name in zip(moments, names, strict=True):
            image = panel(moment.scene, View(*moment.at(view[:2]), view.span), _third(), _third())
            row.append(captioned(image, name) if view == whole else image)
        rows.append(row)
    return sheet(rows)


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "classes": classes, "erratic": erratic, "bridge": bridge, "lights": lights, "warped": warped,
}  # fmt: skip


def found(name: str, good: bool) -> None:
    """Stop where no film has such a moment."""
    if not good:
        raise SystemExit(f"{name}: no such moment in these films, look at other seeds")


def main(names: Sequence[str]) -> None:
    """Write the pictures with these names, or all."""
    unknown = sorted(set(names) - set(PICTURES))
    if unknown:
        raise SystemExit(f"unknown picture {unknown[0]!r}: there are {', '.join(PICTURES)}")
    for name in names or PICTURES:
        path = Path(__file__).resolve().parents[1] / "docs" / "media" / f"world_{name}.png"
        with replacing(path) as temporary:
            PICTURES[name]().save(temporary, format="png", optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
