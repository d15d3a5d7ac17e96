/* What translated kernels and the machine that runs them share. */
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { RUNS, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };

typedef struct Thread {
    int tid, ctaid, ntid, nctaid, shared_bytes;
    uint8_t *shared;
    uint32_t *visits;                                /* of each basic block, where they are counted */
    int state, place, vote, voted, source;           /* at a barrier: which, what it brings and takes away, and from whom */
    uint32_t exchanges;                              /* with whom it exchanges there, a bit each; 0: with nobody */
    void (*pause)(struct Thread *);                  /* until its barrier is complete */
    void (*access)(struct Thread *, int which, uint64_t address, int bytes, int elements);
} Thread;

/* Of each memory instruction: [is shared, is a store, basic block]. */
typedef int Instruction[3];

static inline float as_float(uint32_t bits) { float x; memcpy(&x, &bits, 4); return x; }
static inline uint32_t as_bits(float x) { uint32_t bits; memcpy(&bits, &x, 4); return bits; }

/* Float to integer: what lies outside goes to the nearest, NaN to 0. */
static inline int32_t to_s32(float x) { return x != x ? 0 : x >= 0x1p31f ? INT32_MAX : x < -0x1p31f ? INT32_MIN : (int32_t)x; }
static inline uint32_t to_u32(float x) { return !(x > 0) ? 0 : x >= 0x1p32f ? UINT32_MAX : (uint32_t)x; }
static inline int64_t to_s64(float x) { return x != x ? 0 : x >= 0x1p63f ? INT64_MAX : x < -0x1p63f ? INT64_MIN : (int64_t)x; }
static inline uint64_t to_u64(float x) { return !(x > 0) ? 0 : x >= 0x1p64f ? UINT64_MAX : (uint64_t)x; }

/* The nearest half, ties to even. */
static inline uint16_t half_of(float x) { _Float16 half = x; uint16_t bits; memcpy(&bits, &half, 2); return bits; }

/* prmt: each digit of the selector takes a byte of b:a, or its sign eight times. */
static inline uint32_t permute(uint32_t a, uint32_t b, uint32_t selector) {
    uint64_t both = (uint64_t)b << 32 | a;
    uint32_t found = 0;
    for (int k = 0; k < 4; k++) {
        uint32_t digit = selector >> 4 * k & 15, byte = both >> 8 * (digit & 7) & 255;
        found |= (digit & 8 ? (byte & 128 ? 255 : 0) : byte) << 8 * k;
    }
    return found;
}

/* bfi: `length` bits of a, put into b from `position` on. */
static inline uint64_t insert_bits(uint64_t a, uint64_t b, uint32_t position, uint32_t length, int width) {
    position &= 255, length &= 255;
    if (position >= (uint32_t)width || length == 0) return b;
    uint64_t mask = (length >= 64 ? ~0ull : (1ull << length) - 1) << position;
    return (b & ~mask) | (a << position & mask);
}

static inline void wait_for_block(Thread *t, int place) { t->state = AT_BLOCK_BARRIER, t->place = place, t->vote = 0, t->pause(t); }
static inline void wait_for_warp(Thread *t, int place) { t->state = AT_WARP_BARRIER, t->place = place, t->pause(t); }
/* The threads of a warp that `who` has a bit for bring a value; each takes the one of the thread `source`, or a bit of everybody's where that is -1. */
static inline uint32_t exchange(Thread *t, int place, uint32_t value, int source, uint32_t who) {
    t->state = AT_WARP_BARRIER, t->place = place, t->vote = value, t->source = source, t->exchanges = who, t->pause(t);
    t->exchanges = 0;
    return t->voted;
}
static inline int any_of_block(Thread *t, int place, int vote) {
    t->state = AT_BLOCK_BARRIER, t->place = place, t->vote = vote != 0, t->pause(t);
    return t->voted;
}
