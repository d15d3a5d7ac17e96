"""Erratic drivers: some agents at times do not see others, or brake for no reason. The others learn to cope with them.

Source: arXiv 2502.03349, App. B.4: 5 % of the agents intermittently do not see other vehicles, 10 % brake sharply for a
short time at random moments (A); they are driven by the policy, which is not told, and are left out of the training batch.
How long and how often isn't published (D). Ours: time is cut into windows, and a random draw decides for each window whether
the driver errs in it. So no state has to be kept.
"""

from gigaflow_env.jit import i32, rule, stage
from gigaflow_env.sim.random_numbers import ERRATIC, draws

INATTENTIVE, PHANTOM = 1, 2
"""Bits of Rows.erratic."""

_PHASE = i32(13)  # steps by which the windows of two agents are shifted, so that they do not all begin in one step


@rule
def errs_in_window(seed, world, a, tick, steps, share, number):
    """Whether the driver errs in the agent's current window of `steps` steps; it does in a share of all windows."""
    window = i32(i32(tick + i32(a) * _PHASE) // steps)
    u, _, _, _ = draws(seed, world, a, window, ERRATIC, number)
    return u < share


@stage
def is_blind(w, a, clock, rows, p):
    """Whether agent a sees no other agents in this step."""
    if (rows.erratic[w, a] & INATTENTIVE) == 0:
        return False
    return errs_in_window(
        clock.seed, clock.number[w], a, clock.tick[w], p.inattentive_steps, p.inattentive_share, INATTENTIVE
    )  # fmt: skip


@stage
def brakes(w, a, clock, rows, p):
    """Whether agent a brakes in this step, whatever its action."""
    if (rows.erratic[w, a] & PHANTOM) == 0:
        return False
    return errs_in_window(clock.seed, clock.number[w], a, clock.tick[w], p.phantom_steps, p.phantom_share, PHANTOM)
