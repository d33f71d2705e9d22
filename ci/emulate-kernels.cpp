// Just enough of CUDA to run kernels.cu: a block is its threads, blocks come one after the other.

#include <barrier>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
static thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

struct Warp {
  std::barrier<> barrier;
  float slots[32];
  explicit Warp(int lanes) : barrier(lanes) {}
};
static std::unique_ptr<std::barrier<>> block_barrier;
static std::vector<std::unique_ptr<Warp>> warps;

static void __syncthreads() { block_barrier->arrive_and_wait(); }

static float __shfl_xor_sync(unsigned, float value, int step) {
  Warp &warp = *warps[threadIdx.x / 32];
  const int lane = threadIdx.x % 32;
  warp.slots[lane] = value;
  warp.barrier.arrive_and_wait();
  const float other = warp.slots[lane ^ step];
  warp.barrier.arrive_and_wait();
  return other;
}

struct __half {
  _Float16 value;
};
static float __half2float(__half x) { return (float)x.value; }
static __half __float2half(float x) { return {(_Float16)x}; }

struct __nv_bfloat16 {
  uint16_t bits;
};
static float __bfloat162float(__nv_bfloat16 x) { return std::bit_cast<float>((uint32_t)x.bits << 16); }
static __nv_bfloat16 __float2bfloat16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return {(uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

static float rsqrtf(float x) { return 1.f / std::sqrt(x); }

#define __device__
#define __global__
#define __shared__ static
#include "../src/compute/cuda/kernels.cu"

static void launch(dim3 grid, unsigned threads, const std::function<void()> &kernel) {
  for (unsigned y = 0; y < grid.y; y++)
    for (unsigned x = 0; x < grid.x; x++) {
      block_barrier = std::make_unique<std::barrier<>>(threads);
      warps.clear();
      for (unsigned first = 0; first < threads; first += 32)
        warps.push_back(std::make_unique<Warp>(std::min(32u, threads - first)));
      std::vector<std::thread> block;
      for (unsigned thread = 0; thread < threads; thread++)
        block.emplace_back([&, thread] {
          threadIdx = {thread, 0, 0};
          blockIdx = {x, y, 0};
          blockDim = {threads, 1, 1};
          gridDim = grid;
          kernel();
        });
      for (auto &thread : block) thread.join();
    }
}

static std::mt19937 random_bits(1);

template <typename T> static std::vector<T> numbers(size_t count) {
  std::uniform_real_distribution<float> uniform(-2.f, 2.f);
  std::vector<T> numbers(count);
  for (T &number : numbers) number = narrow<T>(uniform(random_bits));
  return numbers;
}

static int failures = 0;

template <typename T>
static void same(const std::string &what, const std::vector<T> &found,
                 const std::vector<double> &expected, double tolerance) {
  double most = 0;
  for (size_t i = 0; i < expected.size(); i++) {
    const double off = std::abs(wide(found[i]) - expected[i]);
    // A NaN must not pass for a small difference.
    if (!(off <= most)) most = off;
  }
  const bool right = most <= tolerance && found.size() == expected.size();
  std::printf("%s %s: off by %.2g, at most %.2g\n", right ? "ok    " : "FAILED", what.c_str(), most,
              tolerance);
  failures += !right;
}

template <typename T>
static void check_add_norm(const char *type, void (*kernel)(const T *, const T *, const T *, T *, T *, int, float),
                           int columns, double tolerance) {
  const int rows = 3;
  auto hidden = numbers<T>(rows * columns), delta = numbers<T>(rows * columns);
  auto weight = numbers<T>(columns);
  std::vector<T> sum(rows * columns), normed(rows * columns);
  const unsigned threads = std::min(1024, (columns + 31) / 32 * 32);
  launch({rows}, threads, [&] {
    kernel(hidden.data(), delta.data(), weight.data(), sum.data(), normed.data(), columns, 1e-5f);
  });
  std::vector<double> sums, norms;
  for (int row = 0; row < rows; row++) {
    double squares = 0;
    for (int i = 0; i < columns; i++) {
      const double x = wide(narrow<T>(wide(hidden[row * columns + i]) + wide(delta[row * columns + i])));
      sums.push_back(x);
      squares += x * x;
    }
    for (int i = 0; i < columns; i++)
      norms.push_back(sums[row * columns + i] / std::sqrt(squares / columns + 1e-5) * wide(weight[i]));
  }
  const std::string name = std::string("add_norm ") + type + " " + std::to_string(columns);
  same(name + " sum", sum, sums, tolerance);
  same(name, normed, norms, tolerance);
}

template <typename T>
static void check_gate(const char *type, void (*kernel)(const T *, T *, int, size_t), double tolerance) {
  const int rows = 3, columns = 100;
  auto both = numbers<T>(rows * 2 * columns);
  std::vector<T> out(rows * columns);
  launch({(rows * columns + 255) / 256}, 256, [&] { kernel(both.data(), out.data(), columns, rows * columns); });
  std::vector<double> expected;
  for (int row = 0; row < rows; row++)
    for (int i = 0; i < columns; i++) {
      const double x = wide(both[row * 2 * columns + i]), up = wide(both[row * 2 * columns + columns + i]);
      expected.push_back(x / (1 + std::exp(-x)) * up);
    }
  same(std::string("gate ") + type, out, expected, tolerance);
}

template <typename T, typename C>
static void check_rope_append(const char *types,
                              void (*kernel)(const T *, const T *, const T *, int, int, int, const float *,
                                             const float *, T *, C *, C *, int, int, int, int, int, int, float),
                              int interleaved, double tolerance) {
  const int heads = 4, kv = 2, dim = 64, tokens = 3, position = 5, context = 16;
  // Q and K in one tensor, V in another, as a Q4_K_M file gives them.
  const int qk_row = (heads + kv) * dim, v_row = kv * dim;
  auto qk = numbers<T>(tokens * qk_row), v = numbers<T>(tokens * v_row);
  auto cos = numbers<float>(context * dim / 2), sin = numbers<float>(context * dim / 2);
  std::vector<T> rotated(heads * tokens * dim);
  std::vector<C> k_cache(kv * context * dim, narrow<C>(7.f)), v_cache(kv * context * dim, narrow<C>(7.f));
  const float scale = 0.125f;
  launch({tokens, heads + 2 * kv}, dim / 2, [&] {
    kernel(qk.data(), qk.data() + heads * dim, v.data(), qk_row, qk_row, v_row, cos.data(), sin.data(),
           rotated.data(), k_cache.data(), v_cache.data(), heads, kv, dim, position, context, interleaved, scale);
  });
  std::vector<double> q_expected(heads * tokens * dim), k_expected(kv * context * dim, 7), v_expected(kv * context * dim, 7);
  for (int token = 0; token < tokens; token++)
    for (int head = 0; head < heads + kv; head++)
      for (int i = 0; i < dim; i++) {
        const int pair = interleaved ? i / 2 : i % (dim / 2);
        const bool second = interleaved ? i % 2 : i >= dim / 2;
        const int partner = interleaved ? i ^ 1 : (i + dim / 2) % dim;
        const T *from = qk.data() + token * qk_row + head * dim;
        const double c = cos[(position + token) * dim / 2 + pair], s = sin[(position + token) * dim / 2 + pair];
        const double turned = wide(from[i]) * c + (second ? 1 : -1) * wide(from[partner]) * s;
        if (head < heads)
          q_expected[(head * tokens + token) * dim + i] = turned * scale;
        else
          k_expected[((head - heads) * context + position + token) * dim + i] = turned;
        if (head < kv)
          v_expected[(head * context + position + token) * dim + i] = wide(v[token * v_row + head * dim + i]);
      }
  const std::string name = std::string("rope_append ") + types + (interleaved ? " interleaved" : " halves");
  same(name + " q", rotated, q_expected, tolerance);
  same(name + " k", k_cache, k_expected, tolerance);
  same(name + " v", v_cache, v_expected, tolerance);
}

template <typename T, typename C>
static void check_attend_one(const char *types, void (*kernel)(const T *, const C *, const C *, T *, int, int, int),
                             int dim, int keys, double tolerance) {
  const int heads = 4, kv = 2, context = 150, group = heads / kv;
  auto q = numbers<T>(heads * dim);
  auto k = numbers<C>(kv * context * dim), v = numbers<C>(kv * context * dim);
  std::vector<T> out(heads * dim);
  launch({heads}, 512, [&] { kernel(q.data(), k.data(), v.data(), out.data(), group, keys, context); });
  std::vector<double> expected(heads * dim);
  for (int head = 0; head < heads; head++) {
    std::vector<double> scores(keys);
    double most = -INFINITY, sum = 0;
    const size_t start = (size_t)(head / group) * context * dim;
    for (int key = 0; key < keys; key++) {
      for (int i = 0; i < dim; i++) scores[key] += (double)wide(q[head * dim + i]) * wide(k[start + key * dim + i]);
      most = std::max(most, scores[key]);
    }
    for (double &score : scores) sum += score = std::exp(score - most);
    for (int key = 0; key < keys; key++)
      for (int i = 0; i < dim; i++) expected[head * dim + i] += scores[key] / sum * wide(v[start + key * dim + i]);
  }
  same(std::string("attend_one ") + types + " " + std::to_string(dim) + ", " + std::to_string(keys) + " keys", out,
       expected, tolerance);
}

int main() {
  const double exact = 2e-5, rough = 0.05;  // bf16 has 8 bits
  check_add_norm<float>("float", add_norm_float, 48, exact);
  check_add_norm<float>("float", add_norm_float, 2048, exact);
  check_add_norm<bf16>("bf16", add_norm_bf16, 100, rough);
  check_gate<float>("float", gate_float, exact);
  check_gate<bf16>("bf16", gate_bf16, rough);
  for (int interleaved : {0, 1}) {
    check_rope_append<float, float>("float float", rope_append_float_float, interleaved, exact);
    check_rope_append<float, __half>("float half", rope_append_float___half, interleaved, 5e-3);
    check_rope_append<bf16, bf16>("bf16 bf16", rope_append_bf16_bf16, interleaved, rough);
  }
  for (int keys : {1, 3, 64, 65, 150}) {
    check_attend_one<float, float>("float float", attend_one_float_float_1, 32, keys, exact);
    check_attend_one<float, float>("float float", attend_one_float_float_4, 128, keys, exact);
    check_attend_one<float, __half>("float half", attend_one_float___half_2, 64, keys, exact);
    check_attend_one<float, __half>("float half", attend_one_float___half_3, 96, keys, exact);
    check_attend_one<bf16, bf16>("bf16 bf16", attend_one_bf16_bf16_4, 128, keys, rough);
  }
  std::printf("%d results are wrong\n", failures);
  return failures > 0;
}
