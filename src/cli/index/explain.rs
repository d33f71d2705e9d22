//! `index explain`: says of files how they are read, or why they are not in the index.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cli::setup::Setup;
use crate::documents::{Filter, Reason, locate, look_at};
use crate::index::update::explain;
use crate::index::{Ledger, RootState};
use crate::terminal::exit::Exit;

pub fn run(setup: &Setup, paths: &[PathBuf]) -> Result<Exit> {
    let models = setup.models()?;
    // Without an index, the files are explained all the same.
    let ledger = setup.index.open().and_then(|index| index.ledger()).unwrap_or_default();
    let settings = &models.index_settings.chunking;
    let programs = super::programs_unwatched(&setup.global.reading);
    for path in paths {
        let path = place(path).with_context(|| format!("cannot find {}", path.display()))?;
        for (file, reason) in fates(setup, &path, &ledger)? {
            let explained = explain(&file, reason, &ledger, settings, &models.embedder, &programs)?;
            if setup.global.json {
                setup.terminal.print_json(&explained)?;
            } else {
                setup.terminal.print(&setup.terminal.lang.explained(&explained))?;
            }
        }
    }
    Ok(Exit::Answered)
}

/// The absolute path of a file or folder; of a symbolic link, that of the link itself.
fn place(path: &Path) -> io::Result<PathBuf> {
    let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if is_link => {
            let folder = if folder == Path::new("") { Path::new(".") } else { folder };
            Ok(locate(folder)?.join(name))
        }
        _ => locate(path),
    }
}

/// Whether each file at or under `path` is taken, or why not, when the folders around it that the
/// index follows are indexed again. If it follows none, the folder of `path` stands for them.
fn fates(setup: &Setup, path: &Path, ledger: &Ledger) -> Result<BTreeMap<PathBuf, Option<Reason>>> {
    let around = ledger.roots().iter().filter(|(root, _)| path.starts_with(root));
    let mut around: Vec<(PathBuf, RootState)> =
        around.map(|(root, state)| (root.into(), state.clone())).collect();
    if around.is_empty() {
        let folder = if path.is_dir() { Some(path) } else { path.parent() };
        around.push((folder.unwrap_or(path).to_owned(), RootState::default()));
    }
    let mut fates: BTreeMap<PathBuf, Option<Reason>> = BTreeMap::new();
    for (root, RootState { include, exclude }) in around {
        if root == path && !root.is_dir() {
            fates.insert(root, None);
            continue;
        }
        let filter = Filter::new(&include, &exclude)?;
        let looked = look_at(&root, &filter.with_readers(&setup.global.reading.readers()), path);
        for problem in looked.problems {
            setup.terminal.warn(&problem.to_string());
        }
        for (file, reason) in looked.files {
            // It is enough if one of the folders has it.
            let fate = fates.entry(file).or_insert_with(|| reason.clone());
            *fate = fate.take().filter(|_| reason.is_some());
        }
    }
    Ok(fates)
}
