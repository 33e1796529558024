// Consecutive lanes of arrays as vectors.
#pragma once

#include "vector.hpp"

namespace {

// Values of the lanes at hand in an array whose last axis is `width` long. Lanes beyond its end repeat the last one.
template <bool WHOLE>
struct Place {
    std::int64_t width, first;
    int count;  // of lanes at hand

    Vector load(const float* array, std::int64_t index) const {
        const float* from = array + index * width + first;
        Vector x;
        if (WHOLE) {
            std::memcpy(&x, from, sizeof x);
        } else {
            for (int i = 0; i < LANES; ++i) x[i] = from[std::min(i, count - 1)];
        }
        return x;
    }
    Mask load(const std::int32_t* array, std::int64_t index) const {
        Mask x;
        for (int i = 0; i < LANES; ++i) x[i] = array[index * width + first + std::min(i, count - 1)];
        return x;
    }
    template <class Array, class Values>
    void store(Array* array, std::int64_t index, Values x) const {
        for (int i = 0; i < (WHOLE ? LANES : count); ++i) array[index * width + first + i] = x[i];
    }
};

// Calls `work(place)` for all lanes, LANES at a time.
template <class Work>
void for_lanes(std::int64_t width, const Work& work) {
    for (std::int64_t first = 0; first < width; first += LANES) {
        const int count = static_cast<int>(std::min<std::int64_t>(LANES, width - first));
        if (count == LANES) {
            work(Place<true>{width, first, count});
        } else {
            work(Place<false>{width, first, count});
        }
    }
}

}  // namespace
