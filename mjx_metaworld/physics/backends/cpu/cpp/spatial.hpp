// Vectors and matrices of space for LANES environments or pairs, as spatial.py has them.
#pragma once

#include "vector.hpp"

namespace {

struct Vec3 {
    Vector v[3];

    Vector& operator[](int i) { return v[i]; }
    const Vector& operator[](int i) const { return v[i]; }
};

struct Mat3 {
    Vec3 row[3];

    Vec3& operator[](int i) { return row[i]; }
    const Vec3& operator[](int i) const { return row[i]; }
};

inline Vec3 operator+(const Vec3& a, const Vec3& b) { return {a[0] + b[0], a[1] + b[1], a[2] + b[2]}; }
inline Vec3 operator-(const Vec3& a, const Vec3& b) { return {a[0] - b[0], a[1] - b[1], a[2] - b[2]}; }
inline Vec3 operator-(const Vec3& a) { return {-a[0], -a[1], -a[2]}; }
inline Vec3 operator*(const Vec3& a, Vector s) { return {a[0] * s, a[1] * s, a[2] * s}; }
inline Vec3 operator*(Vector s, const Vec3& a) { return a * s; }
inline Vec3 operator*(const Vec3& a, const Vec3& b) { return {a[0] * b[0], a[1] * b[1], a[2] * b[2]}; }

inline Vec3 choose(Mask which, const Vec3& a, const Vec3& b) {
    return {choose(which, a[0], b[0]), choose(which, a[1], b[1]), choose(which, a[2], b[2])};
}
inline Mat3 choose(Mask which, const Mat3& a, const Mat3& b) {
    return {choose(which, a[0], b[0]), choose(which, a[1], b[1]), choose(which, a[2], b[2])};
}
inline Vec3 magnitude(const Vec3& a) { return {magnitude(a[0]), magnitude(a[1]), magnitude(a[2])}; }
inline Vec3 clip(const Vec3& x, const Vec3& low, const Vec3& high) {
    return {clip(x[0], low[0], high[0]), clip(x[1], low[1], high[1]), clip(x[2], low[2], high[2])};
}

inline Vector dot(const Vec3& a, const Vec3& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
inline Vec3 cross(const Vec3& a, const Vec3& b) {
    return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}
inline Vector norm(const Vec3& a) { return root(dot(a, a)); }
inline Vec3 normalize(const Vec3& a) { return a * (1.0f / maximum(norm(a), all(1e-15f))); }

inline Mat3 transpose(const Mat3& m) {
    return {{{m[0][0], m[1][0], m[2][0]}, {m[0][1], m[1][1], m[2][1]}, {m[0][2], m[1][2], m[2][2]}}};
}
inline Mat3 magnitude(const Mat3& m) { return {magnitude(m[0]), magnitude(m[1]), magnitude(m[2])}; }
inline Vec3 column(const Mat3& m, int i) { return {m[0][i], m[1][i], m[2][i]}; }
// mat @ v
inline Vec3 rotate(const Mat3& m, const Vec3& v) { return {dot(m[0], v), dot(m[1], v), dot(m[2], v)}; }
// mat.T @ v
inline Vec3 rotate_back(const Mat3& m, const Vec3& v) { return m[0] * v[0] + m[1] * v[1] + m[2] * v[2]; }
// a @ b
inline Mat3 matmul(const Mat3& a, const Mat3& b) {
    return {rotate_back(b, a[0]), rotate_back(b, a[1]), rotate_back(b, a[2])};
}
// a.T @ b
inline Mat3 matmul_tn(const Mat3& a, const Mat3& b) { return matmul(transpose(a), b); }

// values[axis]
inline Vector pick(const Vec3& values, Mask axis) {
    return choose(axis == 0, values[0], choose(axis == 1, values[1], values[2]));
}
inline Vec3 pick(const Mat3& values, Mask axis) {
    return choose(axis == 0, values[0], choose(axis == 1, values[1], values[2]));
}

}  // namespace
