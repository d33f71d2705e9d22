//! `rag-query models`: lists the catalogue, and downloads and verifies model files.

use anyhow::Result;
use serde_json::json;

use super::args::ModelsAction;
use super::setup::Setup;
use crate::models::ModelEntry;
use crate::models::verify::{Outcome, verify};
use crate::terminal::Lang;
use crate::terminal::exit::Exit;

pub fn run(setup: &Setup, action: ModelsAction) -> Result<Exit> {
    match action {
        ModelsAction::List => list(setup),
        ModelsAction::Pull => pull(setup),
        ModelsAction::Verify => check(setup),
    }
}

fn list(setup: &Setup) -> Result<Exit> {
    for entry in setup.catalogue.models() {
        let here = setup.store.locate_offline(entry).is_ok();
        if setup.global.json {
            setup.terminal.print_json(&json!({
                "id": entry.id, "role": entry.role(), "name": entry.name,
                "licence": entry.licence, "languages": entry.languages,
                "measured": entry.measured, "here": here,
            }))?;
        } else {
            let mark = if here { "✓" } else { "·" };
            let role = serde_json::to_value(entry.role())?;
            let role = role.as_str().unwrap_or_default();
            setup.terminal.print(&format!(
                "{mark} {role:9} {:32} {} ({}){}\n",
                entry.id,
                entry.name,
                entry.licence,
                measured(entry, setup.terminal.lang)
            ))?;
        }
    }
    Ok(Exit::Answered)
}

/// What is known of a model's ranking, if it ranks.
fn measured(entry: &ModelEntry, lang: Lang) -> String {
    if entry.llm().is_ok() {
        return String::new();
    }
    match &entry.measured {
        Some(on) => format!("; {} {on}", lang.ranking_measured()),
        None => format!("; {}", lang.ranking_not_measured()),
    }
}

/// Downloads what is missing of the profile's models.
pub fn pull(setup: &Setup) -> Result<Exit> {
    for entry in profile_models(setup) {
        let files = setup.store.locate(entry)?;
        for (name, path) in files.iter() {
            if setup.global.json {
                setup
                    .terminal
                    .print_json(&json!({ "model": entry.id, "file": name, "path": path }))?;
            } else {
                setup.terminal.print(&format!("{}: {name} → {}\n", entry.id, path.display()))?;
            }
        }
    }
    Ok(Exit::Answered)
}

fn check(setup: &Setup) -> Result<Exit> {
    let mut exit = Exit::Answered;
    for entry in profile_models(setup) {
        let report = verify(&setup.store, entry)?;
        if !report.is_ok() {
            exit = Exit::Error;
        }
        if setup.global.json {
            setup.terminal.print_json(&report)?;
        } else {
            for file in &report.files {
                setup.terminal.print(&format!(
                    "{}: {}: {}\n",
                    entry.id,
                    file.file,
                    describe(&file.outcome, setup.terminal.lang)
                ))?;
            }
        }
    }
    Ok(exit)
}

fn profile_models<'a>(setup: &'a Setup) -> [&'a ModelEntry; 3] {
    let profile = &setup.profile;
    [&profile.embedder, &profile.reranker, &profile.llm]
}

fn describe(outcome: &Outcome, lang: Lang) -> String {
    let text = match outcome {
        Outcome::Ok => "ok",
        Outcome::Mismatch { expected } => {
            let what = lang.pick(
                "đã thay đổi hoặc hỏng: SHA-256 phải là",
                "changed or damaged: its SHA-256 should be",
            );
            return format!("{what} {expected}");
        }
        Outcome::Missing => lang.pick("không có", "missing"),
        Outcome::NoRecord => lang.pick(
            "có, nhưng không có mã kiểm tra để đối chiếu",
            "present, but there is no checksum to verify it against",
        ),
        Outcome::Unreadable { reason } => {
            return format!("{}: {reason}", lang.pick("không đọc được", "cannot be read"));
        }
    };
    text.to_owned()
}
