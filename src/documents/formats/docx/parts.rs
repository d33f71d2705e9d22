//! Finds the parts of a Word document that its text refers to, and reads them.

use std::io::{Read, Seek};

use super::frame::{Passage, passages};
use super::numbering::Numbering;
use super::story::{Kind, Parts, RUNNING, Story};
use super::styles::Styles;
use super::{embedded, graphics};
use crate::documents::error::ReadError;
use crate::documents::formats::package::{Package, Relation, resolve, shown_name};
use crate::documents::structure::Places;

/// Words that stand beside a page number: `Page 1 of 5`.
const MAX_PAGE_WORDS: usize = 3;
/// Embedded documents that are named one by one if they cannot be read.
const MAX_TOLD: usize = 8;

/// Reads parts. What cannot be read is named, and the others are read.
pub(super) struct Loader<'l, 'p, R> {
    package: &'l mut Package<'p, R>,
    /// The folder of the main part.
    folder: String,
    relations: Vec<Relation>,
    parts: Parts,
    omitted: Vec<ReadError>,
}

impl<'l, 'p, R: Read + Seek> Loader<'l, 'p, R> {
    /// Reads what belongs to the main part.
    pub fn load(
        package: &'l mut Package<'p, R>,
        main: &str,
        may_embed: bool,
    ) -> (Parts, Vec<ReadError>) {
        let folder = main.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let relations = package.relations(main);
        let parts = Parts::default();
        let mut loader = Self { package, folder, relations, parts, omitted: Vec::new() };
        let (styles, are_whole) = Styles::parse(&loader.of_kind("styles"));
        loader.check(are_whole, "styles");
        let (numbering, is_whole) = Numbering::parse(&loader.of_kind("numbering"));
        loader.check(is_whole, "list numbers");
        loader.parts.styles = styles;
        loader.parts.numbering = numbering;
        for (kind, reference) in [
            ("footnotes", "footnoteReference"),
            ("endnotes", "endnoteReference"),
            ("comments", "commentReference"),
        ] {
            loader.load_notes(kind, reference);
        }
        for relation in std::mem::take(&mut loader.relations) {
            match relation.kind.as_str() {
                "header" | "footer" => loader.load_passages(relation, margin),
                "chart" | "chartEx" => {
                    loader.load_passages(relation, |xml, _| graphics::chart(xml));
                }
                "diagramData" => loader.load_passages(relation, |xml, _| graphics::diagram(xml)),
                "aFChunk" => loader.load_document(relation, may_embed),
                _ => {}
            }
        }
        let more = loader.omitted.len().saturating_sub(MAX_TOLD);
        if more > 0 {
            loader.omitted.truncate(MAX_TOLD);
            loader.omit(format!("{more} more parts of it"), "as those before".to_owned());
        }
        (loader.parts, loader.omitted)
    }

    /// The one part of this kind, under the name that it usually has if the document does not say.
    fn of_kind(&mut self, kind: &str) -> String {
        let relation = self.relations.iter().find(|relation| relation.kind == kind);
        let name = relation.map_or_else(
            || resolve(&self.folder, &format!("{kind}.xml")),
            |relation| relation.target.clone(),
        );
        self.text(&name)
    }

    /// A part's text; nothing if there is no such part.
    fn text(&mut self, name: &str) -> String {
        match self.package.part(name) {
            Ok(part) => part.unwrap_or_default(),
            Err(error) => {
                self.omit(format!("`{}` in it", shown_name(name)), reason(error));
                String::new()
            }
        }
    }

    fn omit(&mut self, part: String, why: String) {
        self.omitted.push(ReadError::Part { path: self.package.path().to_owned(), part, why });
    }

    /// Names damaged XML.
    fn check(&mut self, is_whole: bool, name: &str) {
        if !is_whole {
            self.omit(format!("the end of its {name}"), "damaged XML".to_owned());
        }
    }

    fn load_notes(&mut self, kind: &str, reference: &str) {
        let xml = self.of_kind(kind);
        if xml.is_empty() {
            return;
        }
        let told = Story::read(Kind::Notes, &xml, &mut self.parts);
        self.check(told.is_whole, kind);
        for (id, text) in told.notes {
            let is_comment = reference == "commentReference";
            let note = if is_comment { format!("[comment: {text}]") } else { format!("({text})") };
            self.parts.notes.insert(format!("{reference} {id}"), note);
        }
    }

    fn load_passages(
        &mut self,
        relation: Relation,
        read: impl FnOnce(&str, &mut Parts) -> Vec<Passage>,
    ) {
        let xml = self.text(&relation.target);
        let passages = read(&xml, &mut self.parts);
        self.parts.passages.insert(relation.id, passages);
    }

    fn load_document(&mut self, relation: Relation, may_embed: bool) {
        let document = match self.package.bytes(&relation.target) {
            Ok(Some(bytes)) => embedded::read(self.package, bytes, may_embed),
            Ok(None) => Err("it is missing".to_owned()),
            Err(error) => Err(reason(error)),
        };
        match document {
            Ok(mut document) => {
                self.omitted.append(&mut document.omitted);
                self.parts.documents.insert(relation.id, document);
            }
            Err(why) => {
                let name = shown_name(&relation.target);
                self.omit(format!("the embedded document `{name}`"), why);
            }
        }
    }
}

/// Why a part cannot be read, without the file's name.
fn reason(error: ReadError) -> String {
    match error {
        ReadError::Damaged { why, .. } => why,
        ReadError::Encrypted { .. } => "it is encrypted".to_owned(),
        ReadError::Unpacked { limit, .. } => {
            format!("with it the document has more than {} MiB", limit >> 20)
        }
        error => error.to_string(),
    }
}

/// A header or footer without the numbers of pages.
fn margin(xml: &str, parts: &mut Parts) -> Vec<Passage> {
    let told = Story::read(Kind::Margin, xml, parts);
    let mut passages = passages(&told.flow.finish(|_| Places::Nowhere));
    passages.retain_mut(|passage| {
        if !passage.text.contains(RUNNING) {
            return true;
        }
        let text = passage.text.replace(RUNNING, "");
        text.trim().clone_into(&mut passage.text);
        let words = passage.text.split_whitespace().filter(|it| it.contains(char::is_alphabetic));
        let says_more = passage.text.contains(char::is_numeric);
        says_more || words.count() > MAX_PAGE_WORDS
    });
    passages
}
