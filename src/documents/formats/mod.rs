//! One reader a format: the bytes of a file → text, headings and places.

pub(crate) mod docx;
pub(crate) mod epub;
pub(crate) mod flow;
pub(crate) mod front_matter;
pub(crate) mod html;
pub(crate) mod markdown;
pub(crate) mod package;
pub(crate) mod pdf;
pub(crate) mod plain_text;
