// A stand-in for libcuda.so.1: one GPU whose memory is the host's. It records what it is asked to do
// (one line for each call, in the file that STAND_IN_LOG names) and can fail at a chosen point:
//
//   STAND_IN_FAIL=alloc:N   the Nth allocation finds no memory; also context, pin
//   STAND_IN_FAIL=launch:N  the Nth launch fails; also copy, event, function, module, set
//   STAND_IN_FAIL=lost:N    the Nth launch loses the context: all calls fail until it is reset
//   STAND_IN_MEMORY=BYTES   memory of the GPU (default 24 GiB)
//   STAND_IN_SHARED=FILE    the memory is that of all programs with this file
//   STAND_IN_CAPABILITY=100 the GPU's compute capability (default 89)
//   STAND_IN_POOLS=no       the GPU has no memory pools
//   STAND_IN_TIME=FILE      at the end, the calls and the time spent in here are written there
//
// Kernels compute nothing, except the choice of a token and the few that a program checks before it
// trusts a GPU with a model (kernels.c). The memory that they would write is zero.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "stand-in.h"

enum { OK, INVALID = 1, NO_MEMORY = 2, ILLEGAL_ADDRESS = 700 };
// `dirty`: something was written there, so that it is no longer zero.
typedef struct Block { struct Block *next; char *start; size_t bytes; int dirty; } Block;
typedef struct { char name[256]; } Function;

// What can fail. Every launch counts as one that may be LOST, too.
enum Kind { ALLOC, CONTEXT, COPY, EVENT, FUNCTION, LAUNCH, LOST, MODULE, PIN, SET, KINDS };
static const char *const KIND[KINDS] = {"alloc", "context", "copy",   "event", "function",
                                        "launch", "lost",   "module", "pin",   "set"};

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static Block *blocks, *pinned, *unused[256];
static size_t total, used, peak, own;
static size_t *taken = &own; // by all programs
static long count[KINDS], failing, entered;
static enum Kind failure = KINDS;
static int lost, current, retained, depth;
static FILE *out;
static double inside; // seconds

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec * 1e-9;
}

static void use(long bytes) {
  used += bytes;
  __atomic_add_fetch(taken, bytes, __ATOMIC_SEQ_CST);
}

static void start(void) {
  if (total) return;
  const char *memory = getenv("STAND_IN_MEMORY"), *log = getenv("STAND_IN_LOG");
  const char *fail = getenv("STAND_IN_FAIL"), *colon = fail ? strchr(fail, ':') : NULL;
  total = memory ? strtoull(memory, 0, 10) : 24ull << 30;
  if (log) out = fopen(log, "a");
  const char *shared = getenv("STAND_IN_SHARED");
  const int file = shared ? open(shared, O_RDWR | O_CREAT, 0600) : -1;
  if (file >= 0 && !ftruncate(file, sizeof own)) {
    void *map = mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map != MAP_FAILED) taken = map;
  }
  for (int kind = 0; colon && kind < KINDS; kind++)
    if (!strncmp(fail, KIND[kind], colon - fail) && !KIND[kind][colon - fail])
      failure = kind, failing = atol(colon + 1);
}

__attribute__((destructor)) static void end(void) {
  const char *file = getenv("STAND_IN_TIME");
  FILE *to = file ? fopen(file, "a") : NULL;
  if (to) {
    fprintf(to, "calls %ld seconds %.6f launches %ld allocations %ld copies %ld\n", entered, inside,
            count[LAUNCH], count[ALLOC], count[COPY]);
    fclose(to);
  }
  __atomic_sub_fetch(taken, used, __ATOMIC_SEQ_CST);
  if (total) stand_in_record("end used %zu peak %zu pinned %d lost %d", used, peak, pinned != NULL, lost);
}

void stand_in_record(const char *format, ...) {
  if (!out) return;
  va_list arguments;
  va_start(arguments, format);
  vfprintf(out, format, arguments);
  va_end(arguments);
  fputc('\n', out);
  fflush(out);
}

// Whether this is the call at which a kind is to fail.
static int fails(enum Kind kind) { return ++count[kind] == failing && kind == failure; }

static double since;
#define ENTER                                                                                     \
  pthread_mutex_lock(&lock);                                                                      \
  start();                                                                                        \
  entered++;                                                                                      \
  if (!depth++) since = now()
#define LEAVE(value)                                                                              \
  do {                                                                                            \
    int result = (value);                                                                         \
    if (!--depth) inside += now() - since;                                                        \
    pthread_mutex_unlock(&lock);                                                                  \
    return result;                                                                                \
  } while (0)
#define ALIVE                                                                                     \
  if (lost) LEAVE(ILLEGAL_ADDRESS)

int cuInit(unsigned flags) { ENTER; stand_in_record("init"); LEAVE(OK); }
int cuDriverGetVersion(int *version) { *version = 13000; return OK; }
int cuDeviceGetCount(int *count) { *count = 1; return OK; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal ? 101 : OK; }
int cuDeviceGetName(char *name, int length, int device) {
  snprintf(name, length, "Stand-in GPU");
  return OK;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { ENTER; *bytes = total; LEAVE(OK); }
int cuDeviceGetPCIBusId(char *id, int length, int device) {
  snprintf(id, length, "0000:01:00.0");
  return OK;
}
static int capability(void) {
  const char *text = getenv("STAND_IN_CAPABILITY");
  return text ? atoi(text) : 89;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  switch (attribute) {
    case 75: *value = capability() / 10; break;
    case 76: *value = capability() % 10; break;
    case 16: *value = 128; break;  // multiprocessors
    case 10: *value = 32; break;   // threads in a warp
    case 1: *value = 1024; break;  // threads in a block
    case 8: *value = 48 << 10; break;
    case 81: *value = 100 << 10; break;
    case 20: *value = 0; break;    // any number of programs
    case 115: *value = !getenv("STAND_IN_POOLS"); break; // memory pools
    case 97: *value = 99 << 10; break;
    default: *value = 0;
  }
  return OK;
}
int cuDeviceGetDefaultMemPool(void **pool, int device) { *pool = &pinned; return OK; }
int cuMemPoolSetAttribute(void *pool, int attribute, void *value) {
  ENTER;
  stand_in_record("pool %d %llu", attribute, (unsigned long long)*(uint64_t *)value);
  LEAVE(OK);
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
  ENTER;
  stand_in_record("context");
  if (fails(CONTEXT)) LEAVE(NO_MEMORY);
  *context = &current;
  retained++;
  LEAVE(OK);
}
static void forget(void) {
  while (blocks) {
    Block *block = blocks;
    blocks = block->next;
    free(block->start);
    free(block);
  }
  use(-(long)used);
}
int cuDevicePrimaryCtxRelease_v2(int device) {
  ENTER;
  if (--retained == 0) forget();
  stand_in_record("release %d", retained);
  LEAVE(OK);
}
int stand_in_reset(void) {
  ENTER;
  forget();
  lost = 0;
  stand_in_record("reset");
  LEAVE(OK);
}
int cuCtxGetCurrent(void **context) { *context = retained ? &current : 0; return OK; }
int cuCtxSetCurrent(void *context) { return OK; }
int cuCtxGetDevice(int *device) { *device = 0; return OK; }
int cuCtxSynchronize(void) { ENTER; ALIVE; stand_in_record("synchronize"); LEAVE(OK); }
int cuMemGetInfo_v2(size_t *available, size_t *all) {
  ENTER;
  ALIVE;
  *all = total;
  *available = total - *taken;
  LEAVE(OK);
}

int cuStreamCreate(void **stream, unsigned flags) { *stream = malloc(8); return OK; }
int cuStreamDestroy_v2(void *stream) { free(stream); return OK; }
int cuStreamSynchronize(void *stream) { ENTER; ALIVE; stand_in_record("synchronize"); LEAVE(OK); }
int cuStreamIsCapturing(void *stream, int *status) { *status = 0; return OK; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return OK; }
int cuEventCreate(void **event, unsigned flags) {
  ENTER;
  ALIVE;
  stand_in_record("event");
  if (fails(EVENT)) LEAVE(INVALID);
  *event = malloc(8);
  LEAVE(OK);
}
int cuEventDestroy_v2(void *event) { free(event); return OK; }
int cuEventRecord(void *event, void *stream) { return OK; }
int cuEventSynchronize(void *event) { ENTER; ALIVE; LEAVE(OK); }
int cuEventQuery(void *event) { return OK; }

// Freed memory waits for the next allocation of its size: the time of a program that is measured
// should not be that of the host's allocator.
static Block **unused_of(size_t bytes) { return &unused[bytes / 64 % 256]; }

int cuMemAllocAsync(uint64_t *address, size_t bytes, void *stream) {
  ENTER;
  ALIVE;
  if (fails(ALLOC) || *taken + bytes > total) {
    stand_in_record("alloc %zu failed", bytes);
    LEAVE(NO_MEMORY);
  }
  Block **at = unused_of(bytes), *block;
  while (*at && (*at)->bytes != bytes) at = &(*at)->next;
  if ((block = *at)) {
    *at = block->next;
    if (block->dirty) memset(block->start, 0, bytes);
  } else {
    block = malloc(sizeof *block);
    // A little more than asked for: kernels may read padding.
    *block = (Block){NULL, calloc(bytes + 4096, 1), bytes};
  }
  block->next = blocks;
  block->dirty = 0;
  blocks = block;
  use(bytes);
  if (used > peak) peak = used;
  *address = (uint64_t)block->start;
  stand_in_record("alloc %zu used %zu peak %zu", bytes, used, peak);
  LEAVE(OK);
}
int cuMemFreeAsync(uint64_t address, void *stream) {
  ENTER;
  ALIVE;
  for (Block **at = &blocks; *at; at = &(*at)->next) {
    Block *block = *at;
    if ((uint64_t)block->start != address) continue;
    *at = block->next;
    use(-(long)block->bytes);
    stand_in_record("free %zu used %zu", block->bytes, used);
    block->next = *unused_of(block->bytes);
    *unused_of(block->bytes) = block;
    LEAVE(OK);
  }
  stand_in_record("free of unknown memory");
  LEAVE(INVALID);
}
int cuMemAlloc_v2(uint64_t *address, size_t bytes) { return cuMemAllocAsync(address, bytes, 0); }
int cuMemFree_v2(uint64_t address) { return cuMemFreeAsync(address, 0); }

// The allocation in which a range lies; if there is none, the call is recorded as wrong.
static Block *owner(uint64_t address, size_t bytes) {
  for (Block *block = blocks; block; block = block->next)
    if (address >= (uint64_t)block->start &&
        address + bytes <= (uint64_t)block->start + block->bytes)
      return block;
  stand_in_record("out of bounds: %zu bytes", bytes);
  return NULL;
}
int cuMemHostAlloc(void **address, size_t bytes, unsigned flags) {
  ENTER;
  ALIVE;
  if (fails(PIN)) LEAVE(NO_MEMORY);
  Block *block = malloc(sizeof *block);
  *block = (Block){pinned, malloc(bytes), bytes};
  pinned = block;
  *address = block->start;
  stand_in_record("pin %zu", bytes);
  LEAVE(OK);
}
int cuMemFreeHost(void *address) {
  ENTER;
  for (Block **at = &pinned; *at; at = &(*at)->next) {
    Block *block = *at;
    if (block->start != address) continue;
    *at = block->next;
    stand_in_record("unpin %zu", block->bytes);
    free(block->start);
    free(block);
    break;
  }
  LEAVE(OK);
}
static const char *is_pinned(const char *address) {
  for (Block *block = pinned; block; block = block->next)
    if (address >= block->start && address < block->start + block->bytes) return "pinned";
  return "pageable";
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) {
  ENTER;
  ALIVE;
  stand_in_record("to-gpu %zu %s", bytes, is_pinned(from));
  Block *target = owner(to, bytes);
  if (fails(COPY) || !target) LEAVE(INVALID);
  target->dirty = 1;
  memcpy((void *)to, from, bytes);
  LEAVE(OK);
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) {
  ENTER;
  ALIVE;
  stand_in_record("to-host %zu", bytes);
  if (fails(COPY) || !owner(from, bytes)) LEAVE(INVALID);
  memcpy(to, (void *)from, bytes);
  LEAVE(OK);
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *stream) {
  ENTER;
  ALIVE;
  stand_in_record("on-gpu %zu", bytes);
  Block *target = owner(to, bytes);
  if (fails(COPY) || !target || !owner(from, bytes)) LEAVE(INVALID);
  target->dirty = 1;
  memmove((void *)to, (void *)from, bytes);
  LEAVE(OK);
}
int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) {
  return cuMemcpyHtoDAsync_v2(to, from, bytes, 0);
}
int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) {
  return cuMemcpyDtoHAsync_v2(to, from, bytes, 0);
}
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void *stream) {
  ENTER;
  ALIVE;
  stand_in_record("set %zu", bytes);
  Block *target = owner(to, bytes);
  if (fails(SET) || !target) LEAVE(INVALID);
  // Most memory is zero already; gigabytes are not touched for nothing.
  if (value || target->dirty) memset((void *)to, value, bytes);
  target->dirty |= value;
  LEAVE(OK);
}

int cuModuleLoadData(void **module, const void *image) {
  ENTER;
  ALIVE;
  stand_in_record("module");
  if (fails(MODULE)) LEAVE(INVALID);
  *module = malloc(8);
  LEAVE(OK);
}
int cuModuleLoadDataEx(void **module, const void *image, unsigned n, void *options, void *values) {
  return cuModuleLoadData(module, image);
}
int cuModuleUnload(void *module) { free(module); return OK; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
  ENTER;
  ALIVE;
  stand_in_record("function %s", name);
  if (fails(FUNCTION)) LEAVE(INVALID);
  Function *found = calloc(1, sizeof *found);
  snprintf(found->name, sizeof found->name, "%s", name);
  *function = found;
  LEAVE(OK);
}
int cuFuncSetAttribute(void *function, int attribute, int value) { return OK; }
int cuFuncGetAttribute(int *value, int attribute, void *function) { *value = 0; return OK; }

// Also called by the runtime's stand-in.
int stand_in_launch(const char *name, const unsigned grid[3], const unsigned block[3],
                    unsigned shared, void **arguments) {
  ENTER;
  ALIVE;
  stand_in_record("launch %s %ux%ux%u of %ux%ux%u shared %u", name, grid[0], grid[1], grid[2],
                  block[0], block[1], block[2], shared);
  if (!grid[0] || !grid[1] || !grid[2] || block[0] * block[1] * block[2] - 1 >= 1024 ||
      grid[1] > 65535 || grid[2] > 65535) {
    stand_in_record("out of bounds: a launch");
    LEAVE(INVALID);
  }
  if (fails(LAUNCH)) LEAVE(INVALID);
  if (fails(LOST)) {
    lost = 1;
    LEAVE(OK); // it fails on its way
  }
  if (stand_in_compute(name, grid, arguments))
    for (Block *block = blocks; block; block = block->next) block->dirty = 1;
  LEAVE(OK);
}
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, void *stream, void **arguments, void **extra) {
  const unsigned grid[] = {gx, gy, gz}, block[] = {bx, by, bz};
  return stand_in_launch(((Function *)function)->name, grid, block, shared, arguments);
}

int cuGetErrorName(int error, const char **text) { *text = "STAND_IN"; return OK; }
int cuGetErrorString(int error, const char **text) {
  *text = error == NO_MEMORY ? "out of memory" : error == ILLEGAL_ADDRESS ? "illegal address" : "an error";
  return OK;
}
