// The smallest kernel: tells whether kernels can be compiled and run at all. Given at compile time:
// LANES (environments), of which a block has THREADS.

extern "C" __global__ void probe(const float* __restrict__ x, float* __restrict__ result) {
    const int lane = blockIdx.x * THREADS + threadIdx.x;
    if (lane < LANES) result[lane] = x[lane] + 1.0f;
}
