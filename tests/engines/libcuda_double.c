/* A driver for tests: CUDA's functions as the code calls them, on host memory and at once.
   It lets NVIDIA's own Python bindings, our device and our graphs run without a GPU, so that
   what they hand over is of the types and in the order that the driver wants. A stream keeps
   what is recorded from it and replays that; allocations are counted against a small memory. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY ((size_t)64 << 20)
#define MOST 64

typedef struct { void *to; const void *from; size_t size; } Copy;
typedef struct { int count; Copy copies[MOST]; } Graph;

static struct { void *address; size_t size; } held[MOST];
static Graph *recording;
static size_t used;
static int context;

static int put(void *to, const void *from, size_t size) {
    if (!context) return 201;
    if (!recording) { memcpy(to, from, size); return 0; }
    if (recording->count == MOST) return 1;
    recording->copies[recording->count++] = (Copy){to, from, size};
    return 0;
}

int cuInit(unsigned flags) { return flags; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal ? 101 : 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Double", size); return device; }
int cuDeviceTotalMem_v2(size_t *size, int device) { *size = MEMORY; return device; }
int cuDeviceGetAttribute(int *value, int kind, int device) { *value = kind == 75 ? 9 : 0; return device; }
int cuDevicePrimaryCtxRetain(void **out, int device) { *out = &context; return device; }
int cuCtxPushCurrent_v2(void *pushed) { if (pushed != &context) return 201; context++; return 0; }
int cuCtxPopCurrent_v2(void **popped) { if (!context) return 201; context--; *popped = &context; return 0; }
int cuMemGetInfo_v2(size_t *free, size_t *total) { *free = MEMORY - used; *total = MEMORY; return 0; }

int cuMemAlloc_v2(uint64_t *address, size_t size) {
    if (!context) return 201;
    if (!size) return 1;
    if (size > MEMORY - used) return 2;
    for (int i = 0; i < MOST; i++)
        if (!held[i].address) {
            held[i].address = aligned_alloc(256, (size + 255) / 256 * 256);
            held[i].size = size;
            used += size;
            *address = (uint64_t)held[i].address;
            return 0;
        }
    return 2;
}

int cuMemFree_v2(uint64_t address) {
    for (int i = 0; i < MOST; i++)
        if ((uint64_t)held[i].address == address) {
            used -= held[i].size;
            free(held[i].address);
            held[i].address = 0;
            return 0;
        }
    return 1;
}

int cuMemHostAlloc(void **host, size_t size, unsigned flags) { *host = malloc(size); return flags; }
int cuMemFreeHost(void *host) { free(host); return 0; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = malloc(1); return flags == 1 ? 0 : 1; }
int cuStreamDestroy_v2(void *stream) { free(stream); return 0; }
int cuStreamSynchronize(void *stream) { return recording ? 900 : stream ? 0 : 400; }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *stream) {
    return stream ? put((void *)to, from, size) : 400;
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *stream) {
    return stream ? put(to, (const void *)from, size) : 400;
}

int cuStreamBeginCapture_v2(void *stream, int mode) {
    if (!stream || recording || mode != 1) return 1;
    recording = calloc(1, sizeof(Graph));
    return 0;
}
int cuStreamEndCapture(void *stream, void **graph) {
    if (!stream || !recording) return 1;
    *graph = recording;
    recording = 0;
    return 0;
}
int cuGraphInstantiateWithFlags(void **run, void *graph, unsigned long long flags) {
    *run = malloc(sizeof(Graph));
    memcpy(*run, graph, sizeof(Graph));
    return (int)flags;
}
int cuGraphDestroy(void *graph) { free(graph); return 0; }
int cuGraphExecDestroy(void *run) { free(run); return 0; }
int cuGraphLaunch(void *run, void *stream) {
    Graph *graph = run;
    if (!stream || recording) return 1;
    for (int i = 0; i < graph->count; i++)
        memcpy(graph->copies[i].to, graph->copies[i].from, graph->copies[i].size);
    return 0;
}

static const struct { const char *name; void *function; } names[] = {
    {"cuInit", cuInit}, {"cuDriverGetVersion", cuDriverGetVersion},
    {"cuDevicePrimaryCtxRetain", cuDevicePrimaryCtxRetain},
    {"cuCtxPushCurrent", cuCtxPushCurrent_v2}, {"cuCtxPopCurrent", cuCtxPopCurrent_v2},
    {"cuMemGetInfo", cuMemGetInfo_v2}, {"cuMemAlloc", cuMemAlloc_v2}, {"cuMemFree", cuMemFree_v2},
    {"cuMemHostAlloc", cuMemHostAlloc}, {"cuMemFreeHost", cuMemFreeHost},
    {"cuStreamCreate", cuStreamCreate}, {"cuStreamDestroy", cuStreamDestroy_v2},
    {"cuStreamSynchronize", cuStreamSynchronize}, {"cuMemcpyHtoDAsync", cuMemcpyHtoDAsync_v2},
    {"cuMemcpyDtoHAsync", cuMemcpyDtoHAsync_v2}, {0, 0},
};

int cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, int *status) {
    *found = 0;
    for (int i = 0; names[i].name; i++)
        if (!strcmp(names[i].name, name)) *found = names[i].function;
    if (status) *status = *found ? 0 : 1;
    (void)version; (void)flags;
    return *found ? 0 : 500;
}
int cuGetProcAddress(const char *name, void **found, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, found, version, flags, 0);
}
