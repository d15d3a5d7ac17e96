"""What a rollout keeps: observations, or states that they are rebuilt from; the same training either way."""

import pytest
import torch
from safetensors.torch import load_file
from train_stub import Stub

from gigaflow_train import checkpoint, environment, store
from gigaflow_train.config import PRESETS
from gigaflow_train.train import train

CONFIG = PRESETS["laptop"]().replace(
    preset="paper", num_envs=48, environment={"world_steps": 50, "max_steps": 40}, minutes=None, rollout=8, steps=3 * 48 * 8,
    minibatch=64, set_widths=(8,), vector_width=16, trunk_widths=(16,), threads=1, agents_per_world=8,
)  # fmt: skip
CPU = torch.device("cpu")


def trained(directory, config):
    said = []
    train(environment.of_training(config), config, directory, say=said.append)
    return load_file(directory / checkpoint.WEIGHTS), said


def test_states_and_observations_come_to_the_same_weights_bit_for_bit(tmp_path):
    observations, told = trained(tmp_path / "one", CONFIG.replace(store="observations"))
    states, told_states = trained(tmp_path / "other", CONFIG.replace(store="states"))
    assert all(torch.equal(states[name], observations[name]) for name in observations)
    assert told[0].startswith("a rollout keeps observations: observations take 0.00")
    assert told_states[0].startswith("a rollout keeps states, 8.") and "GB are free" in told_states[0]


def test_the_choice_is_by_memory(monkeypatch):
    env = environment.of_training(CONFIG)
    seen = 8 * 48 * env.layout.size * 4
    for room, kept in ((seen / store.SHARE + 10, False), (seen / store.SHARE - 10, True)):
        monkeypatch.setattr(store, "free", lambda device, room=room: int(room))
        said = []
        assert (store.states_for(env, CONFIG, CPU, said.append) is not None) == kept and len(said) == 1
    half = CONFIG.replace(precision="bf16")  # half the bytes: they fit
    assert store.states_for(env, half, CPU, said.append) is None


def test_an_environment_without_states_keeps_observations(monkeypatch):
    monkeypatch.setattr(store, "free", lambda device: 1)
    assert store.states_for(Stub(8), CONFIG, CPU, lambda line: None) is None
    with pytest.raises(ValueError, match="store='states': Stub has no state_memory"):
        store.states_for(Stub(8), CONFIG.replace(store="states"), CPU, lambda line: None)
    env = environment.of_training(CONFIG)
    with pytest.raises(ValueError, match="store='states': a card keeps observations"):
        store.states_for(env, CONFIG.replace(store="states"), torch.device("cuda"), lambda line: None)


def test_free_memory_is_shared_by_the_processes_of_a_machine(monkeypatch):
    alone = store.free(CPU)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert store.free(CPU) == pytest.approx(alone / 4, rel=0.3) and alone > 10**8
