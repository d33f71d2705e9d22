//! Finds cuBLAS where users have it: where the system looks, in the active Python environment, or in
//! a CUDA toolkit.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Python environments, by the variables that activating one sets.
const ENVIRONMENTS: [&str; 2] = ["VIRTUAL_ENV", "CONDA_PREFIX"];
const TOOLKITS: [&str; 2] = ["CUDA_HOME", "CUDA_PATH"];

/// Folders that may hold CUDA's libraries, most wanted first.
pub fn folders(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let named = |names: [&str; 2]| -> Vec<PathBuf> {
        names.iter().filter_map(|name| variable(name)).map(PathBuf::from).collect()
    };
    let mut folders = Vec::new();
    let user = variable("HOME").map(|home| Path::new(&home).join(".local"));
    for environment in named(ENVIRONMENTS).into_iter().chain(user) {
        // lib/python3.13/site-packages/nvidia/cu13/lib
        for python in children(&environment.join("lib")) {
            folders.extend(wheels(&python.join("site-packages")));
        }
        folders.push(environment.join("lib"));
    }
    let mut installed: Vec<PathBuf> = children(Path::new("/usr/local"));
    installed.retain(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cuda"))
    });
    installed.push("/opt/cuda".into());
    for toolkit in named(TOOLKITS).into_iter().chain(installed) {
        folders.push(toolkit.join("lib64"));
        folders.push(toolkit.join("lib"));
    }
    folders.retain(|folder| folder.is_dir());
    folders
}

/// The folders of NVIDIA's packages: `nvidia/cu13/lib`, or `nvidia/cublas/lib` for CUDA 12.
fn wheels(packages: &Path) -> Vec<PathBuf> {
    children(&packages.join("nvidia")).iter().map(|package| package.join("lib")).collect()
}

/// What lies in a folder, by name.
fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(feature = "cuda")]
pub use self::opening::cublas;

#[cfg(feature = "cuda")]
mod opening {
    #![allow(unsafe_code, reason = "opens a library of NVIDIA")]

    use std::path::Path;
    use std::sync::OnceLock;

    use libloading::Library;

    /// The versions whose functions candle's calls fit.
    const VERSIONS: [u32; 2] = [13, 12];

    /// Whether cuBLAS is there. If it lies where the system does not look, it is opened from there:
    /// a later request for its bare name then finds it.
    pub fn cublas() -> bool {
        static FOUND: OnceLock<bool> = OnceLock::new();
        *FOUND.get_or_init(|| {
            VERSIONS.iter().any(|version| open(Path::new(&format!("libcublas.so.{version}"))))
                || super::folders(|name| std::env::var_os(name)).iter().any(|folder| from(folder))
        })
    }

    fn from(folder: &Path) -> bool {
        VERSIONS.iter().any(|version| {
            // cuBLAS needs the other one, which lies beside it.
            open(&folder.join(format!("libcublasLt.so.{version}")))
                && open(&folder.join(format!("libcublas.so.{version}")))
        })
    }

    /// Opens a library for the rest of the program's life.
    fn open(path: &Path) -> bool {
        // SAFETY: NVIDIA's own library; opening it has no preconditions.
        match unsafe { Library::new(path) } {
            Ok(library) => {
                tracing::debug!(?path, "opened");
                std::mem::forget(library);
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn libraries_are_looked_for_in_python_environments_and_toolkits() {
        let root = tempfile::tempdir().unwrap();
        let (venv, toolkit) = (root.path().join("venv"), root.path().join("cuda-13.0"));
        let packages = venv.join("lib/python3.13/site-packages/nvidia");
        for folder in
            [packages.join("cu13/lib"), packages.join("cublas/lib"), toolkit.join("lib64")]
        {
            fs::create_dir_all(folder).unwrap();
        }
        let found = folders(|name| match name {
            "VIRTUAL_ENV" => Some(venv.clone().into()),
            "CUDA_HOME" => Some(toolkit.clone().into()),
            _ => None,
        });
        let expected = [
            packages.join("cu13/lib"),
            packages.join("cublas/lib"),
            venv.join("lib"),
            toolkit.join("lib64"),
        ];
        let mut at = 0;
        for folder in expected {
            at += found[at..].iter().position(|path| *path == folder).expect("in this order");
        }
        assert!(folders(|_| None).iter().all(|folder| folder.is_dir()));
    }
}
