// Sine and cosine of LANES numbers.
#pragma once

#include "vector.hpp"

namespace {

struct SinCos {
    Vector sin, cos;
};

// To about a unit in the last place. Numbers that are no angles of anything (beyond some thousand turns) are left to
// the C library, one by one.
inline SinCos sin_cos(Vector x) {
    // Whole quarter turns are taken off by three parts of pi / 2, of which products with their number are exact but for
    // the last; adding and taking away 1.5 * 2^23 rounds to the nearest whole number.
    constexpr float QUARTERS = 0.636619772f, WHOLE = 12582912.0f, LARGEST = 8192.0f;
    constexpr float HIGH = 1.5703125f, MIDDLE = 0.000483751297f, LOW = 7.54979013e-8f;
    const Vector turns = (x * QUARTERS + WHOLE) - WHOLE;
    const Vector r = ((x - turns * HIGH) - turns * MIDDLE) - turns * LOW;
    const Vector square = r * r;
    // Polynomials of least relative error up to an eighth of a turn.
    const Vector s = r + r * square * (-0.166666545f + square * (0.00833215605f + square * -0.000195146315f));
    const Vector c =
        1.0f - 0.5f * square +
        square * square * (0.0416666456f + square * (-0.00138873099f + square * 0.0000244324126f));
    const Mask quarter = truncated(turns), odd = -(quarter & 1);
    const Vector sin = choose(odd, c, s), cos = choose(odd, s, c);
    SinCos result = {choose((quarter & 2) != 0, -sin, sin), choose(((quarter + 1) & 2) != 0, -cos, cos)};
    const Mask large = magnitude(x) > LARGEST;
    if (any(large)) {
        for (int i = 0; i < LANES; ++i) {
            if (!large[i]) continue;
            result.sin[i] = __builtin_sinf(x[i]);
            result.cos[i] = __builtin_cosf(x[i]);
        }
    }
    return result;
}

}  // namespace
