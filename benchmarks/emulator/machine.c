/* Runs a translated kernel: a fibre a thread, in a chosen order, block after block.
 *
 * Barriers must be reached by all threads of a block that are still there, at one place. Shared memory begins as NaN. Where
 * asked for, it finds races (two threads at one address between two barriers, or two blocks, of which one writes) and counts
 * what warps in lockstep would do: instructions, and the sectors of 32 bytes that their loads and stores touch.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include "thread.h"

enum { STACK = 256 * 1024, WARP = 32, SECTOR = 32, MOST_THREADS = 1024, MOST_TOLD = 20, SEVERAL = -2, NOBODY = -1, OF_WARP = -3 };

/* What a launch comes to, per thing counted: in the order of COUNTS in launch.py. */
typedef struct { double warp_instructions, thread_instructions, load_sectors, store_sectors, load_bytes, store_bytes; } Counts;

typedef struct { int which, turn; uint64_t sector; } Touch;             /* the turn: how often this thread was here before */
typedef struct { ucontext_t context; Thread t; uint32_t *turns; Touch *touches; int used, room; } Fibre;
typedef struct { int block, thread, epoch, warp_epoch; } Access;
typedef struct { uint64_t address; Access write, read; } Cell;

static Fibre fibres[MOST_THREADS], *current;
static ucontext_t scheduler;
static char *stacks;
static void (*body)(Thread *, void **);
static void **arguments;
static const int *instructions;
static const Instruction *memory;
static int blocks, accesses, epoch, warp_epochs[MOST_THREADS / WARP], faults, counting, checking;
static Counts counts;
static Cell *cells;
static const uint64_t CELLS = 1 << 22;

static void told(const char *what, int a, int b) {
    if (faults++ < MOST_TOLD) fprintf(stderr, "kernel: %s (%d, %d)\n", what, a, b);
}

/* Races */

/* Several readers of one warp are known by the warp, others only as several. */
static int warp_of(int thread) { return thread >= 0 ? thread / WARP : thread <= OF_WARP ? OF_WARP - thread : NOBODY; }

static int together(Access a, Access b) {
    return a.thread == NOBODY || (a.thread == b.thread && a.thread >= 0 && a.block == b.block) ? 0
        : a.block == b.block && (a.epoch != b.epoch
            || (warp_of(a.thread) == warp_of(b.thread) && a.warp_epoch != b.warp_epoch)) ? 0 : 1;
}

static void check(Thread *t, int which, uint64_t address) {
    uint64_t at = address * 0x9E3779B97F4A7C15ull >> 42, tried = 0;
    while (cells[at].address && cells[at].address != address) {
        at = (at + 1) & (CELLS - 1);
        if (++tried == CELLS) { fprintf(stderr, "kernel: more addresses than are watched\n"); exit(1); }
    }
    Cell *cell = &cells[at];
    if (!cell->address) *cell = (Cell){address, {0, NOBODY}, {0, NOBODY}};
    Access now = {memory[which][0] ? -1 - t->ctaid : t->ctaid, t->tid, epoch, warp_epochs[t->tid / WARP]};
    if (memory[which][0] && cell->write.block != now.block) cell->write.thread = cell->read.thread = NOBODY; /* reused memory */
    if (memory[which][1]) {
        if (together(cell->write, now)) told("two threads write one address", cell->write.thread, t->tid);
        if (together(cell->read, now)) told("a thread reads what another writes", cell->read.thread, t->tid);
        cell->write = now;
    } else {
        if (together(cell->write, now)) told("a thread reads what another writes", t->tid, cell->write.thread);
        /* One reader stands for all, as long as no writer can tell them apart. */
        if (together(cell->read, now) && cell->read.block == now.block)
            now.thread = warp_of(cell->read.thread) == now.thread / WARP ? OF_WARP - now.thread / WARP : SEVERAL;
        cell->read = now;
    }
}

static void access_memory(Thread *t, int which, uint64_t address, int bytes, int elements) {
    if (checking) for (int k = 0; k < elements; k++) check(t, which, address + k * bytes);
    bytes *= elements;
    if (address % bytes) told("an access that is not aligned", which, bytes);
    if (!counting || memory[which][0]) return;
    Fibre *f = current;
    if (f->used == f->room) f->touches = realloc(f->touches, (f->room = 2 * f->room + 1024) * sizeof(Touch));
    f->touches[f->used++] = (Touch){which, f->turns[which]++, address / SECTOR};
    *(memory[which][1] ? &counts.store_bytes : &counts.load_bytes) += bytes;
}

/* Counts */

static int by_instruction(const void *x, const void *y) {
    const Touch *a = x, *b = y;
    return a->which != b->which ? a->which - b->which : a->turn != b->turn ? a->turn - b->turn
        : (a->sector > b->sector) - (a->sector < b->sector);
}

/* In lockstep a warp goes through a basic block as often as the thread that needs it most. */
static void count_warp(int first, int end) {
    static Touch *all;
    static int room;
    int used = 0;
    for (int k = 0; k < blocks; k++) {
        uint32_t most = 0;
        for (int i = first; i < end; i++) {
            uint32_t visits = fibres[i].t.visits[k];
            if (visits > most) most = visits;
            counts.thread_instructions += (double)visits * instructions[k];
        }
        counts.warp_instructions += (double)most * instructions[k];
    }
    for (int i = first; i < end; i++) {
        if (used + fibres[i].used > room) all = realloc(all, (room = 2 * (used + fibres[i].used)) * sizeof(Touch));
        memcpy(all + used, fibres[i].touches, fibres[i].used * sizeof(Touch));
        used += fibres[i].used;
    }
    qsort(all, used, sizeof(Touch), by_instruction);
    for (int i = 0; i < used; i++)
        if (i == 0 || by_instruction(&all[i - 1], &all[i]))
            *(memory[all[i].which][1] ? &counts.store_sectors : &counts.load_sectors) += 1;
}

/* Fibres and barriers */

static void pause_thread(Thread *t) { swapcontext(&current->context, &scheduler); }

static void enter(void) {
    body(&current->t, arguments);
    current->t.state = DONE;
    swapcontext(&current->context, &scheduler);
}

static void begin(Fibre *f, int number, int block, int blocks_of_grid, int threads, uint8_t *shared, int bytes) {
    f->t = (Thread){number, block, threads, blocks_of_grid, bytes, shared, f->t.visits, RUNS, 0, 0, 0, 0, 0, pause_thread, access_memory};
    f->t.visits = realloc(f->t.visits, blocks * sizeof(uint32_t));
    f->turns = realloc(f->turns, (accesses + 1) * sizeof(uint32_t));
    memset(f->t.visits, 0, blocks * sizeof(uint32_t));
    memset(f->turns, 0, accesses * sizeof(uint32_t));
    f->used = 0;
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = stacks + (size_t)STACK * number;
    f->context.uc_stack.ss_size = STACK;
    f->context.uc_link = NULL;
    makecontext(&f->context, enter, 0);
}

/* Lets those go on whose barrier is complete; whether there were any. */
static int release(int threads) {
    int released = 0, there = 0, waiting = 0, gone = 0, place = -1, mixed = 0, vote = 0;
    for (int first = 0; first < threads; first += WARP) {
        int end = first + WARP < threads ? first + WARP : threads, at = 0, others = 0;
        for (int i = first; i < end; i++)
            if (fibres[i].t.state == AT_WARP_BARRIER) at++;
            else if (fibres[i].t.state != DONE) others++;
        if (!at || others) continue;
        warp_epochs[first / WARP]++;
        uint32_t votes = 0;
        for (int i = first; i < end; i++) votes |= (uint32_t)(fibres[i].t.vote != 0) << (i - first);
        for (int i = first; i < end; i++) {
            Thread *t = &fibres[i].t;
            if (t->state != AT_WARP_BARRIER) continue;
            if (!t->exchanges) continue;
            for (int k = 0; k < WARP; k++)
                if (t->exchanges >> k & 1 && (fibres[first + k].t.exchanges != t->exchanges || fibres[first + k].t.place != t->place))
                    told("a thread is missing where others exchange values with it", i, first + k);
            t->voted = t->source < 0 ? votes & t->exchanges : fibres[first + t->source].t.vote;
        }
        for (int i = first; i < end; i++)
            if (fibres[i].t.state == AT_WARP_BARRIER) fibres[i].t.state = RUNS;
        released = 1;
    }
    for (int i = 0; i < threads; i++) {
        Thread *t = &fibres[i].t;
        there += t->state != DONE;
        gone += t->state == DONE;
        if (t->state != AT_BLOCK_BARRIER) continue;
        waiting++;
        vote |= t->vote;
        mixed |= place >= 0 && place != t->place;
        place = t->place;
    }
    if (!waiting || waiting < there) return released;
    if (gone) told("threads have returned before a barrier of their block", gone, threads);
    if (mixed) told("threads of a block wait at different barriers", place, threads);
    epoch++;
    for (int i = 0; i < threads; i++)
        if (fibres[i].t.state == AT_BLOCK_BARRIER) fibres[i].t.state = RUNS, fibres[i].t.voted = vote;
    return 1;
}

/* One launch. `order`: 0 forwards, 1 backwards, above that at random. The number of faults, or -1 where no thread can go on. */
int run_kernel(void *library, int grid, int threads, int bytes, void **parameters, int order, int count, int check_races, Counts *out) {
    unsigned random = order * 7919u + 1;
    int turn[MOST_THREADS];
    body = (void (*)(Thread *, void **))dlsym(library, "body");
    blocks = *(int *)dlsym(library, "blocks"), accesses = *(int *)dlsym(library, "accesses");
    instructions = dlsym(library, "instructions"), memory = dlsym(library, "memory");
    arguments = parameters, counting = count, checking = check_races, faults = 0, counts = (Counts){0};
    if (!stacks) stacks = mmap(NULL, (size_t)STACK * MOST_THREADS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (checking) {
        if (!cells) cells = malloc(CELLS * sizeof(Cell));
        memset(cells, 0, CELLS * sizeof(Cell));
    }
    uint8_t *shared = malloc(bytes + 64);
    for (int block = 0; block < grid; block++) {
        memset(shared, 0xff, bytes + 64); /* NaN */
        for (int i = 0; i < threads; i++) begin(&fibres[i], turn[i] = i, block, grid, threads, shared, bytes);
        for (int there = threads; there;) {
            int ran = 0;
            if (order == 1) for (int i = 0; i < threads; i++) turn[i] = threads - 1 - i;
            if (order > 1) for (int i = threads - 1; i > 0; i--) {
                random = random * 1664525u + 1013904223u;
                int j = (random >> 8) % (i + 1), moved = turn[i];
                turn[i] = turn[j], turn[j] = moved;
            }
            for (int i = 0; i < threads; i++) {
                current = &fibres[turn[i]];
                if (current->t.state != RUNS) continue;
                swapcontext(&scheduler, &current->context);
                there -= current->t.state == DONE;
                ran = 1;
            }
            if (!release(threads) && !ran && there) {
                told("no thread can go on", there, threads);
                free(shared);
                return -1;
            }
        }
        if (counting) for (int first = 0; first < threads; first += WARP) count_warp(first, first + WARP < threads ? first + WARP : threads);
    }
    free(shared);
    if (out) *out = counts;
    return faults;
}
