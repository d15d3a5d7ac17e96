"""What every adapter refuses: an environment with which its library would train on wrong data, without an error."""

from typing import Any

from gymnasium.vector import AutoresetMode, VectorEnv

from gigaflow_env.env import GigaflowVectorEnv

Env = VectorEnv[Any, Any, Any]
"""What `make_vec` returns, for type checkers; it must be a GigaflowVectorEnv, without wrappers."""


def checked(
    env: Env, library: str, mode: AutoresetMode, *, tensors: bool = False, continuous: bool = False
) -> GigaflowVectorEnv:
    """The environment, if the library can train with it.

    Raises TypeError for another environment, ValueError for another mode, reused arrays, output or actions.
    """
    if not isinstance(env, GigaflowVectorEnv):
        raise TypeError(f"env={env!r}: expected a GigaflowVectorEnv, as make_vec returns it")
    if env.autoreset_mode != mode:
        raise ValueError(f'autoreset_mode is "{env.autoreset_mode.value}": {library} needs "{mode.value}"')
    if not env.copy:
        # Its buffers take an observation after the next step: they would learn from the wrong ones.
        raise ValueError(f"copy is False: {library} keeps observations and needs copy=True")
    if tensors and env.output != "torch":
        raise ValueError(f'output is "{env.output}": the adapter to {library} passes tensors on, and needs output="torch"')
    if continuous and not env.simulator.wanted.size:
        raise ValueError(f'action is "discrete": {library} has continuous actions only, and needs action="continuous"')
    return env
