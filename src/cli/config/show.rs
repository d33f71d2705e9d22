//! `rag-query config show`: every setting with its value, and where that comes from.

use anyhow::Result;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory};
use serde::Serialize;

use super::Config;
use super::options::{OPTIONS, id};
use crate::cli::args::Cli;
use crate::cli::setup::Setup;
use crate::terminal::exit::Exit;
use crate::terminal::one_line;

#[derive(Serialize)]
struct Setting<'a> {
    name: &'a str,
    /// Absent if nothing sets it and there is no default.
    value: Option<String>,
    origin: String,
}

/// Prints all settings in effect, as `name = value`; with `origin`, each with its origin.
pub fn show(setup: &Setup, matches: &ArgMatches, origin: bool) -> Result<Exit> {
    let (terminal, config) = (setup.terminal, setup.config);
    let command = Cli::command();
    for (name, ..) in OPTIONS {
        let setting = setting(&command, config, matches, name);
        if setup.global.json {
            terminal.print_json(&setting)?;
            continue;
        }
        let Setting { value, origin: from, .. } = setting;
        let value = value.map_or_else(|| "-".to_owned(), |value| one_line(&value));
        let from = if origin { format!("\t{}", one_line(&from)) } else { String::new() };
        terminal.print(&format!("{name} = {value}{from}\n"))?;
    }
    Ok(Exit::Answered)
}

fn setting<'a>(
    command: &Command,
    config: &Config,
    matches: &ArgMatches,
    name: &'a str,
) -> Setting<'a> {
    let id = id(command, name).map_or_else(|| name.to_owned(), |id| id.to_string());
    let variable = || {
        let option = command.get_arguments().find(|arg| arg.get_id() == id.as_str())?;
        Some(option.get_env()?.to_string_lossy().into_owned())
    };
    // What is given after a subcommand is known to it alone.
    let mut deepest = matches;
    while let Some((_, below)) = deepest.subcommand() {
        deepest = below;
    }
    // Only a debug build of clap says that it does not know an option here.
    let has_it = deepest.try_contains_id(&id).unwrap_or(false);
    let matches = if has_it { deepest } else { matches };
    let raw = matches.try_get_raw(&id).ok().flatten();
    let value = raw.map(|values| {
        let texts: Vec<String> = values.map(|value| value.to_string_lossy().into_owned()).collect();
        texts.join(", ")
    });
    let origin = match matches.value_source(&id) {
        Some(ValueSource::CommandLine) => format!("--{name}"),
        Some(ValueSource::EnvVariable) => variable().unwrap_or_default(),
        _ => match config.origin(name) {
            Some(path) => path.display().to_string(),
            None => "default".to_owned(),
        },
    };
    Setting { name, value, origin }
}
