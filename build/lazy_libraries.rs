//! Lets the program start where CUDA's libraries are missing, and open them at the first call.
//!
//! candle's dependency cudarc asks the linker for them, so that a program could not even print its
//! version without an NVIDIA driver. This puts static stand-ins of the same names where the linker
//! looks first: a trampoline for each function, which looks the real one up with `dlopen` and `dlsym`
//! at its first call and jumps there. Where the library or the function is missing, the call returns
//! the library's own code for that, as if the library had returned it.
//!
//! The names of the functions are those that the toolkit's libraries (or their stubs) export.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

struct Library {
    name: &'static str,
    /// What to open: the first that is there.
    sonames: &'static [&'static str],
    /// What a call returns if it is missing.
    absent: u32,
    /// Calls that succeed nevertheless. candle makes handles for all libraries when it opens a GPU,
    /// also those that a model does not need.
    harmless: &'static [&'static str],
}

const LIBRARIES: [Library; 5] = [
    Library {
        name: "cuda",
        sonames: &["libcuda.so.1"],
        absent: 34, // CUDA_ERROR_STUB_LIBRARY
        harmless: &[],
    },
    // The functions of cuBLAS that candle calls have not changed since version 12.
    Library {
        name: "cublas",
        sonames: &["libcublas.so.13", "libcublas.so.12"],
        absent: 1, // CUBLAS_STATUS_NOT_INITIALIZED
        harmless: &["cublasCreate_v2", "cublasDestroy_v2", "cublasSetStream_v2"],
    },
    Library {
        name: "cublasLt",
        sonames: &["libcublasLt.so.13", "libcublasLt.so.12"],
        absent: 1,
        harmless: &[],
    },
    // Nothing here draws random numbers on a GPU.
    Library { name: "curand", sonames: &["libcurand.so.10"], absent: 0, harmless: &[] },
    Library {
        name: "nvrtc",
        sonames: &["libnvrtc.so.13", "libnvrtc.so.12"],
        absent: 7, // NVRTC_ERROR_BUILTIN_OPERATION_FAILURE
        harmless: &[],
    },
];

/// Where cudarc finds a toolkit, and where in it.
const VARIABLES: [&str; 4] = ["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR"];
const ROOTS: [&str; 4] = ["/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda", "/usr"];
const FOLDERS: [&str; 8] = [
    "lib",
    "lib64",
    "lib/stubs",
    "lib64/stubs",
    "targets/x86_64-linux/lib",
    "targets/x86_64-linux/lib/stubs",
    "lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu/stubs",
];

/// Makes the stand-ins and puts them first. Elsewhere than on x86-64 Linux, or if the compiler's tools
/// are missing, says so, and the program is linked as usual.
pub fn link(out: &Path) {
    for variable in VARIABLES.iter().chain(&["RAG_QUERY_CUDART", "CC"]) {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    println!("cargo:rerun-if-changed=build");
    let target = |part| env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    if (target("OS"), target("ARCH"), target("ENV"))
        != ("linux".to_owned(), "x86_64".to_owned(), "gnu".to_owned())
    {
        println!("cargo:warning=the program will need CUDA's libraries to start on this platform");
        return;
    }
    let libraries = out.join("lazy");
    // The linker takes what is in there instead of what is in the toolkit: cargo lists folders within
    // the target folder before others.
    let made = fs::create_dir_all(&libraries)
        .map_err(|error| error.to_string())
        .and_then(|()| LIBRARIES.iter().try_for_each(|library| stand_in(library, &libraries)))
        .and_then(|()| runtime(&libraries));
    match made {
        Ok(()) => println!("cargo:rustc-link-search=native={}", libraries.display()),
        Err(error) => println!(
            "cargo:warning=the program will need CUDA's libraries to start, because {error}"
        ),
    }
}

/// The CUDA runtime, whose functions candle's kernels call, is linked into the program.
fn runtime(libraries: &Path) -> Result<(), String> {
    let found = match env::var_os("RAG_QUERY_CUDART") {
        Some(path) => path.into(),
        None => find("libcudart_static.a").ok_or("there is no libcudart_static.a")?,
    };
    println!("cargo:rerun-if-changed={}", found.display());
    fs::copy(&found, libraries.join("libcudart.a"))
        .map(drop)
        .map_err(|error| format!("{} cannot be copied: {error}", found.display()))
}

fn find(file: &str) -> Option<PathBuf> {
    let named: Vec<PathBuf> = VARIABLES.iter().filter_map(env::var_os).map(Into::into).collect();
    let roots = if named.is_empty() { ROOTS.map(PathBuf::from).to_vec() } else { named };
    roots
        .iter()
        .flat_map(|root| FOLDERS.map(|folder| root.join(folder).join(file)))
        .find(|path| path.exists())
}

fn stand_in(library: &Library, folder: &Path) -> Result<(), String> {
    let name = library.name;
    let file = format!("lib{name}.so");
    let names = functions(&find(&file).ok_or(format!("there is no {file}"))?)?;
    let (assembly, c) = (folder.join(format!("{name}.S")), folder.join(format!("{name}.c")));
    let objects = [folder.join(format!("{name}.s.o")), folder.join(format!("{name}.c.o"))];
    fs::write(&assembly, trampolines(name, &names)).map_err(|error| error.to_string())?;
    fs::write(&c, resolver(library, &names)).map_err(|error| error.to_string())?;
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    for (source, object) in [&assembly, &c].into_iter().zip(&objects) {
        let mut command = Command::new(&compiler);
        run(command.args(["-O2", "-fPIC", "-c", "-o"]).arg(object).arg(source))?;
    }
    let archive = folder.join(format!("lib{name}.a"));
    let _ = fs::remove_file(&archive);
    run(Command::new("ar").arg("rcs").arg(archive).args(objects)).map(drop)
}

fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            Err(format!("{name} failed: {}", text.lines().next().unwrap_or_default()))
        }
        Err(error) => Err(format!("{name} cannot be run: {error}")),
    }
}

/// The functions that a library exports.
fn functions(library: &Path) -> Result<Vec<String>, String> {
    let listed = run(Command::new("nm").args(["-D", "--defined-only"]).arg(library))?;
    let mut names: Vec<String> = listed
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let is_function = matches!(words.next()?, "T" | "W" | "i");
            // Without the version: `cublasCreate_v2@@libcublas.so.13`.
            let name = words.next()?.split('@').next()?;
            let plain = name.starts_with("cu") || name.starts_with("nvrtc");
            (is_function && plain).then(|| name.to_owned())
        })
        .collect();
    names.sort();
    names.dedup();
    match names.len() {
        0 => Err(format!("{} exports no functions", library.display())),
        _ => Ok(names),
    }
}

/// Registers that hold arguments; `rax` in calls with a variable number of them.
const REGISTERS: [&str; 7] = ["rdi", "rsi", "rdx", "rcx", "r8", "r9", "rax"];
const VECTOR_REGISTERS: usize = 8;

fn trampolines(library: &str, names: &[String]) -> String {
    let mut text = "\t.section .note.GNU-stack,\"\",@progbits\n\t.text\n".to_owned();
    for (i, name) in names.iter().enumerate() {
        let _ = write!(
            text,
            "\t.globl {name}\n\t.hidden {name}\n\t.type {name},@function\n{name}:\n\
             \tmovq lazy_{library}_table+{offset}(%rip),%r11\n\ttestq %r11,%r11\n\tje 1f\n\
             \tjmp *%r11\n1:\tmovl ${i},%r11d\n\tjmp lazy_{library}_first_call\n",
            offset = 8 * i
        );
    }
    let _ = writeln!(text, "lazy_{library}_first_call:");
    // Seven pushes and the return address are 64 bytes: the stack stays aligned to 16.
    for register in REGISTERS {
        let _ = writeln!(text, "\tpushq %{register}");
    }
    let _ = writeln!(text, "\tsubq ${},%rsp", 16 * VECTOR_REGISTERS);
    for x in 0..VECTOR_REGISTERS {
        let _ = writeln!(text, "\tmovups %xmm{x},{}(%rsp)", 16 * x);
    }
    let _ = write!(text, "\tmovl %r11d,%edi\n\tcall lazy_{library}_resolve\n\tmovq %rax,%r11\n");
    for x in 0..VECTOR_REGISTERS {
        let _ = writeln!(text, "\tmovups {}(%rsp),%xmm{x}", 16 * x);
    }
    let _ = writeln!(text, "\taddq ${},%rsp", 16 * VECTOR_REGISTERS);
    for register in REGISTERS.iter().rev() {
        let _ = writeln!(text, "\tpopq %{register}");
    }
    let _ = write!(
        text,
        "\tjmp *%r11\n\t.bss\n\t.align 8\n\t.globl lazy_{library}_table\n\
         \t.hidden lazy_{library}_table\nlazy_{library}_table:\n\t.zero {}\n",
        8 * names.len()
    );
    text
}

fn resolver(
    Library { name: library, sonames, absent, harmless }: &Library,
    names: &[String],
) -> String {
    let quoted = |texts: &[&str]| {
        let quoted: Vec<String> = texts.iter().map(|text| format!("\"{text}\",")).collect();
        quoted.concat()
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    format!(
        r#"#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
extern void *lazy_{library}_table[] __attribute__((visibility("hidden")));
static const char *const names[] = {{{names}}};
static const char *const libraries[] = {{{sonames}}};
static const char *const harmless[] = {{{harmless}0}};
static void *handle;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static long absent(void) {{ return {absent}; }}
static long succeed(void) {{ return 0; }}
static void open_library(void) {{
  for (size_t i = 0; i < sizeof libraries / sizeof *libraries && !handle; i++)
    handle = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL);
}}
__attribute__((visibility("hidden"))) void *lazy_{library}_resolve(unsigned i) {{
  pthread_once(&once, open_library);
  void *function = handle ? dlsym(handle, names[i]) : NULL;
  if (!function) {{
    function = (void *)absent;
    for (const char *const *name = harmless; !handle && *name; name++)
      if (!strcmp(*name, names[i])) function = (void *)succeed;
  }}
  __atomic_store_n(&lazy_{library}_table[i], function, __ATOMIC_RELEASE);
  return function;
}}
"#,
        names = quoted(&names),
        sonames = quoted(sonames),
        harmless = quoted(harmless),
    )
}
