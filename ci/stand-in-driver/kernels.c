// The choice of a token, which is made up, and the kernels that a program tries on a few values before it
// loads a model: rows of the program's own (src/compute/cuda/rows.cuh), and candle's products with matrices
// of type Q4_K, Q6_K and Q8_0. Only matrices of 256 columns are multiplied, those of the trial.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stand-in.h"

enum { COLUMNS = 256, BLOCK = 32 };
typedef struct { _Float16 scale, sum; int8_t values[BLOCK]; } Q8; // block_q8_1

static struct { const void *to; const float *from; int rows, columns; } quantized; // by mmq's kernel

#define ARGUMENT(type, number) (*(type *)arguments[number])

static void quantize(const float *from, Q8 *to, int count) {
  for (int b = 0; b < count / BLOCK; b++, from += BLOCK, to++) {
    float largest = 0, sum = 0;
    for (int i = 0; i < BLOCK; i++) {
      if (fabsf(from[i]) > largest) largest = fabsf(from[i]);
      sum += from[i];
    }
    const float scale = largest / 127;
    for (int i = 0; i < BLOCK; i++) to->values[i] = scale ? roundf(from[i] / scale) : 0;
    to->scale = scale;
    to->sum = sum;
  }
}

// A row of 256 values as ggml stores it.
static int widen(const char *type, const uint8_t *row, float *to) {
  if (!strcmp(type, "q8_0")) {
    for (int b = 0; b < COLUMNS / BLOCK; b++, row += 34) {
      const float scale = *(const _Float16 *)row;
      for (int i = 0; i < BLOCK; i++) *to++ = scale * (int8_t)row[2 + i];
    }
    return 34 * COLUMNS / BLOCK;
  }
  if (!strcmp(type, "q4_k")) {
    const float d = ((const _Float16 *)row)[0], m = ((const _Float16 *)row)[1];
    const uint8_t *s = row + 4, *q = row + 16;
    for (int j = 0; j < 8; j++) {
      const int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6 << 4);
      const int least = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6 << 4);
      for (int i = 0; i < BLOCK; i++)
        *to++ = d * scale * (q[j / 2 * BLOCK + i] >> (j % 2 * 4) & 15) - m * least;
    }
    return 144;
  }
  if (!strcmp(type, "q6_k")) {
    const uint8_t *low = row, *high = row + 128;
    const int8_t *scales = (const int8_t *)row + 192;
    const float d = *(const _Float16 *)(row + 208);
    for (int i = 0; i < COLUMNS; i++) {
      const int half = i / 128, in = i % 128, quarter = in / 32, l = in % 32;
      const int bits = low[half * 64 + l + quarter % 2 * 32] >> (quarter / 2 * 4) & 15;
      const int top = high[half * 32 + l] >> (quarter * 2) & 3;
      *to++ = d * scales[i / 16] * ((bits | top << 4) - 32);
    }
    return 210;
  }
  return 0;
}

// A value among those of a type, "float" or "bf16".
static float get(const char *type, const void *values, size_t i) {
  if (*type != 'b') return ((const float *)values)[i];
  const uint32_t bits = (uint32_t)((const uint16_t *)values)[i] << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
static float put(const char *type, void *values, size_t i, float value) {
  if (*type != 'b') return ((float *)values)[i] = value;
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  ((uint16_t *)values)[i] = (bits + 0x7fff + (bits >> 16 & 1)) >> 16; // to the nearest, ties to even
  return get(type, values, i);
}

static int add_norm(const char *types, const unsigned grid[3], void **arguments) {
  const void *hidden = ARGUMENT(void *, 0), *delta = ARGUMENT(void *, 1), *weight = ARGUMENT(void *, 2);
  void *sum = ARGUMENT(void *, 3);
  float normed[COLUMNS];
  const float epsilon = ARGUMENT(float, 6);
  if (ARGUMENT(int, 5) != COLUMNS || !delta) return 0;
  for (unsigned row = 0; row < grid[0]; row++) {
    const size_t first = row * COLUMNS;
    float squares = 0;
    for (int i = 0; i < COLUMNS; i++) {
      const float both = get(types, hidden, first + i) + get(types, delta, first + i);
      const float x = put(types, sum, first + i, both);
      squares += x * x;
    }
    for (int i = 0; i < COLUMNS; i++)
      normed[i] = get(types, sum, first + i) / sqrtf(squares / COLUMNS + epsilon) * get(types, weight, i);
    if (strcmp(types, "q8") == 0)
      quantize(normed, ARGUMENT(Q8 *, 4) + first / BLOCK, COLUMNS);
    else
      for (int i = 0; i < COLUMNS; i++) put(types, ARGUMENT(void *, 4), first + i, normed[i]);
  }
  return 1;
}

static void multiply(const char *type, const uint8_t *matrix, int outputs, const float *row, float *to) {
  float wide[COLUMNS];
  for (int output = 0; output < outputs; output++) {
    matrix += widen(type, matrix, wide);
    float sum = 0;
    for (int i = 0; i < COLUMNS; i++) sum += wide[i] * row[i];
    to[output] = sum;
  }
}

// A dozen tokens again and again, from the first one after each prompt: prompt lookup will guess them.
static int choose(const char *name, void **arguments) {
  static unsigned chosen;
  if (*name == 'r') return chosen = 0;  // a prompt is read
  const float logit = 1;
  ARGUMENT(unsigned *, 4)[0] = 40 + chosen++ % 12;
  memcpy(ARGUMENT(unsigned *, 4) + 1, &logit, sizeof logit);
  return 1;
}

int stand_in_compute(const char *name, const unsigned grid[3], void **arguments) {
  char type[8] = "";
  const char *plain = strstr(name, "_f32_plain_cuda");
  if (!strcmp(name, "choose") || strstr(name, "rope_append") == name) return choose(name, arguments);
  if (!strcmp(name, "add_norm_float") || !strcmp(name, "add_norm_bf16") || !strcmp(name, "add_norm_q8")) {
    return add_norm(name + 9, grid, arguments);
  } else if (strstr(name, "mmvq_gguf_quantize_q8_1_f32")) {
    const int columns = ARGUMENT(int, 2), padded = ARGUMENT(int, 3);
    if (columns != COLUMNS) return 0;
    for (unsigned row = 0; row < grid[1]; row++)
      quantize(ARGUMENT(float *, 0) + row * columns, ARGUMENT(Q8 *, 1) + row * padded / BLOCK, columns);
  } else if (plain && ARGUMENT(int, 3) == COLUMNS) {
    memcpy(type, plain - 4, 4);
    const int rows = plain[15] - '0', outputs = ARGUMENT(int, 4);
    for (int row = 0; row < rows; row++) {
      float values[COLUMNS];
      const Q8 *from = ARGUMENT(Q8 *, 1) + row * ARGUMENT(int, 5);
      for (int i = 0; i < COLUMNS; i++)
        values[i] = (float)from[i / BLOCK].scale * from[i / BLOCK].values[i % BLOCK];
      multiply(type, ARGUMENT(uint8_t *, 0), outputs, values, ARGUMENT(float *, 2) + row * ARGUMENT(int, 6));
    }
  } else if (strstr(name, "quantize_mmq_q8_1")) {
    quantized.from = ARGUMENT(float *, 0), quantized.to = ARGUMENT(void *, 2);
    quantized.rows = grid[0], quantized.columns = ARGUMENT(int64_t, 3);
  } else if (strstr(name, "mul_mat_q") && !strstr(name, "fixup") && ARGUMENT(int, 6) == COLUMNS) {
    // mul_mat_q<GGML_TYPE_Q4_K, …>: the number of the type is in the mangled name.
    const char *number = strstr(name, "ggml_type");
    const int ggml = number ? atoi(number + 9) : -1;
    memcpy(type, ggml == 8 ? "q8_0" : ggml == 12 ? "q4_k" : ggml == 14 ? "q6_k" : "", 5);
    if (!*type || quantized.to != ARGUMENT(void *, 1)) return 0;
    for (int row = 0; row < quantized.rows; row++)
      multiply(type, ARGUMENT(uint8_t *, 0), ARGUMENT(int, 7), quantized.from + row * quantized.columns,
               ARGUMENT(float *, 4) + row * ARGUMENT(int, 11));
  } else {
    return 0;
  }
  return 1;
}
