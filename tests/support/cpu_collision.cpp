// The narrow phase's routines on arrays, for tests: shapes (18, n) as `collider_table` has them, in the world.
#include "box.hpp"
#include "capsule.hpp"
#include "convex.hpp"
#include "cylinder_box.hpp"
#include "plane.hpp"
#include "shapes.hpp"
#include "sphere.hpp"

namespace {

Vector load(const float* row, int first, int count) {
    Vector x;
    for (int i = 0; i < LANES; ++i) x[i] = row[std::min(first + i, count - 1)];
    return x;
}

Shape shape(const float* columns, int first, int count) {
    const auto at = [&](int column) { return load(columns + column * count, first, count); };
    Shape s;
    s.type = truncated(at(1));
    s.hull = truncated(at(2));
    for (int i = 0; i < 3; ++i) {
        s.pos[i] = at(3 + i);
        s.size[i] = at(15 + i);
        for (int j = 0; j < 3; ++j) s.mat[i][j] = at(6 + 3 * i + j);
    }
    return s;
}

template <int N, int NORMALS>
void store(const Points<N, NORMALS>& points, int first, int count, float* dist, float* pos, float* normal) {
    for (int lane = 0; lane < std::min(LANES, count - first); ++lane) {
        const int at = first + lane;
        for (int n = 0; n < N; ++n) {
            dist[n * count + at] = points.dist[n][lane];
            for (int i = 0; i < 3; ++i) pos[(i * N + n) * count + at] = points.pos[n][i][lane];
        }
        for (int n = 0; n < NORMALS; ++n)
            for (int i = 0; i < 3; ++i) normal[(i * NORMALS + n) * count + at] = points.normal[n][i][lane];
    }
}

// Whatever is made of vectors, from or to columns (n, count).
template <class Values>
void load_all(Values& values, const float* columns, int first, int count) {
    for (std::size_t i = 0; i < sizeof(Values) / sizeof(Vector); ++i) {
        const Vector x = load(columns + i * count, first, count);
        std::memcpy(reinterpret_cast<char*>(&values) + i * sizeof(Vector), &x, sizeof x);
    }
}

template <class Values>
void store_all(const Values& values, int first, int count, float* columns) {
    for (std::size_t i = 0; i < sizeof(Values) / sizeof(Vector); ++i) {
        Vector x;
        std::memcpy(&x, reinterpret_cast<const char*>(&values) + i * sizeof(Vector), sizeof x);
        for (int lane = 0; lane < std::min(LANES, count - first); ++lane) columns[i * count + first + lane] = x[lane];
    }
}

}  // namespace

extern "C" void spheres(int count, const float* shape1, const float* shape2, const float*, float* dist, float* pos,
                        float* normal) {
    for (int first = 0; first < count; first += LANES)
        store(collide_spheres(shape(shape1, first, count), shape(shape2, first, count)), first, count, dist, pos,
              normal);
}

extern "C" void capsules(int count, const float* shape1, const float* shape2, const float*, float* dist, float* pos,
                         float* normal) {
    for (int first = 0; first < count; first += LANES)
        store(collide_capsules(shape(shape1, first, count), shape(shape2, first, count)), first, count, dist, pos,
              normal);
}

// The vertices of meshes stand in the place of their sizes.
extern "C" void planes(int count, const float* shape1, const float* shape2, const float*, float* dist, float* pos,
                       float* normal) {
    for (int first = 0; first < count; first += LANES) {
        const Shape other = shape(shape2, first, count);
        store(collide_planes(shape(shape1, first, count), other, other.size), first, count, dist, pos, normal);
    }
}

// (3, n) the direction of these vertices.
extern "C" void downward(int count, const float* shape1, const float* shape2, float* down) {
    for (int first = 0; first < count; first += LANES) {
        const Vec3 found = downwards(shape(shape1, first, count), shape(shape2, first, count));
        for (int lane = 0; lane < std::min(LANES, count - first); ++lane)
            for (int i = 0; i < 3; ++i) down[i * count + first + lane] = found[i][lane];
    }
}

extern "C" void boxes(int count, const float* shape1, const float* shape2, const float* margin, float* dist, float* pos,
                      float* normal) {
    for (int first = 0; first < count; first += LANES)
        store(collide_boxes(shape(shape1, first, count), shape(shape2, first, count), load(margin, first, count)),
              first, count, dist, pos, normal);
}

extern "C" void cylinder_boxes(int count, const float* cylinder, const float* box, const float* margin, float* dist,
                               float* pos, float* normal) {
    for (int first = 0; first < count; first += LANES)
        store(collide_cylinder_boxes(shape(cylinder, first, count), shape(box, first, count),
                                     load(margin, first, count)),
              first, count, dist, pos, normal);
}

extern "C" void convex_starts(int count, const float* shape1, const float* shape2, const HullTable* hulls,
                              int iterations, float* start) {
    for (int first = 0; first < count; first += LANES)
        store_all(find_start(shape(shape1, first, count), shape(shape2, first, count), *hulls, iterations), first,
                  count, start);
}

extern "C" void convex_contacts(int count, const float* shape1, const float* shape2, const HullTable* hulls,
                                const float* margin, const float* start, int iterations, float* next, float* dist,
                                float* pos, float* normal) {
    for (int first = 0; first < count; first += LANES) {
        Start from, to;
        load_all(from, start, first, count);
        store(collide_convex(shape(shape1, first, count), shape(shape2, first, count), *hulls,
                             load(margin, first, count), from, iterations, to),
              first, count, dist, pos, normal);
        store_all(to, first, count, next);
    }
}
