// A stand-in for the CUDA runtime, with what candle's kernels call. Launches go to the stand-in driver.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

typedef struct { unsigned x, y, z; } Size;
typedef int (*Launch)(const char *, const unsigned *, const unsigned *, unsigned, void **);

enum { KERNELS = 1 << 14, MISSING = 98 }; // cudaErrorInvalidDeviceFunction
typedef struct { const void *function; const char *name; } Kernel;
static Kernel kernels[KERNELS]; // by the function's address
static _Thread_local int last;
static _Thread_local struct { Size grid, block; size_t shared; void *stream; } configuration;

static void *driver(const char *name) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW);
  return library ? dlsym(library, name) : NULL;
}

// The kernel of a function, or the place for it.
static Kernel *find(const void *function) {
  size_t at = (size_t)function / 16 % KERNELS;
  while (kernels[at].function && kernels[at].function != function) at = (at + 1) % KERNELS;
  return &kernels[at];
}

void **__cudaRegisterFatBinary(void *binary) { return (void **)&kernels; }
void __cudaRegisterFatBinaryEnd(void **binary) {}
void __cudaUnregisterFatBinary(void **binary) {}
void __cudaRegisterVar(void **binary, char *host, char *device, const char *name, int external,
                       size_t size, int constant, int global) {}
void __cudaRegisterFunction(void **binary, const char *function, char *device, const char *name,
                            int threads, void *tid, void *bid, Size *block, Size *grid, int *warp) {
  *find(function) = (Kernel){function, name};
}
unsigned __cudaPushCallConfiguration(Size grid, Size block, size_t shared, void *stream) {
  configuration.grid = grid, configuration.block = block;
  configuration.shared = shared, configuration.stream = stream;
  return 0;
}
int __cudaPopCallConfiguration(Size *grid, Size *block, size_t *shared, void *stream) {
  *grid = configuration.grid, *block = configuration.block;
  *shared = configuration.shared, *(void **)stream = configuration.stream;
  return 0;
}
int __cudaGetKernel(const void **kernel, const void *function) { *kernel = function; return 0; }

static int launch(const void *function, Size grid, Size block, void **arguments, size_t shared) {
  static Launch to;
  if (!to) to = (Launch)driver("stand_in_launch");
  const Kernel *kernel = find(function);
  if (to && kernel->function) {
    const unsigned g[] = {grid.x, grid.y, grid.z}, b[] = {block.x, block.y, block.z};
    const int error = to(kernel->name, g, b, shared, arguments);
    return error ? (last = error) : 0;
  }
  return last = MISSING;
}
int __cudaLaunchKernel_ptsz(const void *kernel, Size grid, Size block, void **arguments, size_t shared,
                            void *stream) {
  return launch(kernel, grid, block, arguments, shared);
}
int __cudaLaunchKernel(const void *kernel, Size grid, Size block, void **arguments, size_t shared,
                       void *stream) {
  return launch(kernel, grid, block, arguments, shared);
}
int cudaLaunchKernel(const void *function, Size grid, Size block, void **arguments, size_t shared,
                     void *stream) {
  return launch(function, grid, block, arguments, shared);
}
int cudaLaunchKernel_ptsz(const void *function, Size grid, Size block, void **arguments, size_t shared,
                          void *stream) {
  return launch(function, grid, block, arguments, shared);
}

int cudaMallocAsync_ptsz(void **address, size_t bytes, void *stream) {
  int (*allocate)(void **, size_t, void *) = (int (*)(void **, size_t, void *))driver("cuMemAllocAsync");
  return last = allocate ? allocate(address, bytes, stream) : MISSING;
}
int cudaFreeAsync_ptsz(void *address, void *stream) {
  int (*release)(void *, void *) = (int (*)(void *, void *))driver("cuMemFreeAsync");
  return last = release ? release(address, stream) : MISSING;
}
int cudaFuncSetAttribute(const void *function, int attribute, int value) { return 0; }
// Only candle's kernels for mixtures of experts call these; nothing here runs one.
int cudaMalloc(void **address, size_t bytes) { return cudaMallocAsync_ptsz(address, bytes, NULL); }
int cudaFree(void *address) { return cudaFreeAsync_ptsz(address, NULL); }
int cudaMemsetAsync_ptsz(void *to, int value, size_t bytes, void *stream) { return last = MISSING; }
int cudaStreamSynchronize_ptsz(void *stream) { return last = MISSING; }
int cudaFuncGetAttributes(void *attributes, const void *function) { return last = MISSING; }
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *function, int threads,
                                                           size_t shared, unsigned flags) {
  return last = MISSING;
}
int cudaDeviceGetAttribute(int *value, int attribute, int device) {
  int (*get)(int *, int, int) = (int (*)(int *, int, int))driver("cuDeviceGetAttribute");
  return last = get ? get(value, attribute, device) : MISSING;
}
int cudaGetDeviceCount(int *count) { *count = 1; return 0; }
int cudaGetDevice(int *device) { *device = 0; return 0; }
int cudaSetDevice(int device) { return 0; }
int cudaDeviceReset(void) {
  int (*reset)(void) = (int (*)(void))driver("stand_in_reset");
  return reset ? reset() : MISSING;
}
int cudaRuntimeGetVersion(int *version) { *version = 13000; return 0; }
int cudaGetLastError(void) {
  const int error = last;
  last = 0;
  return error;
}
int cudaPeekAtLastError(void) { return last; }
const char *cudaGetErrorName(int error) {
  return error == 1 ? "cudaErrorInvalidValue" : error == 700 ? "cudaErrorIllegalAddress" : "cudaError";
}
const char *cudaGetErrorString(int error) { return "an error of the stand-in"; }
