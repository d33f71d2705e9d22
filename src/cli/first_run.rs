//! The first minutes: what to do where nothing is set up, and `rag-query setup`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::args::SetupArgs;
use super::config;
use super::models;
use super::setup::Setup;
use crate::generation::local::placement::gpu::{self, gib};
use crate::index::Location;
use crate::index::directory::Manifest;
use crate::support::whole;
use crate::terminal::Lang;
use crate::terminal::exit::Exit;

/// Free GPU memory with which an 8B LLM of 4 bits answers from whole passages, in bytes; its plan at a
/// context of 8,192 tokens is 6.5 GiB.
const ENOUGH_FOR_8B: u64 = 7 << 30;

/// Whether there is no index at all where one is looked for. Opens nothing.
pub fn has_no_index(setup: &Setup) -> bool {
    matches!(&setup.index, Location::Directory(folder) if !Manifest::exists(folder))
}

/// Says what to do first, in three lines.
pub fn tell_steps(setup: &Setup) -> Exit {
    setup.terminal.error(&anyhow::anyhow!(setup.terminal.lang.nothing_is_set_up()), None);
    for step in setup.terminal.lang.first_steps() {
        setup.terminal.say(step);
    }
    Exit::Error
}

/// Chooses a profile for this machine, downloads its models, and makes it the user's.
pub fn run(setup: &mut Setup, args: &SetupArgs) -> Result<Exit> {
    let (terminal, lang) = (setup.terminal, setup.terminal.lang);
    let Choice { profile, why } = match &args.chosen {
        Some(profile) => {
            Choice { profile: profile.clone(), why: lang.because_you_say_so().to_owned() }
        }
        None => choose(lang),
    };
    setup.profile = setup.catalogue.profile(&profile)?;
    terminal.say(&lang.profile_chosen(&profile, &setup.profile.about, &why));
    if !args.no_download {
        models::pull(setup)?;
    }
    let path = remember(&profile)?;
    terminal.say(&lang.profile_remembered(&profile, &path.display().to_string()));
    for step in lang.first_steps().into_iter().skip(1) {
        terminal.say(step);
    }
    Ok(Exit::Answered)
}

/// A profile, and what speaks for it.
struct Choice {
    profile: String,
    why: String,
}

/// Asks the driver for the GPU, as `doctor` does, and loads nothing onto it.
fn choose(lang: Lang) -> Choice {
    let gpu = match gpu::choose(gpu::driver(), None) {
        Ok(gpu) if gpu.free >= ENOUGH_FOR_8B => gpu,
        Ok(gpu) => {
            let why = lang.gpu_too_full(&gpu.name, &gib(gpu.free), &gib(ENOUGH_FOR_8B));
            return Choice { profile: "cpu".to_owned(), why };
        }
        Err(error) => return Choice { profile: "cpu".to_owned(), why: error.to_string() },
    };
    let profile = match lang {
        Lang::Vi => "vi",
        Lang::En => "default",
    };
    Choice { profile: profile.to_owned(), why: format!("{}, {}", gpu.name, gib(gpu.free)) }
}

/// Writes the profile into the user's file of settings, whose other lines stay as they are.
fn remember(profile: &str) -> Result<std::path::PathBuf> {
    let path = config::user_file().context("there is no folder for your settings; set HOME")?;
    let unwritable = || format!("cannot write {}", path.display());
    let old = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        old => old.with_context(|| format!("cannot read {}", path.display()))?,
    };
    fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).with_context(unwritable)?;
    whole::write(&path, with_profile(&old, profile).as_bytes()).with_context(unwritable)?;
    Ok(path)
}

/// A file of settings with this profile, before every table.
fn with_profile(old: &str, profile: &str) -> String {
    let is_profile = |line: &&str| {
        line.trim_start()
            .strip_prefix("profile")
            .is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let mut in_tables = false;
    let mut lines = vec![format!("profile = \"{profile}\"")];
    for line in old.lines() {
        in_tables |= line.trim_start().starts_with('[');
        if in_tables || !is_profile(&line) {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_profile_changes_in_a_file_of_settings() {
        assert_eq!(with_profile("", "vi"), "profile = \"vi\"\n");
        let old =
            "# Mine\nprofile = \"cpu\"\nprofiles-x = 1\ntop-k = 3\n\n[indexes.a]\nprofile = 1\n";
        let new =
            "profile = \"vi\"\n# Mine\nprofiles-x = 1\ntop-k = 3\n\n[indexes.a]\nprofile = 1\n";
        assert_eq!(with_profile(old, "vi"), new);
        assert_eq!(with_profile(new, "vi"), new);
    }
}
