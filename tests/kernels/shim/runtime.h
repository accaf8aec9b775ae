/* Run a kernel's threads on a CPU and check what they do.  Compiled once, without instrumentation.

   Scheduling.  Blocks run one after another.  The threads of a block are fibers on one OS thread (fiber.h): each runs until
   it ends or waits.  When all wait, complete groups continue: at a block barrier when every thread of the block waits at
   the same line, at a warp operation when every lane that it names waits at the same line with the same mask.  If no thread
   can continue, a GPU would hang or behave in an undefined way, and the launch fails with the lines where the threads wait.

   Memory.  Every load and store of the kernel calls __tsan_readN / __tsan_writeN, which looks the address up in the table of
   regions: the arrays passed as arguments, static and dynamic shared memory, the fiber's own stack, constants.  The launch
   fails at any other address, a write to a const array, or a read of shared memory that this block never wrote.

   Races.  Each byte records which threads last wrote and read it, and in which phase: a block barrier begins a new
   phase of the block, a warp barrier one of the warp.  Two accesses of different threads, one of them a write, in the same
   phase (or by different blocks) are a race, in whatever order the fibers ran.  Atomics do not count. */
#pragma once
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>
#include <sys/mman.h>
#include "fiber.h"

namespace shim {
struct Index { unsigned x, y, z; };

struct Access { int thread = -1, block = -1; unsigned phase = 0, warp_phase = 0; };
struct Shadow {                      // one byte of memory
    Access write, read;
    bool other_lanes = false;        // read by several lanes of one warp in this warp phase
    bool other_warps = false;        // read by several warps in this phase
};
struct Region {
    char* begin;
    size_t bytes;
    bool writable, shared;           // shared: must be written by this block before it is read
    const char* name;
    std::vector<Shadow> shadow;
    bool holds(const char* p) const { return p >= begin && p < begin + bytes; }
};
enum State { RUNS, BLOCK_BARRIER, WARP, ENDED };
struct Fiber {
    Context context;
    Index index;
    State state;
    unsigned lanes;                  // of the warp operation it waits for
    const char* file;
    int line;
    uint64_t value;                  // its value for the other lanes, then the result
    int from;                        // the lane whose value it reads; VOTE or PHASE
};
constexpr size_t STACK = 64 << 10;
constexpr int VOTE = -1, PHASE = -2;     // Fiber::from: every lane gets all votes; PHASE also orders memory

struct Machine {
    std::vector<Region> regions;
    std::vector<Fiber> fibers;
    std::vector<unsigned> warp_phase;
    std::vector<char> dynamic;
    char* stacks = nullptr;
    Context scheduler;
    Fiber* current = nullptr;
    Index grid, block, block_index;
    int block_number = 0;
    unsigned phase = 0;
    void (*body)(void*) = nullptr;
    void* arguments = nullptr;
    char message[600];
    bool failed = false;
};
inline Machine& machine() { static Machine m; return m; }
inline int self() { return (int)(machine().current - machine().fibers.data()); }

inline void fail(const char* format, ...) {              // keep the first mistake; end this fiber and all others
    Machine& m = machine();
    if (!m.failed) {
        va_list values;
        va_start(values, format);
        vsnprintf(m.message, sizeof m.message, format, values);
        va_end(values);
        m.failed = true;
    }
    if (!m.current) return;
    m.current->state = ENDED;
    change(m.current->context, m.scheduler);
}

inline void where(char* text, size_t size) {
    const Index b = machine().block_index, t = machine().current->index;
    snprintf(text, size, "block (%u,%u,%u) thread (%u,%u,%u)", b.x, b.y, b.z, t.x, t.y, t.z);
}

// ---------------------------------------------------------------------------------------------------- memory

inline bool ordered(const Access& earlier, const Access& now) {      // is there a barrier between the two?
    if (earlier.thread < 0 || (earlier.block == now.block && earlier.thread == now.thread)) return true;
    if (earlier.block != now.block) return false;
    if (earlier.phase != now.phase) return true;
    return earlier.thread / 32 == now.thread / 32 && earlier.warp_phase != now.warp_phase;
}

inline bool race(Shadow& s, const Access& now, bool write) {
    if (!ordered(s.write, now)) return true;
    const bool recent = s.read.thread >= 0 && (s.read.block != now.block || s.read.phase == now.phase);
    if (write) {
        if (recent && (s.other_warps || !ordered(s.read, now))) return true;
        if (recent && s.other_lanes && s.read.warp_phase == now.warp_phase) return true;
        s.write = now;
        return false;
    }
    if (!recent) s.other_lanes = s.other_warps = false;
    else if (s.read.block != now.block || s.read.thread / 32 != now.thread / 32) s.other_warps = true;
    else if (s.read.warp_phase == now.warp_phase) s.other_lanes |= s.read.thread != now.thread;
    else s.other_lanes = false;
    s.read = now;
    return false;
}

inline void touch(void* address, int bytes, bool write) {
    Machine& m = machine();
    if (!m.current || m.failed) return;
    char* p = (char*)address;
    const int thread = self();
    if (p >= m.stacks && p < m.stacks + STACK * m.fibers.size()) {
        if (p < m.stacks + STACK * thread || p >= m.stacks + STACK * (thread + 1)) fail("a thread used another's stack");
        return;
    }
    char place[120];
    for (Region& r : m.regions) {
        if (!r.holds(p)) continue;
        where(place, sizeof place);
        const size_t offset = p - r.begin;
        if (offset + bytes > r.bytes) fail("out of bounds: %s, byte %zu of %zu in %s", place, offset + bytes, r.bytes, r.name);
        if ((uintptr_t)p % bytes) fail("misaligned: %s, %d bytes at byte %zu of %s", place, bytes, offset, r.name);
        if (write && !r.writable) fail("write to the read-only array %s: %s", r.name, place);
        if (r.shadow.empty()) return;                                    // constants
        const Access now{thread, m.block_number, m.phase, m.warp_phase[thread / 32]};
        for (int i = 0; i < bytes; ++i) {
            Shadow& s = r.shadow[offset + i];
            if (r.shared && s.read.block != m.block_number) s.read = Access(), s.other_lanes = s.other_warps = false;
            if (r.shared && s.write.block != m.block_number) s.write = Access();     // each block has its own shared memory
            if (r.shared && !write && s.write.thread < 0)
                fail("uninitialised: %s reads byte %zu of %s, which this block never wrote", place, offset, r.name);
            if (race(s, now, write))
                fail("race: %s %s byte %zu of %s without a barrier between it and another thread's access",
                     place, write ? "writes" : "reads", offset, r.name);
        }
        return;
    }
    where(place, sizeof place);
    fail("out of bounds: %s %s memory that belongs to no array", place, write ? "writes" : "reads");
}

// ---------------------------------------------------------------------------------------------------- scheduling

inline void trampoline() {
    Machine& m = machine();
    m.body(m.arguments);
    m.current->state = ENDED;
    change(m.current->context, m.scheduler);
}

inline void wait(State state, const char* file, int line) {
    Fiber& f = *machine().current;
    f.state = state, f.file = file, f.line = line;
    change(f.context, machine().scheduler);
}

inline bool same_place(const Fiber& a, const Fiber& b) { return a.line == b.line && !strcmp(a.file, b.file); }

inline bool release_block() {                            // if every thread waits at the same barrier
    Machine& m = machine();
    for (Fiber& f : m.fibers)
        if (f.state != BLOCK_BARRIER || !same_place(f, m.fibers[0])) return false;
    for (Fiber& f : m.fibers) f.state = RUNS;
    ++m.phase;
    return true;
}

inline bool release_warp(size_t first) {                 // if `first` and all lanes that it names wait for the same operation
    Machine& m = machine();
    const size_t base = first / 32 * 32;
    const Fiber& leader = m.fibers[first];
    if (!(leader.lanes >> (first - base) & 1)) return false;
    uint64_t offered[32] = {}, votes = 0;
    for (size_t lane = 0; lane < 32; ++lane) {
        if (!(leader.lanes >> lane & 1)) continue;
        if (base + lane >= m.fibers.size()) return false;
        const Fiber& f = m.fibers[base + lane];
        if (f.state != WARP || f.lanes != leader.lanes || !same_place(f, leader)) return false;
        offered[lane] = f.value;
        votes |= (uint64_t)(f.value != 0) << lane;
    }
    for (size_t lane = 0; lane < 32; ++lane) {
        if (!(leader.lanes >> lane & 1)) continue;
        Fiber& f = m.fibers[base + lane];
        if (f.from >= 0 && !(f.lanes >> f.from & 1))
            fail("divergence: %s:%d asks lane %d, which takes no part", f.file, f.line, f.from);
        f.value = f.from < 0 ? votes : offered[f.from];
        f.state = RUNS;
    }
    if (leader.from == PHASE) ++m.warp_phase[first / 32];
    return true;
}

inline void report_divergence() {
    Machine& m = machine();
    int ended = 0, waiting = 0, example = -1, other = -1;
    for (size_t i = 0; i < m.fibers.size(); ++i) {
        const Fiber& f = m.fibers[i];
        if (f.state == ENDED) { ++ended; continue; }
        ++waiting;
        if (example < 0) example = (int)i;
        else if (other < 0 && !same_place(f, m.fibers[example])) other = (int)i;
    }
    const Fiber& f = m.fibers[example];
    const Fiber& g = m.fibers[other < 0 ? example : other];
    fail("divergence: %d threads have ended, %d wait for ever: thread %d at %s:%d, thread %d at %s:%d",
         ended, waiting, example, f.file, f.line, other < 0 ? example : other, g.file, g.line);
}

inline void start_block(Region* statics, char* stacks) {
    Machine& m = machine();
    ++m.block_number;
    m.phase = 0;
    m.warp_phase.assign((m.fibers.size() + 31) / 32, 0);
    if (statics) memset(statics->begin, 0xff, statics->bytes);           // NaN, in case a read is not noticed
    memset(m.dynamic.data(), 0xff, m.dynamic.size());
    for (size_t i = 0; i < m.fibers.size(); ++i) {
        Fiber& f = m.fibers[i];
        f.state = RUNS;
        f.index = {(unsigned)(i % m.block.x), (unsigned)(i / m.block.x % m.block.y), (unsigned)(i / m.block.x / m.block.y)};
        prepare(f.context, stacks + STACK * i, STACK, trampoline);
    }
}

inline void run_block() {
    Machine& m = machine();
    while (!m.failed) {
        bool moved = false, left = false;
        for (Fiber& f : m.fibers) {
            if (f.state != RUNS || m.failed) continue;
            m.current = &f;
            change(m.scheduler, f.context);
            m.current = nullptr;
            moved = true;
        }
        if (m.failed) return;
        for (size_t i = 0; i < m.fibers.size(); ++i) {
            if (m.fibers[i].state == WARP) moved |= release_warp(i);
            left |= m.fibers[i].state != ENDED;
        }
        if (!left) return;
        if (!moved && !release_block()) return report_divergence();
    }
}
}  // namespace shim

extern "C" {
using shim::Index;
using shim::machine;
extern char __start_cuda_shared[] __attribute__((weak)), __stop_cuda_shared[] __attribute__((weak));
extern char __ehdr_start __attribute__((visibility("hidden"))), _end __attribute__((visibility("hidden")));

Index shim_thread_idx() { return machine().current->index; }
Index shim_block_idx() { return machine().block_index; }
Index shim_block_dim() { return machine().block; }
Index shim_grid_dim() { return machine().grid; }
void* shim_dynamic_shared() { return machine().dynamic.data(); }

void shim_block_barrier(const char* file, int line) { shim::wait(shim::BLOCK_BARRIER, file, line); }

uint64_t shim_warp_exchange(unsigned lanes, uint64_t value, int lane, const char* file, int line) {
    shim::Fiber& f = *machine().current;
    f.lanes = lanes, f.value = value, f.from = lane;
    shim::wait(shim::WARP, file, line);
    return f.value;
}
unsigned shim_warp_ballot(unsigned lanes, bool vote, const char* file, int line) {
    return (unsigned)shim_warp_exchange(lanes, vote, shim::VOTE, file, line);
}
void shim_warp_barrier(unsigned lanes, const char* file, int line) {
    shim_warp_exchange(lanes, 0, shim::PHASE, file, line);
}
float shim_atomic_add_float(float* address, float value) { const float old = *address; *address = old + value; return old; }
int shim_atomic_add_int(int* address, int value) { const int old = *address; *address = old + value; return old; }
int shim_atomic_max_int(int* address, int value) { const int old = *address; if (value > old) *address = value; return old; }

// Python declares the arrays of the next launch.
void shim_clear() { machine().regions.clear(); }
void shim_array(void* begin, size_t bytes, int writable, const char* name) {
    machine().regions.push_back({(char*)begin, bytes, writable != 0, false, name, std::vector<shim::Shadow>(bytes)});
}
const char* shim_message() { return machine().failed ? machine().message : nullptr; }

void shim_launch(Index grid, Index block, size_t shared_bytes, void (*body)(void*), void* arguments) {
    shim::Machine& m = machine();
    m.failed = false, m.current = nullptr, m.block_number = 0;
    const size_t threads = (size_t)block.x * block.y * block.z, blocks = (size_t)grid.x * grid.y * grid.z;
    if (!blocks || grid.y > 65535 || grid.z > 65535)
        return shim::fail("launch: grid (%u,%u,%u) is not possible", grid.x, grid.y, grid.z);
    if (!threads || threads > 1024) return shim::fail("launch: a block of %zu threads is not possible", threads);
    if (shared_bytes > 48 << 10)         // the device's compiler checks the size of static shared memory
        return shim::fail("launch: %zu bytes of dynamic shared memory, 49152 are possible", shared_bytes);
    m.grid = grid, m.block = block, m.body = body, m.arguments = arguments;
    m.dynamic.assign(shared_bytes, 0);
    m.fibers.resize(threads);
    const size_t statics = __stop_cuda_shared - __start_cuda_shared;
    std::vector<shim::Shadow> of_dynamic(shared_bytes), of_static(statics);
    m.regions.push_back({m.dynamic.data(), shared_bytes, true, true, "dynamic shared memory", of_dynamic});
    m.regions.push_back({__start_cuda_shared, statics, true, true, "shared memory", of_static});
    m.regions.push_back({&__ehdr_start, (size_t)(&_end - &__ehdr_start), false, false, "constants", {}});
    m.stacks = (char*)mmap(nullptr, shim::STACK * threads, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (unsigned z = 0; z < grid.z && !m.failed; ++z)
        for (unsigned y = 0; y < grid.y && !m.failed; ++y)
            for (unsigned x = 0; x < grid.x && !m.failed; ++x) {
                m.block_index = {x, y, z};
                shim::start_block(statics ? &m.regions[m.regions.size() - 2] : nullptr, m.stacks);
                shim::run_block();
            }
    munmap(m.stacks, shim::STACK * threads);
    m.regions.clear();
}

// ---- called by the compiler's instrumentation
#define SHIM_ACCESS(N) \
    void __tsan_read##N(void* p) { shim::touch(p, N, false); } \
    void __tsan_write##N(void* p) { shim::touch(p, N, true); } \
    void __tsan_unaligned_read##N(void* p) { shim::touch(p, N, false); } \
    void __tsan_unaligned_write##N(void* p) { shim::touch(p, N, true); }
SHIM_ACCESS(1) SHIM_ACCESS(2) SHIM_ACCESS(4) SHIM_ACCESS(8) SHIM_ACCESS(16)
void __tsan_read_range(void* p, size_t bytes) { for (size_t i = 0; i < bytes; ++i) shim::touch((char*)p + i, 1, false); }
void __tsan_write_range(void* p, size_t bytes) { for (size_t i = 0; i < bytes; ++i) shim::touch((char*)p + i, 1, true); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

struct ShimSource { const char* file; uint32_t line, column; };          // the first field of every UBSan record
#define SHIM_UNDEFINED(NAME, TEXT) \
    void __ubsan_handle_##NAME(ShimSource* at, uintptr_t, uintptr_t) { shim::fail(TEXT " at %s:%u", at->file, at->line); } \
    void __ubsan_handle_##NAME##_abort(ShimSource* at, uintptr_t, uintptr_t) { shim::fail(TEXT " at %s:%u", at->file, at->line); }
SHIM_UNDEFINED(out_of_bounds, "array index out of bounds")
SHIM_UNDEFINED(shift_out_of_bounds, "shift by too much")
SHIM_UNDEFINED(divrem_overflow, "integer division by zero")
SHIM_UNDEFINED(add_overflow, "integer overflow")
SHIM_UNDEFINED(sub_overflow, "integer overflow")
SHIM_UNDEFINED(mul_overflow, "integer overflow")
SHIM_UNDEFINED(negate_overflow, "integer overflow")
SHIM_UNDEFINED(pointer_overflow, "pointer overflow")
SHIM_UNDEFINED(type_mismatch_v1, "misaligned or null pointer")
SHIM_UNDEFINED(load_invalid_value, "invalid bool")
SHIM_UNDEFINED(builtin_unreachable, "unreachable code")
SHIM_UNDEFINED(missing_return, "no return value")
SHIM_UNDEFINED(vla_bound_not_positive, "array of negative size")
SHIM_UNDEFINED(float_cast_overflow, "float does not fit the integer")
SHIM_UNDEFINED(nonnull_arg, "null pointer")
SHIM_UNDEFINED(invalid_builtin, "invalid builtin argument")
}
