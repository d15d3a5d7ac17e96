"""`render_mode="human"`: a window, here of SDL's dummy driver, which needs no display."""

import copy
import importlib

import gymnasium
import numpy as np
import pytest

import gigaflow_env  # noqa: F401  # registers GigaFlow-v0
from gigaflow_env.render import MissingExtra, Window, extra

pygame = pytest.importorskip("pygame", reason="windows need the extra render")


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def vector(**options):
    env = gymnasium.make_vec(
        "gigaflow_env:GigaFlow-v0", num_envs=4, map="loop", preset="laptop", agents_per_world=4, **options
    )
    env.unwrapped.metadata["render_fps"] = 1000  # nobody watches
    return env


def on_screen():
    return pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)


def test_each_step_of_a_vector_env_is_shown():
    env = vector(render_mode="human")
    env.reset(seed=1)
    np.testing.assert_array_equal(on_screen(), env.render_world())
    first = on_screen()
    env.step(np.full(4, 7))
    np.testing.assert_array_equal(on_screen(), env.render_world())
    assert (on_screen() != first).any()
    assert env.render() is None
    env.close()
    assert not pygame.display.get_init()


def test_each_step_of_one_car_is_shown():
    env = gymnasium.make("gigaflow_env:GigaFlow-v0", map="loop", preset="laptop", agents_per_world=4, render_mode="human")
    env.reset(seed=1)
    before = on_screen()
    env.step(7)
    assert (on_screen() != before).any()
    env.close()


def test_a_closed_window_stays_closed_and_the_episode_goes_on():
    env = vector(render_mode="human")
    env.reset(seed=1)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    env.step(np.zeros(4, int))
    assert not pygame.display.get_init()
    env.step(np.zeros(4, int))
    assert not pygame.display.get_init()
    env.close()


def test_a_copy_has_a_window_of_its_own():
    window = Window("one", 1000.0)
    window.show(np.zeros((32, 32, 3), np.uint8))
    other = copy.deepcopy(window)
    window.close()
    other.show(np.full((32, 32, 3), 9, np.uint8))
    assert (on_screen() == 9).all()
    other.close()


def test_without_a_display_it_says_what_to_choose(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "no-such-driver")
    with pytest.raises(RuntimeError, match='no window can be opened .*: choose render_mode="rgb_array"'):
        Window("one", 1000.0).show(np.zeros((32, 32, 3), np.uint8))


def test_a_missing_extra_is_said_at_make_vec(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

    monkeypatch.setattr(extra, "importlib", type("Nothing", (), {"import_module": staticmethod(missing)}))
    assert importlib.import_module("pygame") is pygame
    with pytest.raises(
        MissingExtra, match=r'drawing needs pygame: pip install "gigaflow-env\[render\]" \(in a checkout: pip'
    ):
        vector(render_mode="human")
