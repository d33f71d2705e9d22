#!/usr/bin/env python3
"""Writes a static stand-in for one of CUDA's libraries, which opens the real one at the first call.

    cuda-shim.py OUTDIR LIB ERROR SONAME[,SONAME...] < function-names

writes OUTDIR/LIB.S and OUTDIR/LIB.c (x86-64, Linux): a trampoline for each function name on
standard input. At its first call a trampoline looks its function up with dlopen and dlsym, preserving all
argument registers, and jumps to it. If no SONAME can be opened, or the library lacks the function, the
call returns ERROR, the library's own code for "not there", as if the library had returned it.

candle-core links CUDA's libraries at build time; a binary that is linked with these instead starts on
a machine that has none of them.
"""
import sys

INTEGER_REGISTERS = ["rdi", "rsi", "rdx", "rcx", "r8", "r9", "rax"]  # rax: variadic calls
VECTOR_REGISTERS = 8


def trampolines(lib, names):
    yield '\t.section .note.GNU-stack,"",@progbits\n\t.text\n'
    for i, name in enumerate(names):
        yield f"""\t.globl {name}
\t.hidden {name}
\t.type {name},@function
{name}:
\tmovq shim_{lib}_table+{8 * i}(%rip),%r11
\ttestq %r11,%r11
\tje 1f
\tjmp *%r11
1:\tmovl ${i},%r11d
\tjmp shim_{lib}_first_call
\t.size {name},.-{name}
"""
    yield f"\t.type shim_{lib}_first_call,@function\nshim_{lib}_first_call:\n"
    # Seven pushes and the return address are 64 bytes: the stack stays aligned to 16.
    for register in INTEGER_REGISTERS:
        yield f"\tpushq %{register}\n"
    yield f"\tsubq ${16 * VECTOR_REGISTERS},%rsp\n"
    for x in range(VECTOR_REGISTERS):
        yield f"\tmovups %xmm{x},{16 * x}(%rsp)\n"
    yield f"\tmovl %r11d,%edi\n\tcall shim_{lib}_resolve\n\tmovq %rax,%r11\n"
    for x in range(VECTOR_REGISTERS):
        yield f"\tmovups {16 * x}(%rsp),%xmm{x}\n"
    yield f"\taddq ${16 * VECTOR_REGISTERS},%rsp\n"
    for register in reversed(INTEGER_REGISTERS):
        yield f"\tpopq %{register}\n"
    yield "\tjmp *%r11\n"
    yield f"""\t.bss
\t.align 8
\t.globl shim_{lib}_table
\t.hidden shim_{lib}_table
shim_{lib}_table:
\t.zero {8 * len(names)}
"""


def resolver(lib, names, error, sonames):
    quoted = lambda texts: ",".join(f'"{text}"' for text in texts)
    return f"""#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
extern void *shim_{lib}_table[] __attribute__((visibility("hidden")));
static const char *const names[] = {{{quoted(names)}}};
static const char *const libraries[] = {{{quoted(sonames)}}};
static void *handle;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static long absent(void) {{ return {error}; }}
static void open_library(void) {{
  for (size_t i = 0; i < sizeof libraries / sizeof *libraries && !handle; i++)
    handle = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL);
}}
__attribute__((visibility("hidden"))) void *shim_{lib}_resolve(unsigned i) {{
  pthread_once(&once, open_library);
  void *function = handle ? dlsym(handle, names[i]) : NULL;
  if (!function) function = (void *)absent;
  __atomic_store_n(&shim_{lib}_table[i], function, __ATOMIC_RELEASE);
  return function;
}}
"""


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    out, lib, error, sonames = sys.argv[1:]
    names = sorted({line.strip() for line in sys.stdin if line.strip()})
    with open(f"{out}/{lib}.S", "w") as file:
        file.writelines(trampolines(lib, names))
    with open(f"{out}/{lib}.c", "w") as file:
        file.write(resolver(lib, names, int(error), sonames.split(",")))


main()
