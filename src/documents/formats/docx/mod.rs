//! DOCX: headings, paragraphs, lists and tables of a Word document, with the pages that Word saw.
//!
//! [`parts`] finds the parts that make up a document, and [`story`] reads each of them as a stream
//! of tags. Notes stand behind their paragraph, text boxes behind the one they are anchored in, and
//! headers and footers once, where they begin. What cannot be read is named, and the rest is read.

mod embedded;
mod fields;
mod frame;
mod graphics;
mod math;
mod numbering;
mod pages;
mod parts;
mod sections;
mod story;
mod styles;
mod symbols;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use super::package::{Package, element_text, reject_compound_file, shown_name};
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::structure::Places;
use parts::Loader;
use story::{Kind, Story};

/// Levels of headings and lists in Word.
const LEVELS: usize = 9;
/// Styles, lists and notes that are remembered, each. Word's own limit is about 4,000 styles.
const MAX_NAMED: usize = 1 << 16;

pub(crate) fn read(mut file: File, path: &Path) -> Result<Contents, ReadError> {
    reject_compound_file(&mut file, path)?;
    let mut package = Package::open(file, path)?;
    Ok(Contents::One(extract(&mut package, true)?))
}

/// The text of a package. Documents embedded in it are read if it `may_embed` some.
fn extract<R: Read + Seek>(
    package: &mut Package<R>,
    may_embed: bool,
) -> Result<Extract, ReadError> {
    let path = package.path().to_owned();
    let main = main_part(package);
    let Some(document) = package.part(&main)? else {
        let why = "there is no text in it; it may be another kind of file".to_owned();
        return Err(ReadError::Damaged { path, why });
    };
    let core = package.part("docProps/core.xml").ok().flatten().unwrap_or_default();
    let (mut parts, mut omitted) = Loader::load(package, &main, may_embed);
    let title = element_text(&core, "title");
    parts.title.clone_from(&title);

    let told = Story::read(Kind::Body, &document, &mut parts);
    let mut extract = told.flow.finish(|marks| {
        // Word records where its pages ended; other programs do not.
        if told.pages_are_recorded { Places::Pages(marks) } else { Places::Nowhere }
    });
    if !told.is_whole && extract.text.is_empty() {
        return Err(ReadError::Damaged { path, why: "its XML is damaged".to_owned() });
    }
    let mut omit = |part: String, why: &str| {
        omitted.push(ReadError::Part { path: path.clone(), part, why: why.to_owned() });
    };
    if !told.is_whole {
        omit("its end".to_owned(), "damaged XML");
    }
    if !told.objects.is_empty() {
        omit(listed(&told.objects), "only pictures of them are in the document");
    }
    extract.title = title;
    extract.omitted = omitted;
    Ok(extract)
}

/// The part that holds the text, as the package's relations name it.
fn main_part<R: Read + Seek>(package: &mut Package<R>) -> String {
    let mut relations = package.relations("").into_iter();
    let main = relations.find(|relation| relation.kind == "officeDocument");
    main.map_or_else(|| "word/document.xml".to_owned(), |relation| relation.target)
}

/// `3 objects of other programs (Equation.3, Excel.Sheet.12)`
fn listed(objects: &[String]) -> String {
    const SHOWN: usize = 4;
    let programs: BTreeSet<&String> = objects.iter().filter(|it| !it.is_empty()).collect();
    let shown: Vec<String> = programs.into_iter().take(SHOWN).map(|it| shown_name(it)).collect();
    let shown = if shown.is_empty() { String::new() } else { format!(" ({})", shown.join(", ")) };
    match objects.len() {
        1 => format!("an object of another program{shown}"),
        count => format!("{count} objects of other programs{shown}"),
    }
}
