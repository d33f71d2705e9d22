// Just enough of CUDA to run kernels.cu on a CPU, strictly: every thread of a block is a fiber that
// runs until it shuffles, waits for the others, or ends. What a GPU leaves undefined is a failure
// here: a shuffle without all lanes, a barrier that some threads never reach, and two threads that
// touch one element of a shared array, one of them writing, with no barrier between.
//
// Blocks, warps and lanes run in up to three orders: forwards, backwards, shuffled.

#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
static dim3 threadIdx, blockIdx, blockDim, gridDim;

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

[[noreturn]] static void fail(const std::string &what) {
  std::printf("FAILED %s (block %u %u, thread %u)\n", what.c_str(), blockIdx.x, blockIdx.y, threadIdx.x);
  std::fflush(stdout);
  std::_Exit(1);
}

// ---- Fibers: a stack each, and a switch between two of them.

extern "C" void switch_stack(void **from, void *to);
#if defined(__x86_64__)
asm(".text\n.globl switch_stack\nswitch_stack:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");
#elif defined(__aarch64__)
asm(".text\n.globl switch_stack\nswitch_stack:\n"
    "sub sp, sp, #160\n"
    "stp x19, x20, [sp]\nstp x21, x22, [sp, #16]\nstp x23, x24, [sp, #32]\nstp x25, x26, [sp, #48]\n"
    "stp x27, x28, [sp, #64]\nstp x29, x30, [sp, #80]\nstp d8, d9, [sp, #96]\nstp d10, d11, [sp, #112]\n"
    "stp d12, d13, [sp, #128]\nstp d14, d15, [sp, #144]\n"
    "mov x9, sp\nstr x9, [x0]\nmov sp, x1\n"
    "ldp x19, x20, [sp]\nldp x21, x22, [sp, #16]\nldp x23, x24, [sp, #32]\nldp x25, x26, [sp, #48]\n"
    "ldp x27, x28, [sp, #64]\nldp x29, x30, [sp, #80]\nldp d8, d9, [sp, #96]\nldp d10, d11, [sp, #112]\n"
    "ldp d12, d13, [sp, #128]\nldp d14, d15, [sp, #144]\n"
    "add sp, sp, #160\nret\n");
#else
#error "the emulation's fibers know x86-64 and 64-bit ARM"
#endif

enum class State { Ready, AtShuffle, AtBarrier, Done };

struct Fiber {
  static constexpr size_t STACK = 128 << 10;
  std::unique_ptr<char[]> stack{new char[STACK]};
  void *top = nullptr;
  State state = State::Done;
  int shuffle = 0;  // which of its shuffles it is at

  void prepare(void (*entry)()) {
#if defined(__SANITIZE_ADDRESS__)
    // The frames of the last kernel's end, which never returned.
    __asan_unpoison_memory_region(stack.get() + STACK - 4096, 4096);
#endif
    auto *at = (uint64_t *)((uintptr_t)(stack.get() + STACK) & ~(uintptr_t)15);
#if defined(__x86_64__)
    *--at = 0;  // so that the stack is aligned as after a call
    *--at = (uint64_t)entry;
    for (int i = 0; i < 6; i++) *--at = 0;
#else
    at -= 20;
    std::memset(at, 0, 160);
    at[11] = (uint64_t)entry;
#endif
    top = at;
    state = State::Ready;
    shuffle = 0;
  }
};

static struct Machine {
  std::vector<Fiber> fibers;
  const std::function<void()> *kernel = nullptr;
  Fiber *current = nullptr;
  void *scheduler = nullptr;
  int order = 0;
  std::mt19937 random;
  uint64_t block = 0;    // counts blocks, so that shared arrays begin anew in each
  unsigned barriers = 0; // passed by this block
  uint32_t slots[2][1024];
  uint32_t fragments[2][3][1024];
#if defined(__SANITIZE_ADDRESS__)
  void *fake = nullptr;
  const void *scheduler_stack = nullptr;
  size_t scheduler_size = 0;
#endif

  // To the scheduler, until this thread may go on.
  void stop(State state) {
    Fiber &fiber = *current;
    const dim3 index = threadIdx;
    fiber.state = state;
#if defined(__SANITIZE_ADDRESS__)
    void *mine = nullptr;
    __sanitizer_start_switch_fiber(state == State::Done ? nullptr : &mine, scheduler_stack, scheduler_size);
    switch_stack(&fiber.top, scheduler);
    __sanitizer_finish_switch_fiber(mine, nullptr, nullptr);
#else
    switch_stack(&fiber.top, scheduler);
#endif
    threadIdx = index;
  }

  static void enter();

  void resume(unsigned thread) {
    current = &fibers[thread];
    threadIdx = {thread, 0, 0};
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fake, current->stack.get(), Fiber::STACK);
    switch_stack(&scheduler, current->top);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
    switch_stack(&scheduler, current->top);
#endif
  }

  std::vector<unsigned> ordered(unsigned count) {
    std::vector<unsigned> all(count);
    for (unsigned i = 0; i < count; i++) all[i] = order == 1 ? count - 1 - i : i;
    if (order == 2) std::shuffle(all.begin(), all.end(), random);
    return all;
  }

  // Runs a warp until all of its lanes are at a barrier, or all have ended.
  void run_warp(unsigned first, unsigned lanes) {
    const std::vector<unsigned> order = ordered(lanes);
    for (;;) {
      for (unsigned lane : order)
        if (fibers[first + lane].state == State::Ready) resume(first + lane);
      const Fiber &one = fibers[first];
      for (unsigned lane = 1; lane < lanes; lane++) {
        const Fiber &other = fibers[first + lane];
        const bool shuffles = one.state == State::AtShuffle || other.state == State::AtShuffle;
        if (shuffles && (one.state != other.state || one.shuffle != other.shuffle || lanes != 32)) {
          threadIdx.x = first + lane;
          fail("a shuffle without all lanes of the warp");
        }
      }
      if (one.state != State::AtShuffle) return;
      for (unsigned lane = 0; lane < lanes; lane++) fibers[first + lane].state = State::Ready;
    }
  }

  void run_block(unsigned threads) {
    block++;
    barriers = 0;
    while (fibers.size() < threads) fibers.emplace_back();
    for (unsigned i = 0; i < threads; i++) fibers[i].prepare(enter);
    for (;;) {
      for (unsigned warp : ordered((threads + 31) / 32))
        run_warp(warp * 32, std::min(32u, threads - warp * 32));
      unsigned waiting = 0;
      for (unsigned i = 0; i < threads; i++) waiting += fibers[i].state == State::AtBarrier;
      if (waiting == 0) return;
      if (waiting != threads) fail("a barrier that some threads never reach");
      barriers++;
      for (unsigned i = 0; i < threads; i++) fibers[i].state = State::Ready;
    }
  }
} machine;

inline void Machine::enter() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &machine.scheduler_stack, &machine.scheduler_size);
#endif
  (*machine.kernel)();
  machine.stop(State::Done);
}

static void __syncthreads() { machine.stop(State::AtBarrier); }

template <typename T> static T __shfl_xor_sync(unsigned mask, T value, int step) {
  static_assert(sizeof(T) == 4);
  if (mask != 0xffffffffu) fail("a shuffle for some lanes only");
  // Two rows of slots in turns: a lane may be one shuffle ahead of another that has not read yet.
  uint32_t *slots = machine.slots[machine.current->shuffle++ % 2];
  slots[threadIdx.x] = std::bit_cast<uint32_t>(value);
  machine.stop(State::AtShuffle);
  return std::bit_cast<T>(slots[threadIdx.x ^ step]);
}

template <typename T, int SIZE> class Shared {
  // The last accesses since the last barrier.
  struct Cell {
    T value;
    bool written = false;
    unsigned barriers = ~0u;
    int writer = -1, reader = -1;
    bool several_readers = false;
  };
  std::vector<Cell> cells{SIZE};
  uint64_t block = 0;
  const char *name;

  Cell &cell(size_t i) {
    if (block != machine.block) {
      block = machine.block;
      for (Cell &cell : cells) cell = Cell{};
    }
    if (i >= SIZE) fail(std::string("beyond the end of the shared array ") + name);
    Cell &cell = cells[i];
    if (cell.barriers != machine.barriers) {
      cell.barriers = machine.barriers;
      cell.writer = cell.reader = -1;
      cell.several_readers = false;
    }
    return cell;
  }

public:
  explicit Shared(const char *name) : name(name) {}

  T read(size_t i) {
    Cell &cell = this->cell(i);
    const int thread = threadIdx.x;
    if (!cell.written) fail(std::string("a read of nothing in the shared array ") + name);
    if (cell.writer >= 0 && cell.writer != thread) fail(std::string("a race: read after write of the shared array ") + name);
    if (cell.reader >= 0 && cell.reader != thread) cell.several_readers = true;
    cell.reader = thread;
    return cell.value;
  }

  void write(size_t i, T value) {
    Cell &cell = this->cell(i);
    const int thread = threadIdx.x;
    if (cell.writer >= 0 && cell.writer != thread) fail(std::string("a race: two writes to the shared array ") + name);
    if (cell.several_readers || (cell.reader >= 0 && cell.reader != thread))
      fail(std::string("a race: write after read of the shared array ") + name);
    cell.writer = thread;
    cell.written = true;
    cell.value = value;
  }

  struct Element {
    Shared &array;
    size_t i;
    operator T() const { return array.read(i); }
    void operator=(T value) const { array.write(i, value); }
    void operator=(const Element &other) const { array.write(i, other); }
    void operator+=(T value) const { array.write(i, array.read(i) + value); }
  };
  Element operator[](size_t i) const { return {const_cast<Shared &>(*this), i}; }
};
#define SHARED(type, name, size) static Shared<type, size> name(#name)

// Runs a kernel for a grid of blocks.
static void launch(dim3 grid, unsigned threads, const std::function<void()> &kernel) {
  machine.kernel = &kernel;
  blockDim = {threads, 1, 1};
  gridDim = grid;
  for (unsigned at : machine.ordered(grid.x * grid.y)) {
    blockIdx = {at % grid.x, at / grid.x, 0};
    machine.run_block(threads);
  }
}

// ---- Numbers

struct __half {
  uint16_t bits;
};
struct __nv_bfloat16 {
  uint16_t bits;
};

static __half __ushort_as_half(unsigned short bits) { return {bits}; }
static unsigned short __half_as_ushort(__half x) { return x.bits; }
static float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }

static float half_to_float(uint16_t bits) {
  const float magnitude = (bits & 0x7c00) == 0x7c00 ? (bits & 0x3ff ? NAN : INFINITY)
                          : bits & 0x7c00 ? std::ldexp(1024 + (bits & 0x3ff), (bits >> 10 & 31) - 25)
                                          : std::ldexp(bits & 0x3ff, -24);
  return bits & 0x8000 ? -magnitude : magnitude;
}

static float __half2float(__half x) {
  static const std::vector<float> table = [] {
    std::vector<float> table(65536);
    for (unsigned i = 0; i < table.size(); i++) table[i] = half_to_float(i);
    return table;
  }();
  return table[x.bits];
}

// Rounds to nearest, ties to even.
static __half __float2half(float x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const float magnitude = std::fabs(x);
  if (std::isnan(x)) return {0x7fff};
  if (magnitude >= 65520.f) return {(uint16_t)(sign | 0x7c00)};
  if (magnitude < 0x1p-14f) return {(uint16_t)(sign | (uint16_t)std::nearbyintf(magnitude * 0x1p24f))};
  const uint32_t bits = std::bit_cast<uint32_t>(magnitude) - (112u << 23);
  return {(uint16_t)(sign | ((bits + 0xfff + (bits >> 13 & 1)) >> 13))};
}

static float __bfloat162float(__nv_bfloat16 x) { return std::bit_cast<float>((uint32_t)x.bits << 16); }
static __nv_bfloat16 __float2bfloat16(float x) {
  if (std::isnan(x)) return {0x7fff};
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return {(uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

static float rsqrtf(float x) { return 1.f / std::sqrt(x); }
static int min(int a, int b) { return a < b ? a : b; }
static int max(int a, int b) { return a > b ? a : b; }

// mma.sync.aligned.m16n8k8: a row of a and a column of b for each of a lane's four sums, gathered from
// the lanes that hold them.
static void multiply(float (&d)[4], unsigned a0, unsigned a1, unsigned b) {
  auto &[low, high, columns] = machine.fragments[machine.current->shuffle++ % 2];
  low[threadIdx.x] = a0, high[threadIdx.x] = a1, columns[threadIdx.x] = b;
  machine.stop(State::AtShuffle);
  const unsigned first = threadIdx.x / 32 * 32, lane = threadIdx.x % 32;
  const auto half = [](uint32_t word, int i) { return __half2float({(uint16_t)(word >> 16 * i)}); };
  for (int i = 0; i < 4; i++) {
    const uint32_t *a = (i < 2 ? low : high) + first + lane / 4 * 4;  // row g, or g + 8
    const uint32_t *column = columns + first + (lane % 4 * 2 + i % 2) * 4;
    for (int k = 0; k < 8; k++) d[i] += half(a[k / 2], k % 2) * half(column[k / 2], k % 2);
  }
}

#define __device__
#define __global__
#define __launch_bounds__(...)
#define BY_VALUE const
#define EMULATED
