//! PPTX: the slides of a presentation in the order in which they are shown, with their titles as
//! headings, and their tables, charts, diagrams, comments and speaker notes.
//!
//! Hidden slides are read too. Numbers and dates of slides, and what only the master shows, are left
//! out; footers are read once.

mod chart;
mod slide;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::flow::Flow;
use super::package::{Package, Relation, element_text, entity, reject_compound_file};
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::structure::Places;
use slide::{Graphics, Slide};

/// `PowerPoint` itself opens no presentation with more.
const MAX_SLIDES: usize = 1 << 16;

pub(crate) fn read(mut file: File, path: &Path) -> Result<Contents, ReadError> {
    reject_compound_file(&mut file, path)?;
    let mut package = Package::open(file, path)?;
    let main = of_kind(&package.relations(""), "officeDocument");
    let main = main.unwrap_or_else(|| "ppt/presentation.xml".to_owned());
    let Some(presentation) = package.part(&main)? else {
        let why = "there are no slides in it; it may be another kind of file".to_owned();
        return Err(ReadError::Damaged { path: path.to_owned(), why });
    };
    let damaged = |error: quick_xml::Error| ReadError::Damaged {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let core = package.part("docProps/core.xml")?.unwrap_or_default();
    let targets: HashMap<String, String> =
        package.relations(&main).into_iter().map(|it| (it.id, it.target)).collect();
    let mut deck = Deck::default();
    for (id, number) in slides(&presentation).map_err(damaged)?.iter().zip(1..) {
        deck.flow.leave_headings();
        deck.flow.at(number);
        let Some(part) = targets.get(id) else { continue };
        if let Err(error) = deck.slide(&mut package, part, path) {
            deck.omitted.push(omitted(path, part, error)?);
        }
    }
    deck.footers();
    let title = element_text(&core, "title");
    let extract = deck.flow.finish(Places::Slides);
    Ok(Contents::One(Extract { title, omitted: deck.omitted, ..extract }))
}

/// A slide that cannot be read is named, and the others are read; not so if more would be unpacked
/// than may be.
fn omitted(path: &Path, part: &str, error: ReadError) -> Result<ReadError, ReadError> {
    match error {
        ReadError::Damaged { why, .. } => {
            let why = format!("`{part}` in it: {why}");
            Ok(ReadError::Damaged { path: path.to_owned(), why })
        }
        error => Err(error),
    }
}

/// The relations of the slides, in the order in which they are shown.
fn slides(presentation: &str) -> quick_xml::Result<Vec<String>> {
    let mut slides = Vec::new();
    let mut reader = Reader::from_str(presentation);
    loop {
        match reader.read_event()? {
            Event::Eof => return Ok(slides),
            // Sections list the slides again, without relations.
            Event::Start(tag) | Event::Empty(tag)
                if tag.local_name().as_ref() == "sldId" && slides.len() < MAX_SLIDES =>
            {
                // Beside it is an `id` without a prefix.
                let relation = tag.attributes().with_checks(false).flatten().find(|attribute| {
                    attribute.key.prefix().is_some() && attribute.key.local_name().as_ref() == "id"
                });
                let relation = relation.map(|relation| relation.value.into_owned());
                slides.extend(relation.and_then(|id| String::from_utf8(id.into()).ok()));
            }
            _ => {}
        }
    }
}

fn of_kind(relations: &[Relation], kind: &str) -> Option<String> {
    relations.iter().find(|relation| relation.kind == kind).map(|it| it.target.clone())
}

/// The slides that were read so far.
#[derive(Default)]
struct Deck {
    flow: Flow,
    /// Those of all slides, each once.
    footers: Vec<String>,
    omitted: Vec<ReadError>,
}

impl Deck {
    fn slide(&mut self, package: &mut Package, part: &str, path: &Path) -> Result<(), ReadError> {
        let damaged = |error: quick_xml::Error| ReadError::Damaged {
            path: path.to_owned(),
            why: error.to_string(),
        };
        let Some(xml) = package.part(part)? else {
            let why = "it is missing".to_owned();
            return Err(ReadError::Damaged { path: path.to_owned(), why });
        };
        let relations = package.relations(part);
        let mut graphics = Graphics::new();
        for relation in &relations {
            if matches!(relation.kind.as_str(), "chart" | "chartEx" | "diagramData") {
                let graphic = package.part(&relation.target)?.unwrap_or_default();
                graphics.insert(relation.id.clone(), graphic);
            }
        }
        if let Some(title) = slide::title(&xml).map_err(damaged)? {
            self.flow.begin_heading(1);
            self.flow.text(&title);
            self.flow.end_heading();
        }
        let mut slide = Slide::new(&mut self.flow, &graphics);
        slide.read(&xml).map_err(damaged)?;
        for footer in slide.footers() {
            if !self.footers.contains(&footer) && self.footers.len() < slide::MAX_FOOTERS {
                self.footers.push(footer);
            }
        }
        for comments in relations.iter().filter(|relation| relation.kind == "comments") {
            let xml = package.part(&comments.target)?.unwrap_or_default();
            self.comments(&xml).map_err(damaged)?;
        }
        if let Some(notes) = of_kind(&relations, "notesSlide") {
            let xml = package.part(&notes)?.unwrap_or_default();
            let mut notes = Slide::notes(&mut self.flow, &graphics);
            notes.read(&xml).map_err(damaged)?;
        }
        Ok(())
    }

    /// Comments have their text in `text`, or, since 2021, in paragraphs.
    fn comments(&mut self, xml: &str) -> quick_xml::Result<()> {
        let (mut comment, mut in_text) = (String::new(), false);
        let mut reader = Reader::from_str(xml);
        loop {
            match reader.read_event()? {
                Event::Eof => return Ok(()),
                Event::Start(tag) => in_text = matches!(tag.local_name().as_ref(), "text" | "t"),
                Event::Text(part) if in_text => comment.push_str(&part.xml10_content()),
                Event::GeneralRef(part) if in_text => comment.push_str(&entity(&part)),
                Event::End(tag) => {
                    in_text = false;
                    match tag.local_name().as_ref() {
                        "p" => comment.push(' '),
                        "cm" | "reply" => {
                            let comment = std::mem::take(&mut comment);
                            if !comment.trim().is_empty() {
                                self.flow.text(&format!("({})", comment.trim()));
                                self.flow.end_block();
                            }
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }

    fn footers(&mut self) {
        for footer in std::mem::take(&mut self.footers) {
            self.flow.leave_headings();
            self.flow.text(&footer);
            self.flow.end_block();
        }
    }
}
