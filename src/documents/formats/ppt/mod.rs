//! PPT: the slides of `PowerPoint` 97 to 2003 in the order in which they are shown, with their titles
//! as headings, and their speaker notes.
//!
//! A file keeps the slides of earlier savings. Which of them count is told by lists of what changed,
//! the last of which comes first.

mod records;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use super::compound::{CompoundFile, u32_at};
use super::flow::Flow;
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::limits::MAX_UNPACKED_BYTES;
use crate::documents::structure::Places;
use records::{Record, Records};

const DOCUMENT: u16 = 0x03e8;
const SLIDE: u16 = 0x03ee;
const SLIDE_NUMBERS: u16 = 0x03f3;
const NOTES: u16 = 0x03f0;
const NOTES_NUMBERS: u16 = 0x03f1;
const SLIDE_LIST: u16 = 0x0ff0;
const TEXT_KIND: u16 = 0x0f9f;
const TEXT: u16 = 0x0fa0;
const SMALL_TEXT: u16 = 0x0fa8;
const EDIT: u16 = 0x0ff5;
const PLACES: u16 = 0x1772;
/// Instances of lists of slides.
const SLIDES: u16 = 0;
const NOTES_OF_SLIDES: u16 = 2;
/// Records within records. Groups of shapes make a few dozen.
const MAX_DEPTH: usize = 256;
/// Kinds of text.
const TITLE: u32 = 0;
const OTHER: u32 = 4;
const CENTRED_TITLE: u32 = 6;
/// What the file of a presentation with a password begins with.
const ENCRYPTED: u32 = 0xf3d1_c4df;

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    let opened = CompoundFile::open(BufReader::new(file)).map_err(ReadError::io(path))?;
    let damaged = |why: &str| ReadError::Damaged { path: path.to_owned(), why: why.to_owned() };
    let Some(mut file) = opened else {
        return Err(damaged("it does not begin as PowerPoint's files do"));
    };
    if file.is_encrypted() {
        return Err(ReadError::Encrypted { path: path.to_owned() });
    }
    let title = file.title().map_err(ReadError::io(path))?;
    let mut stream = |name: &str| stream(&mut file, name).map_err(ReadError::io(path));
    let user = stream("Current User")?;
    let presentation = stream("PowerPoint Document")?;
    if presentation.is_empty() {
        return Err(damaged("its slides are missing; it may be of a version before 97"));
    }
    let deck = Deck::new(&presentation, &user);
    if deck.is_encrypted || u32_at(&user, 12) == Some(ENCRYPTED) {
        return Err(ReadError::Encrypted { path: path.to_owned() });
    }
    Ok(Contents::One(Extract { title, ..deck.read() }))
}

fn stream<R: Read + Seek>(file: &mut CompoundFile<R>, name: &str) -> std::io::Result<Vec<u8>> {
    file.stream(name, MAX_UNPACKED_BYTES).map(Option::unwrap_or_default)
}

/// A presentation, and where its parts are.
struct Deck<'f> {
    stream: &'f [u8],
    /// Where each part is, by its number.
    places: HashMap<u32, usize>,
    document: u32,
    is_encrypted: bool,
    /// Bytes of records that may still be looked at: parts do not overlap, so those of whole files
    /// are looked at once.
    room: usize,
}

/// A slide, or the notes of one.
struct Listed<'f> {
    part: u32,
    slide: u32,
    /// The texts of its title and its points.
    texts: Vec<Text<'f>>,
}

/// A text, in 16 or 8 bits a letter.
#[derive(Clone, Copy)]
struct Text<'f> {
    kind: u32,
    is_small: bool,
    bytes: &'f [u8],
}

impl<'f> Deck<'f> {
    fn new(stream: &'f [u8], user: &[u8]) -> Self {
        let mut deck = Self {
            stream,
            places: HashMap::new(),
            document: 0,
            is_encrypted: false,
            room: stream.len(),
        };
        let mut edit = u32_at(user, 16).unwrap_or(0) as usize;
        let mut seen = HashSet::new();
        while seen.insert(edit)
            && let Some(record) = Record::at(stream, edit).filter(|it| it.kind == EDIT)
        {
            let field = |at| u32_at(record.content, at).unwrap_or(0);
            if seen.len() == 1 {
                deck.document = field(16);
                deck.is_encrypted = field(28) > 0;
            }
            deck.take_places(field(12) as usize);
            edit = field(8) as usize;
        }
        deck
    }

    /// Runs of parts: the number of the first and how many they are in one word, then their places.
    /// Those that are known already are newer.
    fn take_places(&mut self, offset: usize) {
        let Some(list) = Record::at(self.stream, offset).filter(|it| it.kind == PLACES) else {
            return;
        };
        let Some(room) = self.room.checked_sub(list.content.len()) else { return };
        self.room = room;
        let mut words = list.content.chunks_exact(4);
        let mut next = || words.next().and_then(|word| u32_at(word, 0));
        while let Some(run) = next() {
            for part in (run & 0x000f_ffff..).take((run >> 20) as usize) {
                let Some(place) = next() else { return };
                self.places.entry(part).or_insert(place as usize);
            }
        }
    }

    fn part(&self, number: u32) -> Option<Record<'f>> {
        Record::at(self.stream, *self.places.get(&number)?)
    }

    fn read(mut self) -> Extract {
        let mut flow = Flow::default();
        let document = self.part(self.document).filter(|it| it.kind == DOCUMENT);
        let slides = document.map_or_else(Vec::new, |document| listed(document, SLIDES));
        if slides.is_empty() {
            // The lists are damaged: all slides that are there, in the order of the file.
            let slides = Records::of(self.stream).filter(|record| record.kind == SLIDE);
            for (number, slide) in (1..).zip(slides) {
                let texts = self.texts(slide);
                write_slide(&mut flow, number, &texts);
            }
            return flow.finish(Places::Slides);
        }
        let notes = document.map_or_else(Vec::new, |document| listed(document, NOTES_OF_SLIDES));
        let notes: Vec<Record> = notes.iter().filter_map(|notes| self.part(notes.part)).collect();
        let notes: HashMap<u32, Record> = notes
            .into_iter()
            .filter(|notes| notes.kind == NOTES)
            .filter_map(|notes| {
                let numbers = notes.records().find(|record| record.kind == NOTES_NUMBERS)?;
                Some((u32_at(numbers.content, 0)?, notes))
            })
            .collect();
        for (number, slide) in (1..).zip(slides) {
            let drawn = self.part(slide.part).filter(|it| it.kind == SLIDE);
            let mut drawn = drawn.map_or_else(Vec::new, |drawn| self.texts(drawn));
            let mut texts = slide.texts;
            // A shape may have the text of the list, too.
            let known: HashSet<&[u8]> = texts.iter().map(|text| text.bytes).collect();
            drawn.retain(|text| !known.contains(text.bytes));
            texts.append(&mut drawn);
            write_slide(&mut flow, number, &texts);
            if let Some(notes) = notes.get(&slide.slide) {
                let texts = self.texts(*notes);
                write_notes(&mut flow, &texts);
            }
        }
        flow.finish(Places::Slides)
    }

    /// All texts in a record.
    fn texts(&mut self, record: Record<'f>) -> Vec<Text<'f>> {
        let Some(room) = self.room.checked_sub(record.content.len()) else { return Vec::new() };
        self.room = room;
        let mut texts = Vec::new();
        let mut kind = OTHER;
        let mut open = vec![record.records()];
        while let Some(records) = open.last_mut() {
            let Some(record) = records.next() else {
                open.pop();
                continue;
            };
            if record.is_container && open.len() < MAX_DEPTH {
                kind = OTHER;
                open.push(record.records());
            } else {
                texts.extend(text(record, &mut kind));
            }
        }
        texts
    }
}

/// The text of a record, if it is one. `kind` is that of the texts that follow.
fn text<'f>(record: Record<'f>, kind: &mut u32) -> Option<Text<'f>> {
    match record.kind {
        TEXT_KIND => *kind = u32_at(record.content, 0).unwrap_or(OTHER),
        TEXT => return Some(Text { kind: *kind, is_small: false, bytes: record.content }),
        SMALL_TEXT => return Some(Text { kind: *kind, is_small: true, bytes: record.content }),
        _ => {}
    }
    None
}

/// The slides, or the notes, in a list of the document.
fn listed(document: Record<'_>, instance: u16) -> Vec<Listed<'_>> {
    let mut listed: Vec<Listed> = Vec::new();
    let is_list = |record: &Record| record.kind == SLIDE_LIST && record.instance == instance;
    let mut kind = OTHER;
    for record in document.records().filter(is_list).flat_map(Record::records) {
        if record.kind == SLIDE_NUMBERS {
            let field = |at| u32_at(record.content, at).unwrap_or(0);
            listed.push(Listed { part: field(0), slide: field(12), texts: Vec::new() });
        } else if let Some(text) = text(record, &mut kind)
            && let Some(slide) = listed.last_mut()
        {
            slide.texts.push(text);
        }
    }
    listed
}

impl Text<'_> {
    fn is_title(self) -> bool {
        matches!(self.kind, TITLE | CENTRED_TITLE)
    }

    /// Its paragraphs that say something: a `*` stands for a date or the slide's number.
    fn paragraphs(self) -> Vec<String> {
        let text: String = if self.is_small {
            // The lower half of Unicode's first 256 letters.
            self.bytes.iter().map(|&byte| char::from(byte)).collect()
        } else {
            let units = self.bytes.chunks_exact(2);
            let units = units.map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
            char::decode_utf16(units).map(|unit| unit.unwrap_or('\u{fffd}')).collect()
        };
        let paragraphs = text.split('\r').filter(|text| text.contains(char::is_alphanumeric));
        paragraphs.map(str::to_owned).collect()
    }
}

fn write_slide(flow: &mut Flow, number: u32, texts: &[Text]) {
    flow.leave_headings();
    flow.at(number);
    let titles: Vec<String> =
        texts.iter().filter(|text| text.is_title()).flat_map(|text| text.paragraphs()).collect();
    if !titles.is_empty() {
        flow.begin_heading(1);
        flow.text(&titles.join(" "));
        flow.end_heading();
    }
    for text in texts.iter().filter(|text| !text.is_title()) {
        for paragraph in text.paragraphs() {
            if text.kind == OTHER {
                write_lines(flow, &paragraph);
                flow.end_block();
            } else {
                flow.begin_item(1, "-");
                write_lines(flow, &paragraph);
                flow.end_item();
            }
        }
    }
}

fn write_notes(flow: &mut Flow, texts: &[Text]) {
    for (at, paragraph) in texts.iter().flat_map(|text| text.paragraphs()).enumerate() {
        if at == 0 {
            flow.text("Notes: ");
        }
        write_lines(flow, &paragraph);
        flow.end_block();
    }
}

fn write_lines(flow: &mut Flow, paragraph: &str) {
    for (at, line) in paragraph.split('\u{b}').enumerate() {
        if at > 0 {
            flow.line_break();
        }
        flow.text(line);
    }
}
