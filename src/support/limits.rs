//! What the operating system lets this process take.

#![allow(unsafe_code, reason = "calls the system")]

use std::time::Duration;

/// Limits this process for good: it ends if it asks for more than `memory` bytes of address space or
/// computes for longer than `cpu`, and leaves no core file. Only Linux does that.
#[cfg(target_os = "linux")]
pub fn limit_process(memory: u64, cpu: Option<Duration>) {
    let limit = |resource, value| {
        let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
        // SAFETY: the pointer is to a whole struct that lives during the call. The call only fails
        // by leaving the limit as it was.
        unsafe { libc::setrlimit(resource, &raw const limit) }
    };
    limit(libc::RLIMIT_AS, memory);
    limit(libc::RLIMIT_CORE, 0);
    if let Some(cpu) = cpu {
        limit(libc::RLIMIT_CPU, cpu.as_secs());
    }
}

#[cfg(not(target_os = "linux"))]
pub fn limit_process(_memory: u64, _cpu: Option<Duration>) {}
