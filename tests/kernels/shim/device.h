/* The names of the CUDA language, defined in C++, so that g++ compiles a kernel for a CPU.

   The compiler instruments the kernel's loads and stores (-fsanitize=thread adds a call of __tsan_readN/writeN before each)
   and its arithmetic (-fsanitize=undefined); runtime.h defines the functions that this calls, and everything else in shim::,
   and is compiled without instrumentation.  Threads of a block are fibers that run in turn: see runtime.h. */
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <algorithm>

namespace shim {
struct Index { unsigned x, y, z; };
extern "C" {
Index shim_thread_idx();                                     // by value, so that reading an index is not a memory access
Index shim_block_idx();
Index shim_block_dim();
Index shim_grid_dim();
void* shim_dynamic_shared();
void shim_block_barrier(const char* file, int line);         // returns when every thread of the block has called it
void shim_warp_barrier(unsigned lanes, const char* file, int line);
uint64_t shim_warp_exchange(unsigned lanes, uint64_t value, int lane, const char* file, int line);
unsigned shim_warp_ballot(unsigned lanes, bool vote, const char* file, int line);
float shim_atomic_add_float(float* address, float value);
int shim_atomic_add_int(int* address, int value);
int shim_atomic_max_int(int* address, int value);
void shim_launch(Index grid, Index block, size_t shared_bytes, void (*body)(void*), void* arguments);
}
template <class T> inline uint64_t bits(T value) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "warp shuffles move 4 or 8 bytes");
    uint64_t raw = 0;
    __builtin_memcpy(&raw, &value, sizeof(T));
    return raw;
}
template <class T> inline T unbits(uint64_t raw) {
    T value;
    __builtin_memcpy(&value, &raw, sizeof(T));
    return value;
}
struct WarpBarrier {
    const char* file;
    int line;
    void operator()(unsigned lanes = 0xffffffffu) const { shim_warp_barrier(lanes, file, line); }
};
inline int lane() {
    const Index t = shim_thread_idx(), b = shim_block_dim();
    return (t.x + b.x * (t.y + b.y * t.z)) % 32;
}
template <class T> inline T shuffle(unsigned lanes, T value, int from, int width, const char* file, int line) {
    const bool inside = from / width == lane() / width && from >= 0;    // outside its group, a lane keeps its own value
    return unbits<T>(shim_warp_exchange(lanes, bits(value), inside ? from : lane(), file, line));
}
}  // namespace shim

#define __global__ __attribute__((noinline))
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __constant__ static
#define __shared__ static __attribute__((section("cuda_shared")))
#define __align__(n) alignas(n)

#define threadIdx (shim::shim_thread_idx())
#define blockIdx (shim::shim_block_idx())
#define blockDim (shim::shim_block_dim())
#define gridDim (shim::shim_grid_dim())
constexpr int warpSize = 32;

#define __syncthreads() shim::shim_block_barrier(__FILE__, __LINE__)
#define __syncwarp(...) shim::WarpBarrier{__FILE__, __LINE__}(__VA_ARGS__)
#define __shfl_sync(lanes, value, from) \
    shim::shuffle(lanes, value, (from) % 32, 32, __FILE__, __LINE__)
#define __shfl_xor_sync(lanes, value, mask) \
    shim::shuffle(lanes, value, shim::lane() ^ (mask), 32, __FILE__, __LINE__)
#define __shfl_down_sync(lanes, value, delta) \
    shim::shuffle(lanes, value, shim::lane() + (int)(delta), 32, __FILE__, __LINE__)
#define __shfl_up_sync(lanes, value, delta) \
    shim::shuffle(lanes, value, shim::lane() - (int)(delta), 32, __FILE__, __LINE__)
#define __ballot_sync(lanes, vote) shim::shim_warp_ballot(lanes, vote, __FILE__, __LINE__)
#define __any_sync(lanes, vote) (shim::shim_warp_ballot(lanes, vote, __FILE__, __LINE__) != 0)
#define __all_sync(lanes, vote) (shim::shim_warp_ballot(lanes, !(vote), __FILE__, __LINE__) == 0)

inline float atomicAdd(float* address, float value) { return shim::shim_atomic_add_float(address, value); }
inline int atomicAdd(int* address, int value) { return shim::shim_atomic_add_int(address, value); }
inline int atomicMax(int* address, int value) { return shim::shim_atomic_max_int(address, value); }

struct alignas(16) float4 { float x, y, z, w; };
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __int_as_float(int x) { return shim::unbits<float>(shim::bits(x)); }
inline int __float_as_int(float x) { return (int)shim::bits(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((uint64_t)a * b) >> 32); }
template <class T> inline T __ldg(const T* address) { return *address; }
using std::max;
using std::min;
