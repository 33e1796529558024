// Quaternions (w, x, y, z) of LANES environments, as spatial.py has them.
#pragma once

#include "spatial.hpp"

namespace {

struct Quat {
    Vector v[4];

    Vector& operator[](int i) { return v[i]; }
    const Vector& operator[](int i) const { return v[i]; }
};

// Hamilton product; the second factor may be of plain numbers.
template <class Other>
Quat multiply(const Quat& a, const Other& b) {
    return {a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
            a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
            a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
            a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0]};
}

inline Mat3 from_quat(const Quat& q) {
    const Vector w = q[0], x = q[1], y = q[2], z = q[3];
    const Vector diagonal = w * w - (x * x + y * y + z * z);
    const Vector xy = x * y, xz = x * z, yz = y * z, wx = w * x, wy = w * y, wz = w * z;
    return {{{diagonal + 2.0f * (x * x), 2.0f * (xy - wz), 2.0f * (xz + wy)},
             {2.0f * (xy + wz), diagonal + 2.0f * (y * y), 2.0f * (yz - wx)},
             {2.0f * (xz - wy), 2.0f * (yz + wx), diagonal + 2.0f * (z * z)}}};
}

inline Vector length(const Quat& q) { return root(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]); }

inline Quat normalize_or_identity(const Quat& q) {
    constexpr float MIN_NORM = 1e-15f;
    const Vector norm = length(q), divisor = maximum(norm, all(MIN_NORM));
    const Mask none = norm < MIN_NORM;
    return {choose(none, all(1.0f), q[0] / divisor), choose(none, Vector{}, q[1] / divisor),
            choose(none, Vector{}, q[2] / divisor), choose(none, Vector{}, q[3] / divisor)};
}

}  // namespace
