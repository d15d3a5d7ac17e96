"""Erratic drivers: some agents do not see others for a while, or brake for nothing. The others learn to live with them.

Source: arXiv 2502.03349, App. B.4: 5 % of the agents intermittently do not see other vehicles, 10 % brake sharply for a
short time at random moments (A); they are driven by the policy, which is not told, and are left out of the training batch.
How long and how often isn't published (D): time is cut into windows, and each window is one of those moments by chance. So a
moment begins and ends without any state.
"""

from gigaflow_env.jit import i32, rule, stage
from gigaflow_env.sim.random_numbers import ERRATIC, draws

INATTENTIVE, PHANTOM = 1, 2
"""Bits of Rows.erratic."""

_PHASE = i32(13)  # steps by which the windows of agents differ, so that they do not all begin in one step


@rule
def in_moment(seed, world, a, tick, steps, share, number):
    """Whether the agent's present window of `steps` steps is one of the `share` that counts."""
    window = i32(i32(tick + i32(a) * _PHASE) // steps)
    u, _, _, _ = draws(seed, world, a, window, ERRATIC, number)
    return u < share


@stage
def is_blind(w, a, clock, rows, p):
    """Whether agent a sees nobody now."""
    if (rows.erratic[w, a] & INATTENTIVE) == 0:
        return False
    return in_moment(
        clock.seed, clock.number[w], a, clock.tick[w], p.inattentive_steps, p.inattentive_share, INATTENTIVE
    )  # fmt: skip


@stage
def brakes(w, a, clock, rows, p):
    """Whether agent a brakes now, whatever its action."""
    if (rows.erratic[w, a] & PHANTOM) == 0:
        return False
    return in_moment(clock.seed, clock.number[w], a, clock.tick[w], p.phantom_steps, p.phantom_share, PHANTOM)
