/* Dropout drawn inside a kernel: `keep` says whether to keep element number `place`, without a mask in memory.

   It reads `mask`, or hashes a seed and the place (splitmix64 of Steele et al. 2014, doi:10.1145/2660193.2660195), which
   any thread can repeat, in any order.  As in minixl/ops/dropout.py, 16 random bits per element. */
#pragma once

#define LEVELS 65536u

// use_mask: read mask[place].  Otherwise drop `dropped` of 65536 random values; 0: keep everything.
static __device__ __forceinline__ bool keep(const bool* mask, const long long* seed, int use_mask, int dropped, size_t place) {
    if (use_mask) return mask[place];
    if (!dropped) return true;
    unsigned long long z = (unsigned long long)seed[0] + place * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return ((z ^ (z >> 31)) & (LEVELS - 1)) >= (unsigned)dropped;
}
