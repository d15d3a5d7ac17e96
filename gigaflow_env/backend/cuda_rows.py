"""What the threads of a warp do together for one row of the observation."""

import math

from llvmlite import ir
from numba import cuda
from numba.cuda import types
from numba.cuda.extending import intrinsic, overload  # type: ignore[attr-defined]

from gigaflow_env.jit import ONLY_BY_ONE, f32, i32, least_of_row, lowest_bit, stage, u32, write_half
from gigaflow_env.packs import chosen, larger, like, root, smaller, within
from gigaflow_env.sim.erratic import is_blind
from gigaflow_env.sim.geometry import clip
from gigaflow_env.sim.observe import NOBODY, agent_of, clipped, key_scale, neighbour_key
from gigaflow_env.sim.precision import nearest_half
from gigaflow_env.state import ENDED

WARP = 32
"""Threads that go in step."""
LANES = 8
"""Of them share a row: a power of 2. With fewer, what is the same for all of a row is computed for more rows at once; eight
store 32 bytes, as much as memory takes at a time."""
GROUPS = WARP // LANES
ALL, GROUP = 0xFFFFFFFF, (1 << LANES) - 1
"""Who takes part in an exchange, a bit each: all threads of a warp; the first ones, that share a row."""
MOST = 0xFFFF
"""More than the agents of a world, and than the columns that fit into shared memory. Where the compiler sees such a bound,
an index that counts up to it needs no instructions of its own. Written as `while`: a `range` keeps three counters."""


@intrinsic
def anew(typing_context, number):  # type: ignore[no-untyped-def]
    """The same number, but to the compiler a new one: what follows from it is computed here, not before a loop and kept."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        bits = ir.IntType(32)
        move = ir.InlineAsm(ir.FunctionType(bits, [bits]), "mov.u32 $0, $1;", "=r,r", side_effect=True)
        return builder.call(move, arguments)

    return types.uint32(types.uint32), generate


@stage
def our_lane():
    """Which of the threads that share a row this is.

    Anew for each row: a thread has one row, seldom a few. Else the compiler computes the bounds of all loops of a row before
    the first row, and keeps them in 70 registers.
    """
    return u32(anew(u32(cuda.threadIdx.x)) % u32(LANES))


@stage
def our_group():
    """Who shares the row, a bit each."""
    return u32(GROUP << (cuda.laneid & (WARP - LANES)))


@stage
def without_first(bits, count):
    """The bits without the first `count` that are set."""
    for _ in range(count):
        bits = u32(bits & u32(bits - u32(1)))
    return bits


@stage
def first_of(bits):
    """Place of the first bit that is set."""
    return u32(WARP - 1 - cuda.clz(u32(bits & u32(-i32(bits)))))


def _never_called(marked, nothing):  # type: ignore[no-untyped-def]
    @overload(marked)
    def _nothing(*arguments):  # type: ignore[no-untyped-def]
        return lambda *arguments: nothing  # as nobody is alone


for _marked, _its_nothing in ONLY_BY_ONE.items():
    _never_called(_marked, _its_nothing)


@overload(like)
def _like(number, value):  # type: ignore[no-untyped-def]
    return lambda number, value: number


@overload(root)
def _root(value):  # type: ignore[no-untyped-def]
    return lambda value: f32(math.sqrt(value))


@overload(smaller)
def _smaller(one, other):  # type: ignore[no-untyped-def]
    return lambda one, other: min(one, other)


@overload(larger)
def _larger(one, other):  # type: ignore[no-untyped-def]
    return lambda one, other: max(one, other)


@overload(chosen)
def _chosen(flag, one, other):  # type: ignore[no-untyped-def]
    return lambda flag, one, other: one if flag else other


@overload(within)
def _within(value, low, high):  # type: ignore[no-untyped-def]
    return lambda value, low, high: clip(value, low, high)


@overload(lowest_bit)
def _lowest_bit(bits):  # type: ignore[no-untyped-def]
    return lambda bits: first_of(u32(bits))


@overload(least_of_row)
def _least_of_group(value):  # type: ignore[no-untyped-def]
    def least(value):  # type: ignore[no-untyped-def]
        k = LANES // 2
        while k > 0:
            value = min(value, cuda.shfl_xor_sync(our_group(), value, k))
            k //= 2
        return value

    return least


@stage
def find_neighbours(w, a, lane, keys, clock, rows, pose, neighbours, p):
    """See sim/observe.find_neighbours, which finds the same: a key has one place among all. Writes: neighbours.agent.

    Those that may be among them are gathered in `keys`, u32 (agents) in shared memory; the place of each is the number of
    smaller keys.
    """
    xs, ys, status, found = pose.x[w], pose.y[w], rows.status[w], neighbours.agent[w, a]
    wanted, agents = u32(len(found) & MOST), u32(len(xs) & MOST)
    if is_blind(w, a, clock, rows, p):
        for k in range(lane, wanted, LANES):
            found[u32(k)] = i32(-1)
        return
    x, y, scale = xs[a], ys[a], key_scale(p.view_range)
    # Nobody is among the nearest who is farther away than all of as many others: the nearest of the last step.
    ours, bound, k = our_group(), u32(0), lane
    while k < wanted:
        b = found[k]
        near = b >= 0 and status[u32(b)] >= ENDED
        bound = max(bound, neighbour_key(xs[u32(b)] - x, ys[u32(b)] - y, b, scale) if near else NOBODY)
        k = u32(k + u32(LANES))
    k = u32(LANES // 2)
    while k > 0:
        bound = max(bound, u32(cuda.shfl_xor_sync(ours, i32(bound), i32(k))))
        k = u32(k >> 1)
    before, count, start = u32(ours & u32(u32(1 << cuda.laneid) - u32(1))), u32(0), u32(0)
    while start < agents:
        b = u32(start + lane)
        key = NOBODY
        if b < agents and b != a and status[b] >= ENDED:
            key = neighbour_key(xs[b] - x, ys[b] - y, b, scale)
        near = key != NOBODY and key <= bound
        seen = u32(u32(cuda.ballot_sync(ours, near)) & ours)
        if near:
            keys[u32(count + u32(cuda.popc(u32(seen & before))))] = key
        count = u32(count + u32(cuda.popc(seen)))
        start = u32(start + u32(LANES))
    cuda.syncwarp(ours)
    k = u32(count + lane)
    while k < wanted:
        found[k] = i32(-1)
        k = u32(k + u32(LANES))
    k = lane
    while k < count:  # three at a time: what all are compared with is loaded once
        second, third = u32(k + u32(LANES)), u32(k + u32(2 * LANES))
        key1, key2, key3 = keys[k], keys[second] if second < count else u32(0), keys[third] if third < count else u32(0)
        place1, place2, place3, i = u32(0), u32(0), u32(0), u32(0)
        while i < count:
            other = keys[i]
            place1 = u32(place1 + (u32(1) if other < key1 else u32(0)))
            place2 = u32(place2 + (u32(1) if other < key2 else u32(0)))
            place3 = u32(place3 + (u32(1) if other < key3 else u32(0)))
            i = u32(i + u32(1))
        if place1 < wanted:
            found[place1] = agent_of(key1)
        if second < count and place2 < wanted:
            found[place2] = agent_of(key2)
        if third < count and place3 < wanted:
            found[place3] = agent_of(key3)
        k = u32(k + u32(3 * LANES))
    cuda.syncwarp(ours)


@intrinsic
def rounded(typing_context, bits):  # type: ignore[no-untyped-def]
    """Bits of the nearest float16 to a float32, of which the bits are given: an instruction of the card."""
    return types.uint32(types.uint32), write_half


@overload(nearest_half)
def _nearest_half(bits):  # type: ignore[no-untyped-def]
    return lambda bits: rounded(bits)


@stage
def copy_row(line, out, lane, columns):
    """A row on its way out of shared memory, clipped. Four columns at a time: one place, and three at a distance from it."""
    i = lane
    while i + 3 * LANES < columns:
        at = u32(i & MOST)
        line[at], line[at + LANES] = clipped(out[at]), clipped(out[at + LANES])
        line[at + 2 * LANES], line[at + 3 * LANES] = clipped(out[at + 2 * LANES]), clipped(out[at + 3 * LANES])
        i = u32(i + u32(4 * LANES))
    while i < columns:
        line[i] = clipped(out[i])
        i = u32(i + u32(LANES))
