//! `--in`, `--type`, `--tag` and `--since`: which documents of the index are asked.

use std::time::SystemTime;

use clap::Args;

use crate::index::{Selection, since};

/// Which documents to search; all, if nothing is said.
#[derive(Debug, Args)]
#[command(next_help_heading = "Selection options")]
pub struct SelectionArgs {
    /// Search only documents whose path matches this .gitignore-style pattern, such as '*.md' or
    /// 'contracts/**'; can be repeated
    #[arg(long = "in", global = true, value_name = "PATTERN")]
    pub within: Vec<String>,

    /// Search only files with this extension, such as pdf; can be repeated
    #[arg(long = "type", global = true, value_name = "EXTENSION")]
    pub extensions: Vec<String>,

    /// Search only documents with this tag in their front matter (`tags`, `keywords`, `categories`), or
    /// with one below it (`law` takes `law/tax`, too); can be repeated
    #[arg(long = "tag", global = true, value_name = "TAG")]
    pub tags: Vec<String>,

    /// Search only files that have changed since a date (2026-01-31, UTC) or in so many days (7d)
    #[arg(long, global = true, value_name = "WHEN", value_parser = since)]
    pub since: Option<SystemTime>,
}

impl SelectionArgs {
    /// As an index takes it.
    pub fn selection(&self) -> Selection {
        Selection {
            within: self.within.clone(),
            extensions: self.extensions.clone(),
            tags: self.tags.clone(),
            since: self.since,
        }
    }
}
