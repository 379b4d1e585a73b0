/* What stands between the matrix products of a FLUX block on a CPU, each pass over memory made once.

   Rows are tokens. Values are bfloat16 unless they say otherwise; all arithmetic is float32. A row of eight-bit
   integers is unsigned with 128 for zero, and has a scale: value = (integer - 128) * scale.

   Where an input comes from an integer product it is `row_scales[row] * y + bias`; from any other, both are NULL.
   A NaN stays one on every way through here. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t bf16;

#define WIDEST 32768       /* values of a row that are held on the stack */
#define WIDEST_PIXEL 1024  /* channels of an image */
#define SLICE 512          /* pixels */
#define SMALLEST 1e-30f    /* what a row is zeros below: its inverse would overflow */

static inline float widen(bf16 x) {
    union { uint32_t bits; float value; } v = {(uint32_t)x << 16};
    return v.value;
}

static inline bf16 narrow(float x) { /* to the nearest, ties to even */
    union { float value; uint32_t bits; } v = {x};
    uint32_t rounded = (v.bits + 0x7fff + ((v.bits >> 16) & 1)) >> 16;
    return x != x ? 0x7fc0 : (bf16)rounded;
}

static inline float exp2_near(float x) { /* relative error below 3e-6 */
    x = x < -126.0f ? -126.0f : x;
    x = x > 126.0f ? 126.0f : x;
    float whole = __builtin_rintf(x), f = x - whole;
    float p = 1.33336498402e-3f;
    p = p * f + 9.61793571697e-3f;
    p = p * f + 5.55041086644e-2f;
    p = p * f + 2.40226507316e-1f;
    p = p * f + 6.93147182464e-1f;
    p = p * f + 1.0f;
    union { int32_t bits; float value; } power = {((int32_t)whole + 127) << 23};
    return p * power.value;
}

static inline float gelu(float x) { /* the approximation by tanh, which is x times a sigmoid */
    float u = 2.3022081985f * (x + 0.044715f * x * x * x); /* 2 sqrt(2 / pi) log2(e) */
    return x / (1.0f + exp2_near(-u));
}

static inline void read_row(float *out, const bf16 *y, long n, const float *row_scale, const float *bias) {
    if (row_scale) {
        float scale = *row_scale;
        for (long i = 0; i < n; i++) out[i] = widen(y[i]) * scale + bias[i];
    } else {
        for (long i = 0; i < n; i++) out[i] = widen(y[i]);
    }
}

static inline float largest_magnitude(const float *x, long n) { /* compared as integers, among which NaN is largest */
    int32_t largest = 0;
    for (long i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, x + i, 4);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    float value;
    memcpy(&value, &largest, 4);
    return value;
}

static inline void quantize(const float *x, long n, uint8_t *out, float *scale) {
    float largest = largest_magnitude(x, n);
    float inverse = largest < SMALLEST ? 0.0f : 127.0f / largest;
    for (long i = 0; i < n; i++) out[i] = (uint8_t)(int32_t)(x[i] * inverse + 128.5f);
    *scale = largest / 127.0f;
}

static inline void normalize(float *row, const bf16 *x, const bf16 *shift, const bf16 *scale, long width) {
    float sum = 0, squares = 0;
    for (long i = 0; i < width; i++) sum += row[i] = widen(x[i]);
    float mean = sum / width;
    for (long i = 0; i < width; i++) {
        float d = row[i] - mean;
        squares += d * d;
    }
    float factor = 1.0f / __builtin_sqrtf(squares / width + 1e-6f);
    for (long i = 0; i < width; i++) row[i] = (row[i] - mean) * factor * widen(scale[i]) + widen(shift[i]);
}

/* x: rows width -> the same, layer-normed, times scale, plus shift. */
void bildwerk_modulate(const bf16 *x, const bf16 *shift, const bf16 *scale, long rows, long width, bf16 *out) {
#pragma omp parallel for schedule(static)
    for (long r = 0; r < rows; r++) {
        float row[WIDEST] __attribute__((aligned(64)));
        normalize(row, x + r * width, shift, scale, width);
        for (long i = 0; i < width; i++) out[r * width + i] = narrow(row[i]);
    }
}

/* The same, as integers and row scales. */
void bildwerk_modulate_to_int8(
    const bf16 *x, const bf16 *shift, const bf16 *scale, long rows, long width, uint8_t *out, float *scales) {
#pragma omp parallel for schedule(static)
    for (long r = 0; r < rows; r++) {
        float row[WIDEST] __attribute__((aligned(64)));
        normalize(row, x + r * width, shift, scale, width);
        quantize(row, width, out + r * width, scales + r);
    }
}

/* y: rows of `stride`, `width` values each -> out: rows of `out_stride`, GELU of them. */
void bildwerk_gelu(const bf16 *y, long stride, long rows, long width, bf16 *out, long out_stride) {
#pragma omp parallel for schedule(static)
    for (long r = 0; r < rows; r++)
        for (long i = 0; i < width; i++) out[r * out_stride + i] = narrow(gelu(widen(y[r * stride + i])));
}

/* left: rows left_width, as they are, and y: rows of `stride`, through GELU -> side by side, as integers. Either may be
   of no width. */
void bildwerk_gelu_to_int8(
    const bf16 *left, long left_width, const bf16 *y, long stride, long width, const float *row_scales,
    const float *bias, long rows, uint8_t *out, float *scales) {
    long joined = left_width + width;
#pragma omp parallel for schedule(static)
    for (long r = 0; r < rows; r++) {
        float row[WIDEST] __attribute__((aligned(64)));
        read_row(row, left + r * left_width, left_width, NULL, NULL);
        float *right = row + left_width;
        read_row(right, y + r * stride, width, row_scales ? row_scales + r : NULL, bias);
        for (long i = 0; i < width; i++) right[i] = gelu(right[i]);
        quantize(row, joined, out + r * joined, scales + r);
    }
}

/* x + gate * y: rows width. out may be x. */
void bildwerk_gated_sum(
    const bf16 *x, const bf16 *y, const bf16 *gate, const float *row_scales, const float *bias, long rows, long width,
    bf16 *out) {
#pragma omp parallel for schedule(static)
    for (long r = 0; r < rows; r++) {
        float row[WIDEST] __attribute__((aligned(64)));
        read_row(row, y + r * width, width, row_scales ? row_scales + r : NULL, bias);
        for (long i = 0; i < width; i++)
            out[r * width + i] = narrow(widen(x[r * width + i]) + widen(gate[i]) * row[i]);
    }
}

/* x: pixels channels -> SiLU of the group norm. The sums of a slice of pixels are float32, those over slices float64. */
void bildwerk_group_norm_silu(
    const bf16 *x, const float *weight, const float *bias, long pixels, long channels, long groups, float epsilon,
    bf16 *out) {
    long group_width = channels / groups, slices = (pixels + SLICE - 1) / SLICE;
    double total[WIDEST_PIXEL] = {0}, squares[WIDEST_PIXEL] = {0};
#pragma omp parallel for schedule(static) reduction(+ : total[:WIDEST_PIXEL], squares[:WIDEST_PIXEL])
    for (long s = 0; s < slices; s++) {
        float sum[WIDEST_PIXEL] = {0}, square[WIDEST_PIXEL] = {0};
        long end = (s + 1) * SLICE < pixels ? (s + 1) * SLICE : pixels;
        for (long p = s * SLICE; p < end; p++)
            for (long c = 0; c < channels; c++) {
                float value = widen(x[p * channels + c]);
                sum[c] += value;
                square[c] += value * value;
            }
        for (long c = 0; c < channels; c++) {
            total[c] += sum[c];
            squares[c] += square[c];
        }
    }
    float factor[WIDEST_PIXEL], offset[WIDEST_PIXEL];
    for (long g = 0; g < groups; g++) {
        double sum = 0, square = 0, count = (double)pixels * group_width;
        for (long c = g * group_width; c < (g + 1) * group_width; c++) sum += total[c], square += squares[c];
        double mean = sum / count, variance = square / count - mean * mean;
        double inverse = 1.0 / __builtin_sqrt((variance < 0 ? 0 : variance) + epsilon);
        for (long c = g * group_width; c < (g + 1) * group_width; c++) {
            factor[c] = weight[c] * inverse;
            offset[c] = bias[c] - mean * factor[c];
        }
    }
#pragma omp parallel for schedule(static)
    for (long p = 0; p < pixels; p++)
        for (long c = 0; c < channels; c++) {
            float y = widen(x[p * channels + c]) * factor[c] + offset[c];
            out[p * channels + c] = narrow(y / (1.0f + exp2_near(-1.44269504f * y)));
        }
}

/* x: rows inputs, float32, times weight: outputs inputs, signed, by its row scales, plus bias, which may be NULL -> rows
   outputs, float32. Each weight is read once, which is what it takes while rows are few. */
void bildwerk_multiply_few(
    const float *x, const int8_t *weight, const float *scales, const float *bias, long rows, long inputs, long outputs,
    float *out) {
#pragma omp parallel for schedule(static)
    for (long o = 0; o < outputs; o++) {
        float row[WIDEST] __attribute__((aligned(64)));
        for (long i = 0; i < inputs; i++) row[i] = weight[o * inputs + i];
        for (long r = 0; r < rows; r++) {
            float sum = 0;
            for (long i = 0; i < inputs; i++) sum += x[r * inputs + i] * row[i];
            out[r * outputs + o] = sum * scales[o] + (bias ? bias[o] : 0.0f);
        }
    }
}

/* Attention. Queries lie as heads, tokens, dim. Keys and values lie as `tile` below reads its right-hand side: two
   values of the summed index side by side, 16 columns of them a vector, with room for a multiple of
   TILE_COLUMNS tokens.
       keys   heads, tokens / 16, dim / 2, 16, 2
       values heads, dim / 64, tokens / 2, 64, 2 */

/* As in kernels.py: QUERY_ROWS is QUERIES, KEY_ROWS is TILE_COLUMNS. */
#define TILE_ROWS 6
#define TILE_COLUMNS 64
#define QUERIES 96 /* of a block; a multiple of TILE_ROWS */
#define KEYS 256   /* of a block; a multiple of TILE_COLUMNS */
#define WIDEST_HEAD 128
#define FEW_AT_ONCE 4
#define GROUP 16 /* tokens whose keys lie side by side */

/* x: dim values of a query or a key -> normed, times factor, and turned by the token's angles; pairs of bfloat16. */
static inline void norm_and_turn(
    uint32_t *out, const float *x, const float *norm, float factor, const float *angle, long dim) {
    float squares = 0, normed[WIDEST_HEAD];
    for (long i = 0; i < dim; i++) squares += x[i] * x[i];
    factor /= __builtin_sqrtf(squares / dim + 1e-6f);
    for (long i = 0; i < dim; i++) normed[i] = x[i] * factor * norm[i];
    for (long i = 0; i < dim / 2; i++) {
        float cosine = angle[2 * i], sine = angle[2 * i + 1], even = normed[2 * i], odd = normed[2 * i + 1];
        uint32_t low = narrow(cosine * even - sine * odd), high = narrow(sine * even + cosine * odd);
        out[i] = low | high << 16;
    }
}

/* qkv: rows of `stride`; of each, the queries, keys and values of all heads. Norms queries and keys a head at a time,
   turns them by the tokens' angles (rotary: tokens dim / 2 2), multiplies queries with query_factor. Rows are the tokens
   from `first` on, of `tokens` in all; `padded` is what keys and values have room for, `query_room` what queries have. */
void bildwerk_split_heads(
    const bf16 *qkv, long stride, const float *row_scales, const float *bias, const float *query_norm,
    const float *key_norm, const float *rotary, float query_factor, long rows, long first, long heads, long dim,
    long query_room, long padded, bf16 *queries, bf16 *keys, bf16 *values) {
    long width = heads * dim, end = first + rows;
#pragma omp parallel for schedule(static)
    for (long group = first / GROUP; group < (end + GROUP - 1) / GROUP; group++) {
        long begin = group * GROUP < first ? first : group * GROUP;
        long stop = (group + 1) * GROUP < end ? (group + 1) * GROUP : end;
        for (long h = 0; h < heads; h++) {
            uint32_t turned[WIDEST_HEAD / 2 * GROUP] __attribute__((aligned(64)));
            bf16 pair[2][WIDEST_HEAD];
            for (long token = begin; token < stop; token++) {
                const bf16 *row = qkv + (token - first) * stride;
                const float *row_scale = row_scales ? row_scales + token - first : NULL;
                const float *angle = rotary + token * dim;
                float x[WIDEST_HEAD];
                uint32_t turn[WIDEST_HEAD / 2];
                long column = h * dim;
                read_row(x, row + column, dim, row_scale, bias ? bias + column : NULL);
                norm_and_turn(turn, x, query_norm, query_factor, angle, dim);
                memcpy(queries + (h * query_room + token) * dim, turn, dim * sizeof(bf16));
                column += width;
                read_row(x, row + column, dim, row_scale, bias ? bias + column : NULL);
                norm_and_turn(turn, x, key_norm, 1.0f, angle, dim);
                for (long i = 0; i < dim / 2; i++) turned[i * GROUP + token % GROUP] = turn[i];
                column += width;
                read_row(x, row + column, dim, row_scale, bias ? bias + column : NULL);
                bf16 *value = pair[token % 2];
                for (long i = 0; i < dim; i++) value[i] = narrow(x[i]);
                bf16 *to = values + h * dim * padded + token / 2 * 2 * TILE_COLUMNS;
                int closes = token % 2 && token > begin, is_alone = !(token % 2) && token + 1 == stop;
                for (long panel = 0; panel < dim; panel += TILE_COLUMNS, to += TILE_COLUMNS * padded) {
                    if (closes)
                        for (long i = 0; i < TILE_COLUMNS; i++)
                            ((uint32_t *)to)[i] = pair[0][panel + i] | (uint32_t)pair[1][panel + i] << 16;
                    else if (token % 2 || is_alone)
                        for (long i = 0; i < TILE_COLUMNS; i++) to[2 * i + token % 2] = value[panel + i];
                }
            }
            uint32_t *to = (uint32_t *)keys + (h * padded + group * GROUP) * (dim / 2);
            if (stop - begin == GROUP)
                memcpy(to, turned, dim / 2 * GROUP * sizeof(uint32_t));
            else
                for (long i = 0; i < dim / 2; i++)
                    for (long token = begin; token < stop; token++)
                        to[i * GROUP + token % GROUP] = turned[i * GROUP + token % GROUP];
        }
    }
}

#if defined(__AVX512BF16__) && defined(__AVX512F__)
#include <immintrin.h>

/* c: TILE_ROWS x TILE_COLUMNS, plus a times b. a: rows of `a_stride`, 2 steps values each; b: 4 vectors `b_vector` values
   apart for each step, steps `b_step` values apart. */
static inline __attribute__((always_inline)) void tile(
    const bf16 *a, long a_stride, const bf16 *b, long b_vector, long b_step, long steps, float *c, long c_stride,
    int accumulates) {
    __m512 sum[TILE_ROWS][4];
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++)
            sum[r][v] = accumulates ? _mm512_loadu_ps(c + r * c_stride + 16 * v) : _mm512_setzero_ps();
    for (long s = 0; s < steps; s++) {
        __m512bh right[4];
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) right[v] = (__m512bh)_mm512_loadu_si512(b + s * b_step + v * b_vector);
#pragma GCC unroll 6
        for (int r = 0; r < TILE_ROWS; r++) {
            int32_t pair;
            memcpy(&pair, a + r * a_stride + 2 * s, 4);
            __m512bh left = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], left, right[v]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) _mm512_storeu_ps(c + r * c_stride + 16 * v, sum[r][v]);
}

static inline __m512 exp2_of(__m512 x) { /* as exp2_near; from far below it is zero */
    __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 f = _mm512_sub_ps(x, whole);
    __m512 p = _mm512_set1_ps(9.61793571697e-3f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.55041086644e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.40226507316e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.93147182464e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, whole);
}

typedef struct {
    float scores[QUERIES * KEYS] __attribute__((aligned(64)));
    bf16 weights[QUERIES * KEYS] __attribute__((aligned(64)));
    float sums[QUERIES * WIDEST_HEAD] __attribute__((aligned(64)));
    float largest[QUERIES], total[QUERIES];
} Block;

/* One row of scores to weights against the largest score so far; what was summed before is scaled to the new one. */
static inline void weigh(Block *block, long row, long keys, long valid, long dim, int is_first) {
    float *scores = block->scores + row * KEYS;
    __m512 high = _mm512_set1_ps(-__builtin_inff());
    for (long i = valid; i < keys; i++) scores[i] = -__builtin_inff(); /* there is no such token */
    for (long i = 0; i < keys; i += 16) high = _mm512_max_ps(_mm512_load_ps(scores + i), high);
    float largest = _mm512_reduce_max_ps(high);
    if (!is_first && block->largest[row] > largest) largest = block->largest[row];
    __m512 top = _mm512_set1_ps(largest), total = _mm512_setzero_ps();
    for (long i = 0; i < keys; i += 16) {
        __m512 weight = exp2_of(_mm512_sub_ps(_mm512_load_ps(scores + i), top));
        total = _mm512_add_ps(total, weight);
        _mm256_store_si256((__m256i *)(block->weights + row * KEYS + i), (__m256i)_mm512_cvtneps_pbh(weight));
    }
    float sum = _mm512_reduce_add_ps(total);
    if (!is_first && block->largest[row] != largest) {
        float factor = _mm512_cvtss_f32(exp2_of(_mm512_set1_ps(block->largest[row] - largest)));
        for (long i = 0; i < dim; i++) block->sums[row * WIDEST_HEAD + i] *= factor;
        block->total[row] *= factor;
    }
    block->total[row] = is_first ? sum : block->total[row] + sum;
    block->largest[row] = largest;
}

/* sum: `rows` of them, x times one weight row; x: rows of `inputs`, a multiple of 32. */
static inline __attribute__((always_inline)) void dot(
    const bf16 *x, const bf16 *weight, long inputs, int rows, float *sum) {
    __m512 even[FEW_AT_ONCE], odd[FEW_AT_ONCE]; /* two, since each sum waits for the last */
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) even[r] = odd[r] = _mm512_setzero_ps();
    for (long i = 0; i < inputs; i += 64) {
        __m512bh first = (__m512bh)_mm512_loadu_si512(weight + i);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
            even[r] = _mm512_dpbf16_ps(even[r], first, (__m512bh)_mm512_loadu_si512(x + r * inputs + i));
        if (i + 32 >= inputs) break;
        __m512bh second = (__m512bh)_mm512_loadu_si512(weight + i + 32);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
            odd[r] = _mm512_dpbf16_ps(odd[r], second, (__m512bh)_mm512_loadu_si512(x + r * inputs + i + 32));
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) sum[r] = _mm512_reduce_add_ps(_mm512_add_ps(even[r], odd[r]));
}

/* x: rows inputs, a multiple of 32, times weight: outputs inputs, plus bias, which may be NULL -> rows outputs. Each
   weight is read from memory once. */
void bildwerk_multiply_few_bf16(
    const bf16 *x, const bf16 *weight, const bf16 *bias, long rows, long inputs, long outputs, bf16 *out) {
#pragma omp parallel for schedule(static)
    for (long o = 0; o < outputs; o++)
        for (long r = 0; r < rows; r += FEW_AT_ONCE) {
            const bf16 *some = x + r * inputs, *row = weight + o * inputs;
            long count = rows - r < FEW_AT_ONCE ? rows - r : FEW_AT_ONCE;
            float sum[FEW_AT_ONCE];
            if (count == FEW_AT_ONCE)
                dot(some, row, inputs, FEW_AT_ONCE, sum);
            else
                for (long i = 0; i < count; i++) dot(some + i * inputs, row, inputs, 1, sum + i);
            for (long i = 0; i < count; i++) out[(r + i) * outputs + o] = narrow(sum[i] + (bias ? widen(bias[o]) : 0));
        }
}

int bildwerk_multiplies_bfloat16(void) { return 1; }

/* out: rows of `out_stride`, one a token; head h writes the columns from h * dim on. The queries' factor has log2(e) in
   it. */
void bildwerk_attend(
    const bf16 *queries, const bf16 *keys, const bf16 *values, long heads, long tokens, long dim, long query_room,
    long padded, bf16 *out, long out_stride) {
    long blocks = (tokens + QUERIES - 1) / QUERIES;
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (long h = 0; h < heads; h++)
        for (long q = 0; q < blocks; q++) {
            Block block;
            long first = q * QUERIES, rows = tokens - first < QUERIES ? tokens - first : QUERIES;
            const bf16 *query = queries + (h * query_room + first) * dim;
            for (long k = 0; k < tokens; k += KEYS) {
                long valid = tokens - k < KEYS ? tokens - k : KEYS;
                long width = (valid + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS;
                for (long n = 0; n < width; n += TILE_COLUMNS)
                    for (long r = 0; r < rows; r += TILE_ROWS)
                        tile(query + r * dim, dim, keys + (h * padded + k + n) * dim, 16 * dim, 32, dim / 2,
                             block.scores + r * KEYS + n, KEYS, 0);
                for (long r = 0; r < rows; r++) weigh(&block, r, width, valid, dim, k == 0);
                for (long n = 0; n < dim; n += TILE_COLUMNS)
                    for (long r = 0; r < rows; r += TILE_ROWS)
                        tile(block.weights + r * KEYS, KEYS, values + (h * dim + n) * padded + k * TILE_COLUMNS, 32,
                             2 * TILE_COLUMNS, width / 2, block.sums + r * WIDEST_HEAD + n, WIDEST_HEAD, k != 0);
            }
            for (long r = 0; r < rows; r++) {
                float factor = 1.0f / block.total[r];
                bf16 *to = out + (first + r) * out_stride + h * dim;
                for (long i = 0; i < dim; i++) to[i] = narrow(block.sums[r * WIDEST_HEAD + i] * factor);
            }
        }
}
#else
int bildwerk_multiplies_bfloat16(void) { return 0; }
#endif
