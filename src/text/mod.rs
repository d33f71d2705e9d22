//! What every stage asks of words: terms, languages, templates.

pub mod analyze;
pub(crate) mod jinja;
pub mod language;
pub mod question;
