"""The shim itself: it must report each mistake, planted in a kernel of three lines, that a GPU does not report."""
import numpy as np
import pytest

from tests.kernels.host import HostKernel, KernelFault, signatures

HEAD = 'extern "C" __global__ void kernel(const int* __restrict__ x, int* __restrict__ y, int n) {\n'


def run(body, threads=64, blocks=1, n=64, shared_mem=0):
    """Run the body as a kernel with x (n,) = 0, 1, 2, ... and y (n,) = 0; return y."""
    x, y = np.arange(n, dtype=np.int32), np.zeros(n, np.int32)
    HostKernel("kernel.cu", "kernel", HEAD + body + "\n}")((blocks,), (threads,), (x, y, np.int32(n)), shared_mem=shared_mem)
    return y


REVERSE = "__shared__ int s[64]; s[threadIdx.x] = x[threadIdx.x]; {barrier} y[threadIdx.x] = s[63 - threadIdx.x];"


def test_static_shared_memory():
    np.testing.assert_array_equal(run(REVERSE.format(barrier="__syncthreads();")), np.arange(64)[::-1])


def test_dynamic_shared_memory():
    body = REVERSE.format(barrier="__syncthreads();").replace("__shared__ int s[64];", "extern __shared__ int s[];")
    np.testing.assert_array_equal(run(body, shared_mem=256), np.arange(64)[::-1])
    with pytest.raises(KernelFault, match="out of bounds: .* dynamic shared memory|out of bounds: .* no array"):
        run(body, shared_mem=252)
    with pytest.raises(KernelFault, match="launch: 49156 bytes of dynamic shared memory, 49152 are possible"):
        run(body, shared_mem=49156)


def test_indices_of_blocks_and_threads():
    body = "const int e = blockIdx.x * blockDim.x + threadIdx.x; y[e] = x[e] + 1000 * gridDim.x;"
    np.testing.assert_array_equal(run(body, threads=16, blocks=4), np.arange(64) + 4000)


@pytest.mark.parametrize("call, expected", [
    ("__shfl_xor_sync(0xffffffffu, v, 1)", lambda t: t ^ 1),
    ("__shfl_down_sync(0xffffffffu, v, 2)", lambda t: np.where(t % 32 < 30, t + 2, t)),
    ("__shfl_up_sync(0xffffffffu, v, 3)", lambda t: np.where(t % 32 < 3, t, t - 3)),
    ("__shfl_sync(0xffffffffu, v, 5)", lambda t: t // 32 * 32 + 5),
    ("(int)__ballot_sync(0xffffffffu, v % 32 < 4)", lambda t: 0 * t + 15),
    ("__any_sync(0xffffffffu, v == 40)", lambda t: t // 32),
    ("__all_sync(0xffffffffu, v >= 32)", lambda t: t // 32),
])
def test_warp_operations(call, expected):
    y = run(f"const int v = x[threadIdx.x]; y[threadIdx.x] = {call};")
    np.testing.assert_array_equal(y, expected(np.arange(64)))


def test_atomics():
    assert run("atomicAdd(y, x[threadIdx.x]); atomicMax(y + 1, x[threadIdx.x]);")[:2].tolist() == [63 * 32, 63]


@pytest.mark.parametrize("body, message", [
    (REVERSE.format(barrier=""), "race|uninitialised"),
    ("y[0] = x[threadIdx.x];", "race: .* writes byte 0 of y"),
    ("y[threadIdx.x] = x[threadIdx.x]; y[threadIdx.x ^ 1] += 1;", "race: .* of y"),
    ("if (threadIdx.x < 32) __syncthreads();", "divergence: 32 threads have ended, 32 wait for ever: thread 0 at kernel.cu:2"),
    ("if (threadIdx.x == 7) return; __syncthreads();", "divergence: 1 threads have ended, 63 wait"),
    ("if (threadIdx.x < 32) __syncthreads();\nelse __syncthreads();",
     "divergence: 0 threads have ended, 64 wait .* kernel.cu:2, thread 32 at kernel.cu:3"),
    ("if (threadIdx.x % 32 < 16) y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 1);", "divergence: 32 threads have ended"),
    ("if (threadIdx.x < 8) y[threadIdx.x] = __shfl_sync(0xffu, 1, 9);", "divergence: .* asks lane 9, which takes no part"),
    ("__shared__ int s[64]; s[threadIdx.x & ~1] = 1 + 0 * threadIdx.x % 2;", "race: .* writes .* shared memory"),
    ("__shared__ int s[64]; if (threadIdx.x) s[threadIdx.x] = 1; __syncthreads(); y[threadIdx.x] = s[threadIdx.x];",
     r"uninitialised: block \(0,0,0\) thread \(0,0,0\) reads byte 0 of shared memory"),
    ("y[threadIdx.x + 1] = 1;", "out of bounds: .* writes memory that belongs to no array"),
    ("y[threadIdx.x] = x[(int)threadIdx.x - 1];", "out of bounds: .* reads memory that belongs to no array"),
    ("const_cast<int*>(x)[threadIdx.x] = 1;", "write to the read-only array x"),
    ("__shared__ int s[32]; s[threadIdx.x] = 1;", "array index out of bounds at kernel.cu:2"),
    ("y[threadIdx.x] = 0x7fffffff + x[threadIdx.x] * n;", "integer overflow at kernel.cu:2"),
    ("y[threadIdx.x] = n / x[threadIdx.x];", "integer division by zero at kernel.cu:2"),
    ("y[threadIdx.x] = 1 << (n + x[threadIdx.x]);", "shift by too much at kernel.cu:2"),
])
def test_mistakes_are_named(body, message):
    with pytest.raises(KernelFault, match=message):
        run(body)


def test_blocks_that_write_the_same_element():
    with pytest.raises(KernelFault, match="race: block .1,0,0. thread .0,0,0. writes byte 0 of y"):
        run("y[threadIdx.x] = blockIdx.x;", threads=32, blocks=2)


def test_a_warp_barrier_orders_the_warp_but_not_the_block():
    body = "__shared__ int s[64]; s[threadIdx.x] = x[threadIdx.x]; __syncwarp(); y[threadIdx.x] = s[threadIdx.x ^ {other}];"
    np.testing.assert_array_equal(run(body.format(other=1)), np.arange(64) ^ 1)
    with pytest.raises(KernelFault, match="race|uninitialised"):
        run(body.format(other=32))


@pytest.mark.parametrize("threads, blocks, message", [(1056, 1, "a block of 1056 threads"), (32, 0, r"grid \(0,1,1\)")])
def test_impossible_launches(threads, blocks, message):
    with pytest.raises(KernelFault, match=message):
        run("y[0] = 1;", threads=threads, blocks=blocks)


@pytest.mark.parametrize("args, message", [
    ((np.zeros(4), np.zeros(4, np.int32), np.int32(4)), "x: expected a contiguous int32 array, got float64"),
    ((np.zeros(4, np.int32), np.zeros(8, np.int32)[::2], np.int32(4)), "y: expected a contiguous int32"),
    ((np.zeros(4, np.int32), np.zeros(4, np.int32), 4), "n: expected int32, got <class 'int'>"),
    ((np.zeros(4, np.int32), np.zeros(4, np.int32)), "expected 3 arguments, got 2"),
])
def test_arguments_of_the_wrong_type(args, message):
    with pytest.raises(KernelFault, match=message):
        HostKernel("kernel.cu", "kernel", HEAD + "}")((1,), (32,), args)


def test_an_array_passed_twice():
    x = np.zeros(4, np.int32)
    with pytest.raises(KernelFault, match="x and y overlap"):
        HostKernel("kernel.cu", "kernel", HEAD + "}")((1,), (32,), (x, x, np.int32(4)))


def test_signatures():
    source = 'extern "C" __global__ void __launch_bounds__(256)\nk(const float* __restrict__ a, // why\n  long long n) {}'
    (a, n), = signatures(source).values()
    assert (a.name, a.dtype, a.pointer, a.const) == ("a", np.float32, True, True)
    assert (n.name, n.dtype, n.pointer, n.const) == ("n", np.int64, False, False)
    with pytest.raises(ValueError, match="kernel parameter: expected .* got 'short n'"):
        signatures('extern "C" __global__ void k(short n) {}')
