//! Text as every stage sees it: words and terms, spelling and language, questions, templates.

pub mod analyze;
pub mod background;
pub(crate) mod jinja;
pub mod language;
pub mod question;
pub(crate) mod vietnamese;
