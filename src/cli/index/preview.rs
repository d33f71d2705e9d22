//! `index --dry-run`: shows the passages that documents would be split into.

use anyhow::Result;
use serde::Serialize;

use crate::cli::args::IndexArgs;
use crate::cli::setup::Setup;
use crate::index::Passage;
use crate::index::update::{Previewed, preview};
use crate::terminal::exit::Exit;
use crate::terminal::shown_name;

/// A passage in JSON, with its length in the embedder's tokens.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    passage: &'a Passage,
    tokens: usize,
}

pub fn run(setup: &Setup, args: &IndexArgs) -> Result<Exit> {
    let (terminal, lang) = (setup.terminal, setup.terminal.lang);
    let models = setup.models()?;
    let walk = super::walk(args, &setup.global.reading.readers())?;
    let embedder = models.embedder.get()?;
    let (mut documents, mut chunks) = (0, 0);
    let mut show = |id: &str, passages: &[Passage]| -> Result<()> {
        documents += 1;
        chunks += passages.len();
        if !setup.global.json {
            terminal.print(&format!("{}\n", shown_name(id)))?;
        }
        for passage in passages {
            let tokens = embedder.count_tokens(&passage.text_to_embed());
            if setup.global.json {
                terminal.print_json(&Shown { passage, tokens })?;
                continue;
            }
            let place = lang.place(passage.place) + lang.recognized(passage.recognized);
            let heading = passage.heading();
            let begin: String = passage
                .format
                .readable(&passage.text)
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            let begin: String = begin.chars().take(60).collect();
            terminal.print(&format!("  [{tokens}] {heading}{place}\n    {begin}…\n"))?;
        }
        Ok(())
    };
    let settings = &models.index_settings.chunking;
    let programs = super::programs_unwatched(&setup.global.reading);
    let Previewed { problems, files } = preview(&walk, settings, embedder, &programs, &mut show)?;
    super::tell_problems(setup, &problems, &files, &walk.unmatched);
    terminal.say(&lang.previewed(documents, chunks));
    super::tell_files(setup, &files);
    let is_whole = problems.is_empty() && files.without_text.is_empty();
    Ok(if args.strict && !is_whole { Exit::Error } else { Exit::Answered })
}
