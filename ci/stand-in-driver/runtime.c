// A stand-in for the CUDA runtime, with what candle's kernels call. Launches go to the stand-in driver.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

typedef struct { unsigned x, y, z; } Size;
typedef int (*Launch)(const char *, const unsigned *, const unsigned *, unsigned, void **);

enum { KERNELS = 1 << 14, MISSING = 98 }; // cudaErrorInvalidDeviceFunction
static struct { const void *function; const char *name; } kernels[KERNELS];
static int count;
static _Thread_local int last;
static _Thread_local struct { Size grid, block; size_t shared; void *stream; } configuration;

static void *driver(const char *name) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW);
  return library ? dlsym(library, name) : NULL;
}

void **__cudaRegisterFatBinary(void *binary) { return (void **)&count; }
void __cudaRegisterFatBinaryEnd(void **binary) {}
void __cudaUnregisterFatBinary(void **binary) {}
void __cudaRegisterVar(void **binary, char *host, char *device, const char *name, int external,
                       size_t size, int constant, int global) {}
void __cudaRegisterFunction(void **binary, const char *function, char *device, const char *name,
                            int threads, void *tid, void *bid, Size *block, Size *grid, int *warp) {
  if (count < KERNELS) {
    kernels[count].function = function;
    kernels[count++].name = name;
  }
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
  for (int i = 0; i < count; i++) {
    if (kernels[i].function != function) continue;
    const unsigned g[] = {grid.x, grid.y, grid.z}, b[] = {block.x, block.y, block.z};
    const int error = to ? to(kernels[i].name, g, b, shared, arguments) : MISSING;
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
