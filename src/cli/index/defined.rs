//! `index` without paths: from what the files of settings say, or from what the index follows already.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::cli::args::IndexArgs;
use crate::cli::setup::Setup;
use crate::index::update::followed;
use crate::terminal::exit::Exit;

pub fn run(setup: &mut Setup, args: &IndexArgs) -> Result<Exit> {
    if let Some(index) = setup.definition() {
        let args = with(args, &index.roots, &index.include, &index.exclude);
        return super::run(setup, &args);
    }
    let names = match setup.global.index.as_slice() {
        [] => setup.config.index_names(),
        _ => Vec::new(),
    };
    if names.is_empty() {
        return follow(setup, args);
    }
    let mut exit = Exit::Answered;
    for name in names {
        let Some(index) = setup.config.index(name) else { continue };
        setup.turn_to(name)?;
        setup.terminal.say(&format!("@{name}"));
        let args = with(args, &index.roots, &index.include, &index.exclude);
        exit = exit.worse(super::run(setup, &args)?);
        if exit == Exit::Interrupted {
            break;
        }
    }
    Ok(exit)
}

/// Updates the index from the files and folders that it was built from.
fn follow(setup: &mut Setup, args: &IndexArgs) -> Result<Exit> {
    let ledger = setup.index.open().and_then(|index| index.ledger());
    let followed = ledger.as_ref().map(followed).unwrap_or_default();
    if followed.is_empty() {
        setup.terminal.error(&anyhow::anyhow!(setup.terminal.lang.nothing_to_index()), None);
        return Ok(Exit::Usage);
    }
    if args.rebuild && followed.len() > 1 {
        bail!(
            "the index follows folders with different `--include` and `--exclude`; name the paths to \
             rebuild it from"
        );
    }
    let mut exit = Exit::Answered;
    for (state, roots) in followed {
        let args = with(args, &roots, &state.include, &state.exclude);
        exit = exit.worse(super::run(setup, &args)?);
    }
    Ok(exit)
}

/// The same command for these paths; patterns on the command line replace the others.
fn with(args: &IndexArgs, paths: &[PathBuf], include: &[String], exclude: &[String]) -> IndexArgs {
    let or = |given: &[String], other: &[String]| match given {
        [] => other.to_vec(),
        given => given.to_vec(),
    };
    IndexArgs {
        paths: paths.to_vec(),
        include: or(&args.include, include),
        exclude: or(&args.exclude, exclude),
        ..args.clone()
    }
}
