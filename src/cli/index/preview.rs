//! `index --dry-run`: shows the passages that documents would be split into.

use anyhow::Result;
use serde::Serialize;

use crate::cli::args::IndexArgs;
use crate::cli::exit::Exit;
use crate::cli::setup::Setup;
use crate::index::Passage;
use crate::index::update::preview;
use crate::terminal::document_name;

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
    let walk = super::walk(args)?;
    let embedder = models.embedder.get()?;
    let (mut documents, mut chunks) = (0, 0);
    let mut show = |id: &str, passages: &[Passage]| -> Result<()> {
        documents += 1;
        chunks += passages.len();
        if !setup.global.json {
            terminal.print(&format!("{}\n", document_name(id)))?;
        }
        for passage in passages {
            let tokens = embedder.count_tokens(&passage.text_to_embed());
            if setup.global.json {
                terminal.print_json(&Shown { passage, tokens })?;
                continue;
            }
            let place = lang.place(passage.place);
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
    let problems = preview(&walk, settings, embedder, &mut show)?;
    for problem in &problems {
        terminal.warn(problem);
    }
    terminal.say(&lang.previewed(documents, chunks));
    Ok(if args.strict && !problems.is_empty() { Exit::Error } else { Exit::Answered })
}
