"""Evaluations while a run trains, on maps that it does not train on; the best policy so far is kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gigaflow_train import checkpoint
from gigaflow_train.checkpoint import Progress
from gigaflow_train.config import TrainConfig
from gigaflow_train.evaluate import policies
from gigaflow_train.evaluate.run import drive, figures
from gigaflow_train.journal import Journal

SEED = 1
"""Of worlds and actions: the same in each evaluation, so that differences are the policy's."""


def evaluate(
    env: Any,
    policy: Any,
    training: Any,
    config: TrainConfig,
    directory: Path,
    progress: Progress,
    journal: Journal,
    say: Callable[[str], None],
) -> Progress:
    """Drive on the held-out maps, and keep the policy as best.safetensors where none has reached more goals.

    The figures go with their intervals to evaluations.jsonl, and to TensorBoard as eval/NAME.

    env: of the evaluation; training: the environment of the training, whose facts go into the file.
    """
    act = policies.acting(policy, SEED, action=config.action)
    found = figures(drive(env, act, steps=config.eval_steps, seed=SEED))
    line: dict[str, Any] = {"iteration": progress.iteration, "step": progress.step, "minutes": progress.seconds / 60.0}
    line |= {name: estimate._asdict() for name, estimate in found.items()}
    journal.evaluated(progress.step, line)
    goal, crash = found["goal_rate"], found["collision_rate"]
    if goal.value is None or crash.value is None:
        say("evaluation on held-out maps: no route has ended")
        return progress
    say(
        f"evaluation on held-out maps at {progress.step:,} samples: goal reached {goal.value:.1%} "
        f"({goal.low:.1%} to {goal.high:.1%}), collided {crash.value:.1%}, {goal.n} routes"
    )
    if goal.value <= progress.best:
        return progress
    facts = checkpoint.facts_of(training, config, progress.before + progress.step, json.loads(json.dumps(line)))
    checkpoint.save_policy(directory / checkpoint.BEST, policy, facts)
    return progress._replace(best=goal.value)
