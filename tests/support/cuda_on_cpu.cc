// Runs a kernel in CUDA C on a CPU, for tests: a block at a time, its threads as coroutines that take turns at barriers.
// (As threads of the machine they would spend a hundred times as long on waking each other.)
//
// Compiled with the macros that the kernel wants, KERNEL, its name, and SOURCE, its path in quotes.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include <ucontext.h>

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
static Index threadIdx, blockIdx;

// A thread of the block that is running.
struct Coroutine {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool ended;
};
static constexpr std::size_t kStack = 256 * 1024;
static std::vector<Coroutine> threads;
static ucontext_t block;  // where a thread that ends goes on, if no other is left

// Goes on with the next thread that has not ended; comes back when it is this one's turn again.
static void give_way() {
    const int own = threadIdx.x, count = threads.size();
    int next = (own + 1) % count;
    while (threads[next].ended && next != own) next = (next + 1) % count;
    if (next != own) {
        threadIdx.x = next;
        swapcontext(&threads[own].context, &threads[next].context);
        threadIdx.x = own;
    }
}

struct Barrier {
    int size, arrived, round;

    void wait() {
        const int now = round;
        if (++arrived == size) {
            arrived = 0;
            ++round;
        }
        while (round == now) give_way();
    }
};
static Barrier meeting;
static int votes;

[[maybe_unused]] static void __syncthreads() { meeting.wait(); }

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
static Barrier warps[kWarps];
static float handed[kWarps][32];

[[maybe_unused]] static float __shfl_sync(unsigned, float value, int from) {
    const int warp = threadIdx.x / 32;
    handed[warp][threadIdx.x % 32] = value;
    warps[warp].wait();
    value = handed[warp][from];
    warps[warp].wait();
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

static void** operands;

static void begin() {
    call(KERNEL, operands);
    threads[threadIdx.x].ended = true;
    for (std::size_t next = 0; next < threads.size(); ++next)
        if (!threads[next].ended) {
            threadIdx.x = next;
            setcontext(&threads[next].context);
        }
    setcontext(&block);
}

static void run_block(int count) {
    meeting = {count, 0, 0};
    for (auto& warp : warps) warp = {32, 0, 0};
    for (auto& thread : threads) {
        thread.ended = false;
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = thread.stack.get();
        thread.context.uc_stack.ss_size = kStack;
        thread.context.uc_link = nullptr;
        makecontext(&thread.context, begin, 0);
    }
    threadIdx.x = 0;
    swapcontext(&block, &threads[0].context);
}

extern "C" void run(void** arrays, int columns, int rows, int count) {
    operands = arrays;
    threads = std::vector<Coroutine>(count);
    for (auto& thread : threads) thread.stack.reset(new char[kStack]);
    for (blockIdx.y = 0; blockIdx.y < rows; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < columns; ++blockIdx.x) run_block(count);
    threads.clear();
}
