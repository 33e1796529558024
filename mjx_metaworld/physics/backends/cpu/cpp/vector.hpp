// Vectors of LANES environments' numbers, by the compilers' vector extensions (GCC and Clang).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef std::int32_t Mask __attribute__((vector_size(4 * LANES)));  // integers; of conditions -1 where true

inline Vector all(float x) { return Vector{} + x; }
inline Mask all(std::int32_t x) { return Mask{} + x; }
inline Vector choose(Mask which, Vector a, Vector b) { return which ? a : b; }
inline Mask choose(Mask which, Mask a, Mask b) { return which ? a : b; }
inline Vector maximum(Vector a, Vector b) { return a > b ? a : b; }
inline Vector minimum(Vector a, Vector b) { return a < b ? a : b; }
inline Mask maximum(Mask a, Mask b) { return a > b ? a : b; }
inline Mask minimum(Mask a, Mask b) { return a < b ? a : b; }
inline Vector clip(Vector x, Vector low, Vector high) { return minimum(maximum(x, low), high); }
inline Mask clip(Mask x, Mask low, Mask high) { return minimum(maximum(x, low), high); }
inline Vector magnitude(Vector x) { return x < 0.0f ? -x : x; }
inline Vector root(Vector x) {
    for (int i = 0; i < LANES; ++i) x[i] = __builtin_sqrtf(x[i]);
    return x;
}
inline Mask truncated(Vector x) { return __builtin_convertvector(x, Mask); }
inline Vector real(Mask x) { return __builtin_convertvector(x, Vector); }
inline bool any(Mask mask) {
    std::int32_t found = 0;
    for (int i = 0; i < LANES; ++i) found |= mask[i];
    return found != 0;
}

}  // namespace
