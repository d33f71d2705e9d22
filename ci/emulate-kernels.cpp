// Runs each kernel of src/compute/cuda in the emulation and compares it with plain loops in double.
// Arguments: --full for every number of keys up to 9,000 and more of everything; --first to end at the
// first failure; names of kernels, or `lengths`, for those checks alone.

#include "emulate-cuda.h"
#include "kernels.cu"

#include <algorithm>
#include <chrono>

static std::mt19937 random_bits(1);
static int failures = 0, checks = 0;
static bool only_first = false, every_order = false;

template <typename T> static std::vector<T> numbers(size_t count, float most = 2.f) {
  std::uniform_real_distribution<float> uniform(-most, most);
  std::vector<T> numbers(count);
  for (T &number : numbers) number = narrow<T>(uniform(random_bits));
  return numbers;
}

// What no kernel has written yet.
template <typename T> static std::vector<T> nothing(size_t count) {
  std::vector<T> values(count);
  std::memset((void *)values.data(), 0xff, count * sizeof(T));
  return values;
}

static void verdict(bool right, const std::string &what, const std::string &found) {
  checks++;
  failures += !right;
  if (right) return;
  std::printf("FAILED %s: %s\n", what.c_str(), found.c_str());
  if (only_first) std::exit(1);
}

template <typename T>
static void same(const std::string &what, const std::vector<T> &found, const std::vector<double> &expected,
                 double tolerance) {
  double most = 0;
  for (size_t i = 0; i < expected.size(); i++) {
    const double off = std::abs(wide(found[i]) - expected[i]);
    if (!(off <= most)) most = off;  // a NaN must not pass for a small difference
  }
  verdict(most <= tolerance && found.size() == expected.size(), what,
          "off by " + std::to_string(most) + ", at most " + std::to_string(tolerance));
}

// Runs a kernel in several orders of its threads; `out` must come out the same to the bit.
template <typename T, typename Run>
static void in_several_orders(const std::string &what, std::vector<T> &out, const Run &run) {
  std::vector<T> first;
  for (machine.order = 0; machine.order < 3; machine.order += every_order ? 1 : 2) {
    out = nothing<T>(out.size());
    run();
    if (machine.order == 0) first = out;
    verdict(std::memcmp(first.data(), out.data(), out.size() * sizeof(T)) == 0, what,
            "another order of the threads gives another result");
  }
  machine.order = 0;
}

// Whether `found` is what candle's mmvq_gguf_quantize_q8_1_f32 would make of the values.
static void same_q8(const std::string &what, const std::vector<Q8> &found, const std::vector<float> &values) {
  bool right = found.size() * 32 == values.size();
  for (size_t block = 0; right && block < found.size(); block++) {
    float most = 0;
    double sum = 0, magnitudes = 0;
    for (int i = 0; i < 32; i++) {
      most = std::max(most, std::fabs(values[block * 32 + i]));
      sum += values[block * 32 + i];
      magnitudes += std::fabs(values[block * 32 + i]);
    }
    const float step = most / 127.f;
    right = found[block].step.bits == __float2half(step).bits;
    // The sum's last bits depend on the order of adding.
    right = right && std::abs(wide(found[block].sum) - sum) <= std::abs(sum) * 0x1p-11 + magnitudes * 1e-6 + 0x1p-24;
    for (int i = 0; i < 32; i++)
      right = right && found[block].values[i] == (step == 0 ? 0 : (int)std::round(values[block * 32 + i] / step));
  }
  verdict(right, what, "not as candle quantizes");
}

template <typename T, typename O>
using AddNorm = void (*)(const T *, const T *, const T *, T *, O *, int, float);

template <typename T>
static void check_add_norm(const char *type, AddNorm<T, T> kernel, int columns, bool with_delta, double tolerance) {
  const int rows = 3;
  const std::string name = std::string("add_norm ") + type + " " + std::to_string(columns);
  auto hidden = numbers<T>(rows * columns), delta = numbers<T>(rows * columns), weight = numbers<T>(columns);
  std::vector<T> sum(rows * columns), normed(rows * columns);
  const unsigned threads = std::min(1024, (columns + 31) / 32 * 32);
  in_several_orders(name, normed, [&] {
    launch({rows}, threads, [&] {
      kernel(hidden.data(), with_delta ? delta.data() : nullptr, weight.data(), with_delta ? sum.data() : nullptr,
             normed.data(), columns, 1e-5f);
    });
  });
  std::vector<double> sums, norms;
  for (int row = 0; row < rows; row++) {
    double squares = 0;
    for (int i = row * columns; i < (row + 1) * columns; i++) {
      const double x = with_delta ? wide(narrow<T>(wide(hidden[i]) + wide(delta[i]))) : wide(hidden[i]);
      sums.push_back(x);
      squares += x * x;
    }
    for (int i = 0; i < columns; i++)
      norms.push_back(sums[row * columns + i] / std::sqrt(squares / columns + 1e-5) * wide(weight[i]));
  }
  if (with_delta) same(name + " sum", sum, sums, tolerance);
  same(name, normed, norms, tolerance);
  if constexpr (std::is_same_v<T, float>) {
    if (columns % 32) return;
    std::vector<float> sum_beside(rows * columns);
    std::vector<Q8> quantized(rows * columns / 32);
    in_several_orders(name + " q8", quantized, [&] {
      launch({rows}, threads, [&] {
        add_norm_q8(hidden.data(), with_delta ? delta.data() : nullptr, weight.data(), sum_beside.data(),
                    quantized.data(), columns, 1e-5f);
      });
    });
    same_q8(name + " q8", quantized, normed);
    if (with_delta) same(name + " q8 sum", sum_beside, sums, tolerance);
  }
}

template <typename T>
static void check_gate(const char *type, void (*kernel)(const T *, T *, int), int columns, double tolerance) {
  const int rows = 3;
  const std::string name = std::string("gate ") + type + " " + std::to_string(columns);
  auto both = numbers<T>(rows * 2 * columns);
  std::vector<T> out(rows * columns);
  const dim3 grid = {((unsigned)columns + 255) / 256, rows};
  in_several_orders(name, out, [&] { launch(grid, 256, [&] { kernel(both.data(), out.data(), columns); }); });
  std::vector<double> expected;
  for (int row = 0; row < rows; row++)
    for (int i = 0; i < columns; i++) {
      const double x = wide(both[row * 2 * columns + i]), up = wide(both[row * 2 * columns + columns + i]);
      expected.push_back(x / (1 + std::exp(-x)) * up);
    }
  same(name, out, expected, tolerance);
  if constexpr (std::is_same_v<T, float>) {
    if (columns % 32) return;
    std::vector<Q8> quantized(rows * columns / 32);
    in_several_orders(name + " q8", quantized,
                   [&] { launch(grid, 256, [&] { gate_q8(both.data(), quantized.data(), columns); }); });
    same_q8(name + " q8", quantized, out);
  }
}

struct Shape {
  int heads, kv_heads, dim;
  int group() const { return heads / kv_heads; }
};
static const Shape LLAMA_8B = {32, 8, 128}, LLAMA_1B = {32, 8, 64}, SMOLLM = {9, 3, 64};

// Projections of `tokens` tokens and a cache of `context` positions. Q and K are in one tensor, V in
// another, as a Q4_K_M file gives them.
template <typename T, typename C> struct Layer {
  Shape shape;
  int tokens, position, context, interleaved;
  int qk_row = (shape.heads + shape.kv_heads) * shape.dim, v_row = shape.kv_heads * shape.dim;
  size_t cached = (size_t)shape.kv_heads * context * shape.dim;
  std::vector<T> qk = numbers<T>(tokens * qk_row), v = numbers<T>(tokens * v_row);
  std::vector<float> cos = angles(), sin = angles();
  std::vector<C> k_cache = numbers<C>(cached), v_cache = numbers<C>(cached);
  unsigned place = position;
  float scale = 1 / std::sqrt((float)shape.dim);

  std::vector<float> angles() { return numbers<float>(context * shape.dim / 2, 1.f); }
  const T *k() const { return qk.data() + shape.heads * shape.dim; }

  // Value i of a head of Q (head < heads) or K, turned.
  double turned(int token, int head, int i) const {
    const int dim = shape.dim, half = dim / 2, pair = interleaved ? i / 2 : i % half;
    const bool second = interleaved ? i % 2 : i >= half;
    const int partner = interleaved ? i ^ 1 : (i + half) % dim;
    const T *from = qk.data() + token * qk_row + head * dim;
    const size_t angle = (size_t)(position + token) * half + pair;
    return wide(from[i]) * (double)cos[angle] + (second ? 1 : -1) * wide(from[partner]) * (double)sin[angle];
  }

  // Whether `k` and `v`, the caches after a pass, have the new tokens, and are otherwise as before.
  void check_caches(const std::string &name, const std::vector<C> &k, const std::vector<C> &v, double tolerance) {
    const int dim = shape.dim;
    double most = 0;
    bool untouched = true;
    for (int head = 0; head < shape.kv_heads; head++)
      for (int at = 0; at < context; at++)
        for (int i = 0; i < dim; i++) {
          const size_t cell = ((size_t)head * context + at) * dim + i;
          if (at < position || at >= position + tokens) {
            untouched = untouched && !std::memcmp(&k[cell], &k_cache[cell], sizeof(C)) &&
                        !std::memcmp(&v[cell], &v_cache[cell], sizeof(C));
            continue;
          }
          const double value = wide(this->v[(at - position) * v_row + head * dim + i]);
          for (double off : {std::abs(wide(k[cell]) - turned(at - position, shape.heads + head, i)),
                             std::abs(wide(v[cell]) - value)})
            if (!(off <= most)) most = off;
        }
    verdict(most <= tolerance, name, "the cache is off by " + std::to_string(most));
    verdict(untouched, name, "other positions of the cache are changed");
  }

  // Attention over the caches, [tokens, heads * dim].
  std::vector<double> expected(const std::vector<C> &k, const std::vector<C> &v) const {
    const int dim = shape.dim;
    std::vector<double> out(tokens * shape.heads * dim);
    for (int token = 0; token < tokens; token++)
      for (int head = 0; head < shape.heads; head++) {
        const int keys = position + token + 1;
        std::vector<double> scores(keys), query(dim);
        for (int i = 0; i < dim; i++) query[i] = turned(token, head, i) * scale;
        const size_t start = (size_t)(head / shape.group()) * context * dim;
        double most = -INFINITY, sum = 0;
        for (int key = 0; key < keys; key++) {
          const C *values = k.data() + start + (size_t)key * dim;
          for (int i = 0; i < dim; i++) scores[key] += query[i] * wide(values[i]);
          most = std::max(most, scores[key]);
        }
        for (double &score : scores) sum += score = std::exp(score - most);
        double *to = out.data() + ((size_t)token * shape.heads + head) * dim;
        for (int key = 0; key < keys; key++) {
          const C *values = v.data() + start + (size_t)key * dim;
          for (int i = 0; i < dim; i++) to[i] += scores[key] / sum * wide(values[i]);
        }
      }
    return out;
  }
};

template <typename T, typename C>
using RopeAppend = void (*)(const T *, const T *, const T *, int, int, int, const float *, const float *, T *, C *, C *,
                            const unsigned *, int, int, int, int, float);

template <typename T, typename C>
static void check_rope_append(const char *types, RopeAppend<T, C> kernel, Shape shape, int interleaved, double tolerance) {
  const int tokens = 3;
  Layer<T, C> layer{shape, tokens, 5, 16, interleaved};
  const std::string name = std::string("rope_append ") + types + " " + std::to_string(shape.dim);
  auto k_cache = layer.k_cache, v_cache = layer.v_cache;
  std::vector<T> rotated(shape.heads * tokens * shape.dim);
  in_several_orders(name, rotated, [&] {
    k_cache = layer.k_cache, v_cache = layer.v_cache;
    launch({tokens, (unsigned)(shape.heads + shape.kv_heads)}, shape.dim / 2, [&] {
      kernel(layer.qk.data(), layer.k(), layer.v.data(), layer.qk_row, layer.qk_row, layer.v_row, layer.cos.data(),
             layer.sin.data(), rotated.data(), k_cache.data(), v_cache.data(), &layer.place, shape.heads, shape.dim,
             layer.context, interleaved, layer.scale);
    });
  });
  std::vector<double> expected;
  for (int head = 0; head < shape.heads; head++)
    for (int token = 0; token < tokens; token++)
      for (int i = 0; i < shape.dim; i++) expected.push_back(layer.turned(token, head, i) * layer.scale);
  same(name, rotated, expected, tolerance);
  layer.check_caches(name, k_cache, v_cache, tolerance);
}

template <typename T, typename C>
using Attend = void (*)(const T *, const T *, const T *, int, int, int, const float *, const float *, C *, C *, float *,
                        float *, const unsigned *, int, int, int, int, float);
template <typename O> using Combine = void (*)(const float *, const float *, const unsigned *, O *, int, int);

// A step of `tokens` tokens after `position` others, with the keys in `splits` spans.
struct Step {
  int tokens, position, splits;
  int room = 1;         // positions of the cache behind the last token
  float loudness = 1.f; // of the queries: above 10, one key takes all the weight
};

template <typename T, typename C>
static void check_attend(const char *types, Attend<T, C> kernel, Combine<T> combine, Shape shape, Step step,
                         double tolerance) {
  const int interleaved = (step.position + step.splits) % 2;
  Layer<T, C> layer{shape, step.tokens, step.position, step.position + step.tokens + step.room, interleaved};
  layer.scale *= step.loudness;
  const int tokens = step.tokens, heads = shape.heads, dim = shape.dim;
  const std::string name = std::string("attend ") + types + ", " + std::to_string(heads) + "/" +
                           std::to_string(shape.kv_heads) + " heads of " + std::to_string(dim) + ", " +
                           std::to_string(tokens) + " after " + std::to_string(step.position) + ", " +
                           std::to_string(step.splits) + " spans";
  auto k_cache = layer.k_cache, v_cache = layer.v_cache;
  const size_t parts = (size_t)heads * tokens * step.splits;
  std::vector<float> mixed, weights;
  std::vector<T> out(tokens * heads * dim);
  in_several_orders(name, out, [&] {
    k_cache = layer.k_cache, v_cache = layer.v_cache;
    mixed = nothing<float>(parts * dim), weights = nothing<float>(parts * 2);
    launch({(unsigned)shape.kv_heads, (unsigned)step.splits}, ATTEND_THREADS, [&] {
      kernel(layer.qk.data(), layer.k(), layer.v.data(), layer.qk_row, layer.qk_row, layer.v_row, layer.cos.data(),
             layer.sin.data(), k_cache.data(), v_cache.data(), mixed.data(), weights.data(), &layer.place, tokens,
             shape.group(), layer.context, interleaved, layer.scale);
    });
    launch({(unsigned)heads, (unsigned)tokens}, dim, [&] {
      combine(mixed.data(), weights.data(), &layer.place, out.data(), shape.group(), step.splits);
    });
  });
  layer.check_caches(name, k_cache, v_cache, tolerance);
  same(name, out, layer.expected(k_cache, v_cache), tolerance);
  if constexpr (std::is_same_v<T, float>) {
    std::vector<Q8> quantized(out.size() / 32);
    in_several_orders(name + " q8", quantized, [&] {
      launch({(unsigned)heads, (unsigned)tokens}, dim, [&] {
        combine_q8(mixed.data(), weights.data(), &layer.place, quantized.data(), shape.group(), step.splits);
      });
    });
    same_q8(name + " q8", quantized, out);
  }
}

template <typename T>
using Prefill = void (*)(const T *, const __half *, const __half *, T *, const unsigned *, int, int, int);

// `loudness` as for a step.
template <typename T>
static void check_prefill(const char *types, RopeAppend<T, __half> append, Prefill<T> kernel, Shape shape, int tokens,
                          int position, double tolerance, float loudness = 1.f) {
  Layer<T, __half> layer{shape, tokens, position, position + tokens + 1, position % 2};
  layer.scale *= loudness;
  const std::string name = std::string("prefill ") + types + ", " + std::to_string(shape.heads) + "/" +
                           std::to_string(shape.kv_heads) + " heads of " + std::to_string(shape.dim) + ", " +
                           std::to_string(tokens) + " after " + std::to_string(position);
  auto k_cache = layer.k_cache, v_cache = layer.v_cache;
  // What a longer conversation left behind the last key must not matter.
  for (int head = 0; head < shape.kv_heads; head++)
    for (int i = 0; i < shape.dim; i++)
      k_cache[((size_t)(head + 1) * layer.context - 1) * shape.dim + i] =
          v_cache[((size_t)(head + 1) * layer.context - 1) * shape.dim + i] = {0x7c00};  // infinity
  std::vector<T> rotated(shape.heads * tokens * shape.dim), out(rotated.size());
  launch({(unsigned)tokens, (unsigned)(shape.heads + shape.kv_heads)}, shape.dim / 2, [&] {
    append(layer.qk.data(), layer.k(), layer.v.data(), layer.qk_row, layer.qk_row, layer.v_row, layer.cos.data(),
           layer.sin.data(), rotated.data(), k_cache.data(), v_cache.data(), &layer.place, shape.heads, shape.dim,
           layer.context, layer.interleaved, layer.scale);
  });
  const unsigned blocks = (tokens * shape.group() + BLOCK_ROWS - 1) / BLOCK_ROWS;
  in_several_orders(name, out, [&] {
    launch({(unsigned)shape.kv_heads, blocks}, ATTEND_THREADS, [&] {
      kernel(rotated.data(), k_cache.data(), v_cache.data(), out.data(), &layer.place, tokens, shape.group(),
             layer.context);
    });
  });
  same(name, out, layer.expected(k_cache, v_cache), tolerance);
}

static const double EXACT = 3e-5, LOUD = 3e-4, HALF = 5e-3, BF16 = 0.05;  // values up to 4, of 24, 11 and 8 bits; LOUD: scores of hundreds

// Every type and instance.
static void check_attend_types(Step step, bool all) {
  const Shape two = {4, 2, 64}, alone = {2, 2, 128}, eight = {8, 1, 64}, eight_wide = {8, 1, 128};
  check_attend("float half", attend_float_half_128_4, combine_float, LLAMA_8B, step, HALF);
  check_attend("bf16 bf16", attend_bf16_bf16_64_4, combine_bf16, SMOLLM, step, BF16);
  if (!all) return;
  check_attend("float half", attend_float_half_64_4, combine_float, LLAMA_1B, step, HALF);
  check_attend("float half", attend_float_half_128_1, combine_float, alone, step, HALF);
  check_attend("float half", attend_float_half_64_8, combine_float, eight, step, HALF);
  check_attend("float half", attend_float_half_128_8, combine_float, eight_wide, step, HALF);
  check_attend("float half", attend_float_half_64_1, combine_float, Shape{2, 2, 64}, step, HALF);
  check_attend("float float", attend_float_float_64_1, combine_float, two, step, EXACT);
  check_attend("float float", attend_float_float_64_4, combine_float, SMOLLM, step, EXACT);
  check_attend("float float", attend_float_float_64_8, combine_float, two, step, EXACT);
  check_attend("float float", attend_float_float_128_1, combine_float, alone, step, EXACT);
  check_attend("float float", attend_float_float_128_4, combine_float, Shape{6, 2, 128}, step, EXACT);
  check_attend("float float", attend_float_float_128_8, combine_float, eight_wide, step, EXACT);
  check_attend("half half", attend_half_half_64_1, combine_half, two, step, HALF);
  check_attend("half half", attend_half_half_64_4, combine_half, SMOLLM, step, HALF);
  check_attend("half half", attend_half_half_64_8, combine_half, eight, step, HALF);
  check_attend("half half", attend_half_half_128_1, combine_half, alone, step, HALF);
  check_attend("half half", attend_half_half_128_4, combine_half, Shape{6, 2, 128}, step, HALF);
  check_attend("half half", attend_half_half_128_8, combine_half, eight_wide, step, HALF);
  check_attend("bf16 bf16", attend_bf16_bf16_64_1, combine_bf16, two, step, BF16);
  check_attend("bf16 bf16", attend_bf16_bf16_64_8, combine_bf16, eight, step, BF16);
  check_attend("bf16 bf16", attend_bf16_bf16_128_1, combine_bf16, alone, step, BF16);
  check_attend("bf16 bf16", attend_bf16_bf16_128_4, combine_bf16, LLAMA_8B, step, BF16);
  check_attend("bf16 bf16", attend_bf16_bf16_128_8, combine_bf16, eight_wide, step, BF16);
}

static void check_attention(bool full) {
  for (int tokens = 1; tokens <= 8; tokens++)
    for (int position : {0, 1, 57, 62, 63, 64, 131})
      if (full || (tokens + position) % 4 == 0) check_attend_types({tokens, position, 3}, full);
  for (int tokens : {1, 2, 8})
    for (int position : {0, 63, 129}) check_attend_types({tokens, position, 3}, true);
  // As many spans as an RTX 3060, an RTX 4090, an H100 and a B200 get.
  for (int splits : {7, 32, 33, 37})
    for (int keys : {1, 65, 1000, 2000}) check_attend_types({1, keys - 1, splits}, false);
  check_attend_types({1, 4499, 33, 0}, false);
  check_attend("float half", attend_float_half_128_4, combine_float, LLAMA_8B, {1, 8999, 33, 0}, HALF);
  check_attend("float half", attend_float_half_128_4, combine_float, LLAMA_8B, {1, 8191, 7, 0}, HALF);
  check_attend("float half", attend_float_half_128_8, combine_float, LLAMA_8B, {8, 2000, 33, 0}, HALF);
  // Scores of some hundreds: one key takes all the weight.
  check_attend("float half", attend_float_half_128_4, combine_float, LLAMA_8B, {1, 700, 33, 1, 100.f}, HALF);
  check_attend("float float", attend_float_float_64_8, combine_float, {4, 2, 64}, {8, 300, 9, 1, 100.f}, LOUD);
}

// Around every border of spans, and the end of the cache.
static void check_lengths(bool full) {
  for (int keys = 1; keys <= (full ? 9000 : 400); keys += full || keys < 140 ? 1 : 7) {
    check_attend("float half", attend_float_half_64_1, combine_float, {1, 1, 64}, {1, keys - 1, 33, 0}, HALF);
    if (keys < 2 || (keys > 1000 && keys % 13 > 0)) continue;
    check_attend("float float", attend_float_float_128_4, combine_float, {2, 1, 128}, {2, keys - 2, 5, 0}, EXACT);
  }
}

static void check_prefills(bool full) {
  // Rows end in a block, at its end, and in the next; keys in a tile, at its end, and in the next.
  for (int tokens : {9, 16, 17, 40})
    for (int position : {0, 1, 23, 24, 47, 48, 112}) {
      if (!full && tokens % 2 == position % 2) continue;
      check_prefill<float>("float half", rope_append_float_half, prefill_float_half_64, SMOLLM, tokens, position, HALF);
      check_prefill<__half>("half half", rope_append_half_half, prefill_half_half_64, {2, 2, 64}, tokens, position, HALF);
    }
  for (int tokens : {16, 33})
    for (int position : {0, 31, 300}) {
      check_prefill<float>("float half", rope_append_float_half, prefill_float_half_128, {8, 2, 128}, tokens, position, HALF);
      check_prefill<__half>("half half", rope_append_half_half, prefill_half_half_128, {8, 1, 128}, tokens, position, HALF);
    }
  check_prefill<float>("float half", rope_append_float_half, prefill_float_half_128, LLAMA_8B, 20, full ? 1500 : 300, HALF);
  check_prefill<float>("float half, loud", rope_append_float_half, prefill_float_half_64, {4, 2, 64}, 70, 200, 0.5, 20.f);
  if (!full) return;
  check_prefill<float>("float half", rope_append_float_half, prefill_float_half_128, LLAMA_8B, 512, 1536, HALF);
  for (int position = 0; position < 300; position++)
    check_prefill<float>("float half", rope_append_float_half, prefill_float_half_64, {2, 1, 64}, 37, position, HALF);
}

// The recent tokens lowered once each, then the first of the highest finite logits.
static void check_choose(const std::string &what, std::vector<float> logits, const std::vector<unsigned> &recent,
                         float penalty) {
  Recent ids = {(unsigned)recent.size(), {}};
  std::copy(recent.begin(), recent.end(), ids.ids);
  const std::vector<float> before = logits;
  std::vector<Choice> out(1);
  in_several_orders("choose " + what, out, [&] {
    logits = before;
    launch({1}, CHOICE_THREADS, [&] { choose(logits.data(), logits.size(), ids, penalty, out.data()); });
  });
  std::vector<float> expected = before;
  for (size_t i = 0; i < recent.size(); i++)
    if (recent[i] < expected.size() && std::find(recent.begin(), recent.begin() + i, recent[i]) == recent.begin() + i) {
      float &logit = expected[recent[i]];
      logit = logit > 0 ? logit / penalty : logit * penalty;
    }
  Choice best = {0, -INFINITY};
  for (size_t i = 0; i < expected.size(); i++)
    if (expected[i] > best.logit && expected[i] < INFINITY) best = {(unsigned)i, expected[i]};
  verdict(std::memcmp(expected.data(), logits.data(), logits.size() * 4) == 0, "choose " + what, "wrong penalties");
  verdict(out[0].id == best.id && out[0].logit == best.logit, "choose " + what,
          "found " + std::to_string(out[0].id) + ", expected " + std::to_string(best.id));
}

static void check_choices() {
  for (size_t vocabulary : {1, 3, 50, 1023, 4097, 49152, 128256}) {
    const std::string size = std::to_string(vocabulary);
    auto logits = numbers<float>(vocabulary, 20.f);
    check_choose(size, logits, {}, 1.f);
    const unsigned best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    std::vector<unsigned> recent(64);
    for (unsigned &id : recent) id = random_bits() % (vocabulary + 5);
    recent[3] = recent[9] = recent[63] = best;
    check_choose(size + ", the best one penalized", logits, recent, 1.3f);
    for (float &logit : logits) logit = std::round(logit / 20.f);  // ties everywhere
    check_choose(size + ", ties", logits, recent, 1.05f);
    for (size_t i = 0; i < vocabulary; i += 2) logits[i] = i % 4 ? NAN : INFINITY;
    check_choose(size + ", some not finite", logits, recent, 1.05f);
    check_choose(size + ", none finite", std::vector<float>(vocabulary, NAN), recent, 1.05f);
    check_choose(size + ", none finite", std::vector<float>(vocabulary, -INFINITY), {}, 1.05f);
    check_choose(size + ", all equal", std::vector<float>(vocabulary, -3.f), {}, 1.05f);
  }
}

static void check_add_norms() {
  for (bool with_delta : {true, false}) {
    for (int columns : {48, 64, 576, 2048, 4096}) check_add_norm<float>("float", add_norm_float, columns, with_delta, EXACT);
    for (int columns : {100, 4096}) {
      check_add_norm<__half>("half", add_norm_half, columns, with_delta, HALF);
      check_add_norm<bf16>("bf16", add_norm_bf16, columns, with_delta, BF16);
    }
  }
}

static void check_gates() {
  for (int columns : {100, 1536, 14336}) {
    check_gate<float>("float", gate_float, columns, EXACT);
    check_gate<__half>("half", gate_half, columns, HALF);
    check_gate<bf16>("bf16", gate_bf16, columns, BF16);
  }
}

static void check_rope_appends() {
  for (int interleaved : {0, 1})
    for (Shape shape : {LLAMA_8B, SMOLLM, Shape{2, 1, 16}, Shape{4, 4, 100}}) {
      check_rope_append<float, float>("float float", rope_append_float_float, shape, interleaved, EXACT);
      check_rope_append<float, __half>("float half", rope_append_float_half, shape, interleaved, HALF);
      check_rope_append<__half, __half>("half half", rope_append_half_half, shape, interleaved, HALF);
      check_rope_append<bf16, bf16>("bf16 bf16", rope_append_bf16_bf16, shape, interleaved, BF16);
    }
}

int main(int count, char **arguments) {
  std::vector<std::string> names(arguments + 1, arguments + count);
  const bool full = every_order = std::erase(names, "--full") > 0;
  only_first = std::erase(names, "--first") > 0;
  const auto start = std::chrono::steady_clock::now();
  const auto check = [&](const char *name, const std::function<void()> &work) {
    if (!names.empty() && std::find(names.begin(), names.end(), name) == names.end()) return;
    work();
    std::printf("%s: %d checks, %.1f s so far\n", name, checks,
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    std::fflush(stdout);
  };
  check("add_norm", check_add_norms);
  check("gate", check_gates);
  check("rope_append", check_rope_appends);
  check("choose", check_choices);
  check("prefill", [&] { check_prefills(full); });
  check("attend", [&] { check_attention(full); });
  check("lengths", [&] { check_lengths(full); });
  std::printf("%d of %d checks failed\n", failures, checks);
  return failures > 0 || checks == 0;
}
