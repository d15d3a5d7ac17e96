/* A CUDA driver without a card: memory is the host's. Kernels are named, and run where `attach` gave them a translation.
 *
 * With STUB_LOG each launch, copy and synchronisation is a line in that file. Functions that nobody needs an answer of succeed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
typedef unsigned long long Pointer;

static void *const CONTEXT = (void *)0x1000;
static void *current = (void *)0x1000;

static void note(const char *what, const char *name, unsigned blocks, unsigned threads, unsigned shared, void *stream) {
    const char *path = getenv("STUB_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file) return;
    fprintf(file, "%s %s %u %u %u %p\n", what, name, blocks, threads, shared, stream);
    fclose(file);
}

/* Handles have to differ. */
static void *handle(void) {
    static long last = 0x2000;
    return (void *)(last += 16);
}

Result cuDriverGetVersion(int *version) { *version = 13000; return 0; }
Result cuDeviceGetCount(int *count) { *count = 1; return 0; }
Result cuDeviceGet(int *device, int number) { *device = number; return 0; }
Result cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "stub"); return 0; }
Result cuDeviceGetUuid_v2(void *uuid, int device) { memset(uuid, 7, 16); return 0; }
Result cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 1u << 30; return 0; }
Result cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
        case 75: *value = 9; break; /* compute capability 9.0 */
        case 76: *value = 0; break;
        case 10: *value = 32; break; /* warp */
        case 16: *value = 132; break; /* processors */
        case 1: *value = 1024; break; /* threads of a block */
        case 8: *value = 49152; break; /* shared memory of a block */
        default: *value = 1;
    }
    return 0;
}
Result cuDevicePrimaryCtxRetain(void **context, int device) { *context = CONTEXT; return 0; }
Result cuCtxGetCurrent(void **context) { *context = current; return 0; }
Result cuCtxSetCurrent(void *context) { current = context; return 0; }
Result cuCtxPushCurrent_v2(void *context) { current = context; return 0; }
Result cuCtxPopCurrent_v2(void **context) { *context = current; return 0; }
Result cuCtxGetDevice(int *device) { *device = 0; return 0; }
Result cuMemGetInfo_v2(size_t *free, size_t *total) {
    const char *given = getenv("STUB_FREE");
    *free = given ? (size_t)atoll(given) : (size_t)1 << 30;
    *total = (size_t)1 << 30;
    return 0;
}
Result cuMemAlloc_v2(Pointer *pointer, size_t bytes) { *pointer = (Pointer)aligned_alloc(256, (bytes | 255) + 1); return 0; }
Result cuMemFree_v2(Pointer pointer) { free((void *)pointer); return 0; }
Result cuMemcpyHtoD_v2(Pointer to, const void *from, size_t n) {
    note("h2d", "sync", 0, 0, n, NULL);
    memcpy((void *)to, from, n);
    return 0;
}
Result cuMemcpyDtoH_v2(void *to, Pointer from, size_t n) {
    note("d2h", "sync", 0, 0, n, NULL);
    memcpy(to, (void *)from, n);
    return 0;
}
Result cuMemcpyHtoDAsync_v2(Pointer to, const void *from, size_t n, void *stream) {
    note("h2d", "async", 0, 0, n, stream);
    memcpy((void *)to, from, n);
    return 0;
}
Result cuMemcpyDtoHAsync_v2(void *to, Pointer from, size_t n, void *stream) {
    note("d2h", "async", 0, 0, n, stream);
    memcpy(to, (void *)from, n);
    return 0;
}
Result cuMemsetD8_v2(Pointer to, unsigned char value, size_t n) { memset((void *)to, value, n); return 0; }
Result cuMemsetD8Async(Pointer to, unsigned char value, size_t n, void *stream) { memset((void *)to, value, n); return 0; }
Result cuPointerGetAttribute(void *data, int attribute, Pointer pointer) {
    if (attribute == 1) *(void **)data = CONTEXT;
    else if (attribute == 2) *(int *)data = 2;
    else *(Pointer *)data = pointer;
    return 0;
}
Result cuLibraryLoadData(void **library, const void *code, void *a, void *b, unsigned c, void *d, void *e, unsigned f) {
    *library = handle();
    return 0;
}
Result cuLibraryGetModule(void **module, void *library) { *module = handle(); return 0; }
Result cuLibraryGetKernel(void **kernel, void *library, const char *name) { *kernel = strdup(name); return 0; }
Result cuKernelGetFunction(void **function, void *kernel) { *function = kernel; return 0; }
Result cuKernelGetAttribute(int *value, int attribute, void *kernel, int device) { *value = 64; return 0; }
Result cuFuncGetAttribute(int *value, int attribute, void *function) { *value = 64; return 0; }
/* How kernels run: `order` of threads, whether they are counted and watched for races; the last launch's counts. */
typedef struct { int order, count, races; double counts[6]; } Mode;
extern int run_kernel(void *, int, int, int, void **, int, int, int, double *);
static struct { void *function, *library; } attached[256];
static int number_attached;
static Mode mode;
Mode *emulation(void) { return &mode; }

/* From now on a launch of `function` runs the translated kernel in the shared library at `path`. */
const char *attach(void *function, const char *path) {
    for (int k = 0; k < number_attached; k++)
        if (attached[k].function == function) return NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return dlerror();
    if (number_attached == 256) return "more than 256 kernels";
    attached[number_attached].function = function;
    attached[number_attached++].library = library;
    return NULL;
}

Result cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned b, unsigned c,
                      unsigned shared, void *stream, void **parameters, void **extra) {
    note("launch", function, x, threads, shared, stream);
    if (getenv("STUB_REFUSE")) return 1;
    for (int k = 0; k < number_attached; k++)
        if (attached[k].function == function) {
            void *library = attached[k].library;
            return run_kernel(library, x, threads, shared, parameters, mode.order, mode.count, mode.races, mode.counts) ? 999 : 0;
        }
    return 0;
}
Result cuStreamGetCtx(void *stream, void **context) { *context = CONTEXT; return 0; }
Result cuStreamCreate(void **stream, unsigned flags) { *stream = handle(); return 0; }
Result cuEventCreate(void **event, unsigned flags) { *event = handle(); return 0; }
Result cuEventElapsedTime_v2(float *ms, void *from, void *to) { *ms = 1.0f; return 0; }
Result cuCtxSynchronize(void) { note("synchronise", "context", 0, 0, 0, NULL); return 0; }
Result cuStreamSynchronize(void *stream) { note("synchronise", "stream", 0, 0, 0, stream); return 0; }
Result cuGetErrorName(Result error, const char **name) { *name = "ERROR"; return 0; }
Result cuGetErrorString(Result error, const char **text) { *text = "error"; return 0; }

static Result fine(void) { return 0; }

/* Everything is asked for through this one: newest version first. */
Result cuGetProcAddress_v2(const char *symbol, void **function, int version, unsigned long long flags, int *status) {
    static const char *suffixes[] = {"_v2", ""};
    void *here = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    char name[128];
    *function = (void *)fine;
    for (int k = 0; k < 2; k++) {
        snprintf(name, sizeof name, "%s%s", symbol, suffixes[k]);
        void *found = dlsym(here, name);
        if (found) { *function = found; break; }
    }
    if (status) *status = 0;
    return 0;
}
Result cuGetProcAddress(const char *symbol, void **function, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(symbol, function, version, flags, NULL);
}
