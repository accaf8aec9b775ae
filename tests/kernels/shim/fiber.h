/* Fibers: switch from one stack to another.  The C library's swapcontext makes a system call each time (0.7 us); on
   x86-64 a dozen instructions do the same in a few nanoseconds.

     prepare(context, stack, bytes, entry)     the first change to `context` calls entry(), which must not return
     change(from, to)                          returns after a change back to `from`                                     */
#pragma once
#include <cstddef>

#ifdef __x86_64__
namespace shim {
struct Context { void** top; };                   // saved registers, then the address to return to
extern "C" void shim_change(void*** save, void** top);
asm(R"(
    .text
    .local shim_change
    .type shim_change, @function
shim_change:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size shim_change, .-shim_change
)");
inline void prepare(Context& context, char* stack, size_t bytes, void (*entry)()) {
    void** end = (void**)(stack + bytes);         // a function expects a stack 8 bytes below a multiple of 16
    end[-2] = (void*)entry;
    context.top = end - 8;                        // with room for six registers of any value
}
inline void change(Context& from, Context& to) { shim_change(&from.top, to.top); }
}  // namespace shim
#else
#include <ucontext.h>
namespace shim {
using Context = ucontext_t;
inline void prepare(Context& context, char* stack, size_t bytes, void (*entry)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = bytes;
    context.uc_link = nullptr;
    makecontext(&context, entry, 0);
}
inline void change(Context& from, Context& to) { swapcontext(&from, &to); }
}  // namespace shim
#endif
