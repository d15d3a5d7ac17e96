"""Cycles of waiting: drivers that stand because of each other in a ring, and which of them ends it.

Each driver that stands names one agent because of which it does (`waits_for`), and how it could end that itself
(`waits_how`). If nobody moved any more, each would wait for one that waits, too: whoever follows these names comes into a
cycle. In each cycle exactly one has its turn: the one that can end it most gently, of several the one with the lowest
number. So no cycle lasts. Ours. That whoever has waited for long goes first (`announce`) is for those who would wait for
ever without a cycle.
"""

from gigaflow_env.jit import f32, i32, rule, stage
from gigaflow_env.state import IDM, LIVE

YIELD, BACK, STAY = 0, 1, 2
"""How a driver ends a cycle: it takes the right of way that it gave; it backs up; it can do nothing. The gentlest first."""

NO_TURN, ENDS, MAKES_ROOM = 0, 1, 2
"""Whose turn it is: nobody's; it ends the cycle; it stands behind one in which nobody can move, and backs up."""

CYCLE_TIME = f32(2.0)  # s that a driver has stood before it looks for a cycle


@stage
def waits_for(w, b, rows, traffic):
    """The agent because of which b stands, -1 if none: what it said in the last step, if it was there then."""
    if rows.status[w, b] != LIVE or rows.driver[w, b] != IDM or rows.steps[w, b] == 0:
        return i32(-1)
    return traffic.waits_for[w, b]


@rule
def turn_order(how, number, agents):
    """Who ends a cycle comes first in this order."""
    return i32(how * agents + number)


@stage
def turn_of(w, a, stood, rows, traffic):
    """Whether agent a ends the cycle of waiting in which it stands, or makes room behind one in which nobody can move.

    stood: for how long it has stood [s].
    """
    b = waits_for(w, a, rows, traffic)
    if b < 0 or stood < CYCLE_TIME:
        return NO_TURN
    agents = i32(rows.status.shape[1])
    for _ in range(agents):  # then it is inside of the cycle, if there is one
        b = waits_for(w, b, rows, traffic)
        if b < 0:
            return NO_TURN
    first, inside, at = turn_order(traffic.waits_how[w, b], b, agents), b == a, b
    for _ in range(agents):
        b = waits_for(w, b, rows, traffic)
        if b == at:
            break
        first, inside = min(first, turn_order(traffic.waits_how[w, b], b, agents)), inside or b == a
    own = turn_order(traffic.waits_how[w, a], i32(a), agents)
    if inside:
        return ENDS if own == first and traffic.waits_how[w, a] != STAY else NO_TURN
    return MAKES_ROOM if first >= STAY * agents and traffic.waits_how[w, a] != STAY else NO_TURN
