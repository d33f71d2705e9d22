//! NVIDIA's management library, if the driver includes it: a GPU's memory and who holds it, without
//! a CUDA context. Everything here is best-effort: any failure yields `None`.
//!
//! Structures and names follow `nvml.h`.

#![allow(unsafe_code, reason = "calls into a library of NVIDIA")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::sync::OnceLock;

use libloading::Library;

use super::Holder;

const LIBRARY: &str = "libnvidia-ml.so.1";
const SUCCESS: c_int = 0;
/// `NVML_VALUE_NOT_AVAILABLE`
const NOT_AVAILABLE: u64 = u64::MAX;
/// Maximum number of processes to query.
const MAX_PROCESSES: usize = 256;

/// `nvmlDevice_t`
type Handle = *mut c_void;

/// `nvmlMemory_t`, in bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Total memory in bytes.
    pub total: u64,
    /// Free memory in bytes.
    pub free: u64,
    /// Used memory in bytes.
    pub used: u64,
}

/// `nvmlProcessInfo_t`
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Process {
    pid: c_uint,
    used: u64,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

/// The loaded and initialized library.
pub struct Nvml(Library);

impl Nvml {
    /// The library, loaded and initialized by the first call, which takes from 20 ms to a second,
    /// and kept until the program ends.
    pub fn get() -> Option<&'static Self> {
        static NVML: OnceLock<Option<Nvml>> = OnceLock::new();
        NVML.get_or_init(Self::open).as_ref()
    }

    fn open() -> Option<Self> {
        // SAFETY: the driver's own library; opening it has no preconditions.
        let library = unsafe { Library::new(LIBRARY) }.ok()?;
        // SAFETY: the type is the function's in nvml.h.
        let init = unsafe { library.get::<unsafe extern "C" fn() -> c_int>(b"nvmlInit_v2\0") };
        // SAFETY: it has no preconditions.
        (unsafe { init.ok()?() } == SUCCESS).then_some(Self(library))
    }

    /// Memory of the GPU with a PCI bus id.
    pub fn memory(&self, bus_id: &CStr) -> Option<Memory> {
        type GetMemory = unsafe extern "C" fn(Handle, *mut Memory) -> c_int;
        let mut memory = Memory::default();
        let handle = self.handle(bus_id)?;
        // SAFETY: the type is the function's in nvml.h, the handle is valid.
        let status = unsafe {
            self.0.get::<GetMemory>(b"nvmlDeviceGetMemoryInfo\0").ok()?(handle, &raw mut memory)
        };
        (status == SUCCESS).then_some(memory)
    }

    /// Programs that use the GPU with a PCI bus id for compute or graphics.
    pub fn holders(&self, bus_id: &CStr) -> Option<Vec<Holder>> {
        let handle = self.handle(bus_id)?;
        let mut holders: Vec<Holder> = Vec::new();
        for list in [
            &b"nvmlDeviceGetComputeRunningProcesses_v3\0"[..],
            b"nvmlDeviceGetGraphicsRunningProcesses_v3\0",
        ] {
            for process in self.processes(handle, list).unwrap_or_default() {
                if holders.iter().all(|holder| holder.pid != process.pid) {
                    holders.push(Holder {
                        pid: process.pid,
                        name: self.name(process.pid),
                        bytes: (process.used != NOT_AVAILABLE).then_some(process.used),
                    });
                }
            }
        }
        Some(holders)
    }

    fn handle(&self, bus_id: &CStr) -> Option<Handle> {
        type GetHandle = unsafe extern "C" fn(*const c_char, *mut Handle) -> c_int;
        let mut handle: Handle = std::ptr::null_mut();
        // SAFETY: the type is the function's in nvml.h, the string has its end.
        let status = unsafe {
            self.0.get::<GetHandle>(b"nvmlDeviceGetHandleByPciBusId_v2\0").ok()?(
                bus_id.as_ptr(),
                &raw mut handle,
            )
        };
        (status == SUCCESS).then_some(handle)
    }

    fn processes(&self, handle: Handle, function: &[u8]) -> Option<Vec<Process>> {
        type GetProcesses = unsafe extern "C" fn(Handle, *mut c_uint, *mut Process) -> c_int;
        let mut processes = vec![Process::default(); MAX_PROCESSES];
        let mut count = MAX_PROCESSES as c_uint;
        // SAFETY: the type is the function's in nvml.h; it writes at most `count` elements.
        let status = unsafe {
            self.0.get::<GetProcesses>(function).ok()?(
                handle,
                &raw mut count,
                processes.as_mut_ptr(),
            )
        };
        processes.truncate(count as usize);
        (status == SUCCESS).then_some(processes)
    }

    /// A process's program name.
    fn name(&self, pid: c_uint) -> Option<String> {
        type GetName = unsafe extern "C" fn(c_uint, *mut c_char, c_uint) -> c_int;
        let mut buffer = [0 as c_char; 256];
        // SAFETY: the type is the function's in nvml.h; it writes at most that many bytes.
        let status = unsafe {
            self.0.get::<GetName>(b"nvmlSystemGetProcessName\0").ok()?(
                pid,
                buffer.as_mut_ptr(),
                buffer.len() as c_uint - 1,
            )
        };
        // SAFETY: the last byte was left 0.
        let path = unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned();
        // The name may include arguments. Splitting truncates paths with spaces, but these are
        // rare.
        let program = path.split_whitespace().next()?;
        let name = Path::new(program).file_name()?.to_string_lossy().into_owned();
        (status == SUCCESS && !name.is_empty()).then_some(name)
    }
}
