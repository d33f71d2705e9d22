//! `index list`, `info`, `names`, `remove`, `verify` and `compact`. None of them loads a model.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use serde::Serialize;

use crate::cli::setup::{Setup, location, named_indexes};
use crate::index::directory::Manifest;
use crate::index::directory::Sizes;
use crate::index::{Location, Settings, file_of, update};
use crate::models;
use crate::terminal::exit::Exit;
use crate::terminal::{bytes, one_line, shown_name, time};

pub fn list(setup: &Setup) -> Result<Exit> {
    #[derive(Serialize)]
    struct Listed<'a> {
        document: &'a str,
        chunks: u64,
        /// Size of the file it comes from.
        bytes: Option<u64>,
    }
    let ledger = setup.index.open()?.ledger()?;
    for (document, state) in ledger.documents() {
        if setup.global.json {
            let bytes = ledger.files().get(file_of(document)).map(|file| file.size);
            setup.terminal.print_json(&Listed { document, chunks: state.chunks, bytes })?;
        } else {
            let line = format!("{:>6}  {}\n", state.chunks, shown_name(document));
            setup.terminal.print(&line)?;
        }
    }
    setup.terminal.say(&setup.terminal.lang.listed(ledger.documents().len()));
    Ok(Exit::Answered)
}

/// The output of `index info`.
#[derive(Serialize)]
struct Info {
    index: String,
    files: usize,
    documents: usize,
    chunks: usize,
    /// Rows of removed chunks, which the next compaction frees.
    dead_rows: usize,
    /// Size of all index files; absent for an index on a server.
    bytes: Option<u64>,
    /// What its parts take of that.
    parts: Option<Sizes>,
    /// Time since the last change; absent for an index on a server.
    age_seconds: Option<u64>,
    #[serde(flatten)]
    settings: Settings,
}

impl Info {
    fn of(location: &Location) -> Result<Self> {
        let index = location.open()?;
        let ledger = index.ledger()?;
        Ok(Self {
            index: location.to_string(),
            files: ledger.files().len(),
            documents: ledger.documents().len(),
            chunks: index.chunk_count(),
            dead_rows: index.row_count() - index.chunk_count(),
            bytes: location.sizes().map(Sizes::total),
            parts: location.sizes(),
            age_seconds: index.changed().map(|changed| age(changed).as_secs()),
            settings: index.settings().clone(),
        })
    }
}

fn age(time: SystemTime) -> Duration {
    SystemTime::now().duration_since(time).unwrap_or_default()
}

pub fn info(setup: &Setup) -> Result<Exit> {
    let info = Info::of(&setup.index)?;
    if setup.global.json {
        setup.terminal.print_json(&info)?;
        return Ok(Exit::Answered);
    }
    let age = info.age_seconds.map(Duration::from_secs);
    let lines = setup.terminal.lang.index_info(
        &info.index,
        [info.files, info.documents, info.chunks, info.dead_rows],
        info.parts,
        age,
        &info.settings,
    );
    setup.terminal.print(&lines)?;
    Ok(Exit::Answered)
}

pub fn names(setup: &Setup) -> Result<Exit> {
    #[derive(Serialize)]
    struct Named<'a> {
        name: &'a str,
        /// From the files of settings; empty if they do not define this index.
        description: &'a str,
        #[serde(flatten)]
        info: Option<Info>,
        problem: Option<String>,
    }
    let names = known_names(setup)?;
    for (name, folder) in &names {
        let description = setup.config.index(name).map_or("", |index| &index.description);
        let (info, problem) = match Info::of(&Location::Directory(folder.clone())) {
            Ok(info) => (Some(info), None),
            Err(error) => (None, Some(error.to_string())),
        };
        if setup.global.json {
            setup.terminal.print_json(&Named { name, description, info, problem })?;
        } else {
            let what = match (&info, problem) {
                (Some(info), _) => {
                    let size = bytes(info.bytes.unwrap_or_default());
                    setup.terminal.lang.named(info.documents, info.chunks, &size)
                }
                (None, _) if !Manifest::exists(folder) => setup.terminal.lang.not_built_yet(name),
                (None, problem) => format!("❌ {}", problem.unwrap_or_default()),
            };
            let about = if description.is_empty() {
                String::new()
            } else {
                one_line(&format!(" — {description}"))
            };
            setup.terminal.print(&format!("@{name}  {what}{about}\n"))?;
        }
    }
    if names.is_empty() {
        setup.terminal.say(setup.terminal.lang.no_names());
    }
    Ok(Exit::Answered)
}

/// All names, each with its folder: those that the files of settings define, built or not, and those in
/// the data folder.
pub fn known_names(setup: &Setup) -> Result<BTreeMap<String, PathBuf>> {
    let data = models::data_dir()?;
    let mut names = BTreeMap::new();
    for name in setup.config.index_names() {
        let path = PathBuf::from(format!("@{name}"));
        if let Location::Directory(folder) = location(&path, setup.config, &data, setup.terminal)? {
            names.insert(name.to_owned(), folder);
        }
    }
    let folder = named_indexes(&data);
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().into_string().ok();
        let is_new = Manifest::exists(&path) && !names.values().any(|known| *known == path);
        if let Some(name) = name.filter(|_| is_new) {
            names.entry(name).or_insert(path);
        }
    }
    Ok(names)
}

pub fn remove(setup: &Setup, paths: &[PathBuf]) -> Result<Exit> {
    #[derive(Serialize)]
    struct Removed {
        removed: usize,
    }
    let mut writer = setup.index.write_existing()?;
    let removed = update::remove(writer.as_mut(), paths)?;
    writer.finish()?;
    if setup.global.json {
        setup.terminal.print_json(&Removed { removed })?;
    }
    setup.terminal.say(&setup.terminal.lang.removed(removed));
    Ok(if removed > 0 { Exit::Answered } else { Exit::Error })
}

pub fn verify(setup: &Setup) -> Result<Exit> {
    #[derive(Serialize)]
    struct Verified {
        documents: usize,
        chunks: usize,
    }
    let begun = Instant::now();
    let index = setup.index.verify()?;
    let (documents, chunks) = (index.document_count()?, index.chunk_count());
    if setup.global.json {
        setup.terminal.print_json(&Verified { documents, chunks })?;
    }
    setup.terminal.say(&setup.terminal.lang.verified(documents, chunks, &time(begun.elapsed())));
    Ok(Exit::Answered)
}

pub fn compact(setup: &Setup) -> Result<Exit> {
    #[derive(Serialize)]
    struct Compacted {
        before: Option<u64>,
        after: Option<u64>,
    }
    let before = setup.index.sizes().map(Sizes::total);
    setup.index.write_existing()?.compact()?;
    let after = setup.index.sizes().map(Sizes::total);
    if setup.global.json {
        setup.terminal.print_json(&Compacted { before, after })?;
    }
    let sizes = before.zip(after);
    let sizes = sizes.map(|(before, after)| format!(" {} → {}", bytes(before), bytes(after)));
    setup.terminal.say(&format!("✅{}", sizes.unwrap_or_default()));
    Ok(Exit::Answered)
}
