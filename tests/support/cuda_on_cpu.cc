// Runs a kernel in CUDA C on a CPU, for tests: a block at a time, its threads as threads that meet at barriers.
//
// Compiled with the macros that the kernel wants, KERNEL, its name, and SOURCE, its path in quotes.

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

using std::isinf;
using std::max;
using std::min;

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__
#define __shared__ static

struct Index {
    int x, y;
};
static thread_local Index threadIdx;
static Index blockIdx;

static std::unique_ptr<std::barrier<>> meeting;
static std::atomic<int> votes;

[[maybe_unused]] static void __syncthreads() { meeting->arrive_and_wait(); }

[[maybe_unused]] static bool __syncthreads_or(bool vote) {
    __syncthreads();  // all have read the last count
    if (threadIdx.x == 0) votes = 0;
    __syncthreads();
    votes += vote;
    __syncthreads();
    return votes > 0;
}

// What the threads of a warp hand to each other.
static constexpr int kWarps = 32;
static std::unique_ptr<std::barrier<>> warps[kWarps];
static float handed[kWarps][32];

[[maybe_unused]] static float __shfl_sync(unsigned, float value, int from) {
    const int warp = threadIdx.x / 32;
    handed[warp][threadIdx.x % 32] = value;
    warps[warp]->arrive_and_wait();
    value = handed[warp][from];
    warps[warp]->arrive_and_wait();
    return value;
}

[[maybe_unused]] static float __shfl_xor_sync(unsigned all, float value, int distance) {
    return __shfl_sync(all, value, threadIdx.x % 32 ^ distance);
}

template <class To, class From>
static To same_bits(From from) {
    To to;
    static_assert(sizeof to == sizeof from);
    std::memcpy(&to, &from, sizeof to);
    return to;
}

[[maybe_unused]] static float __int_as_float(int bits) { return same_bits<float>(bits); }
[[maybe_unused]] static int __float_as_int(float value) { return same_bits<int>(value); }
[[maybe_unused]] static float __fmul_rn(float a, float b) { return a * b; }
[[maybe_unused]] static float __fsub_rn(float a, float b) { return a - b; }

#include SOURCE

template <class... Args, std::size_t... i>
static void call(void (*kernel)(Args...), void** arrays, std::index_sequence<i...>) {
    kernel(static_cast<Args>(arrays[i])...);
}

template <class... Args>
static void call(void (*kernel)(Args...), void** arrays) {
    call(kernel, arrays, std::index_sequence_for<Args...>());
}

extern "C" void run(void** arrays, int columns, int rows, int count) {
    for (blockIdx.y = 0; blockIdx.y < rows; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < columns; ++blockIdx.x) {
            meeting = std::make_unique<std::barrier<>>(count);
            for (int i = 0; i < count / 32; ++i) warps[i] = std::make_unique<std::barrier<>>(32);
            std::vector<std::thread> threads;
            for (int i = 0; i < count; ++i)
                threads.emplace_back([=] {
                    threadIdx.x = i;
                    call(KERNEL, arrays);
                });
            for (auto& thread : threads) thread.join();
        }
}
