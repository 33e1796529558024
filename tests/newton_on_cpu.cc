// Runs newton.cu on a CPU, for tests: a block at a time, its threads as threads of the machine, which meet at barriers.
//
// Compiled with the macros that the kernel wants, and SOURCE, its path in quotes.

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
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
    int x;
};
static thread_local Index threadIdx;
static Index blockIdx;

static constexpr int kThreads = 128;
static std::barrier<> meeting(kThreads);
static std::atomic<int> votes;

static void __syncthreads() { meeting.arrive_and_wait(); }

static bool __syncthreads_or(bool vote) {
    meeting.arrive_and_wait();  // all have read the last count
    if (threadIdx.x == 0) votes = 0;
    meeting.arrive_and_wait();
    votes += vote;
    meeting.arrive_and_wait();
    return votes > 0;
}

static float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

#include SOURCE

extern "C" void run(const float* smooth_hessian, const float* smooth_force, const float* limit_jac,
                    const float* limit_aref, const float* limit_d, const float* contact_d, const float* contact_mu,
                    const float* contact_aref, const float* contact_jac, const int* num_contacts,
                    const float* warmstart, float* qacc, float* force, int* count) {
    for (int block = 0; block * 32 < LANES; ++block) {
        blockIdx.x = block;
        std::vector<std::thread> threads;
        for (int i = 0; i < kThreads; ++i)
            threads.emplace_back([=] {
                threadIdx.x = i;
                newton(smooth_hessian, smooth_force, limit_jac, limit_aref, limit_d, contact_d, contact_mu,
                       contact_aref, contact_jac, num_contacts, warmstart, qacc, force, count);
            });
        for (auto& thread : threads) thread.join();
    }
}
