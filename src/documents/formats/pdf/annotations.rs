//! What is filled in and noted on a page: the values of form fields, text boxes and stamps, which are
//! written into the page where they stand, and the notes, which follow it.

use std::collections::HashMap;
use std::fmt::Write as _;

use unpdf::parser::backend::PageId;
use unpdf::parser::raw::{PdfDict, PdfObject, RawDocument};

use super::copy::{Copy, dict, name, stream};
use super::text_string::text_string;

/// Parents that a field may have; more are a circle.
const MAX_PARENTS: usize = 32;
const HIDDEN: i64 = 2;
/// Flags of buttons: one that is only pressed.
const PUSH_BUTTON: i64 = 1 << 16;
/// The name of the font that values are written in, and how wide its letters are, in ems.
const FONT: &str = "FieldValues";
const LETTER: f32 = 0.5;
const MAX_FONT_SIZE: f32 = 12.0;
/// Between lines, in font sizes.
const LEADING: f32 = 1.2;

/// What is to be painted into a page, and what follows it.
#[derive(Default)]
pub(super) struct Annotations {
    /// Operators of a content stream.
    pub content: String,
    /// Appearances that the content paints, with their names.
    pub appearances: Vec<(String, PdfObject)>,
    pub notes: Vec<String>,
    font: Font,
}

/// The letters of the values so far; their codes are their positions.
#[derive(Default)]
struct Font {
    letters: Vec<char>,
    codes: HashMap<char, usize>,
}

/// A rectangle on the page.
#[derive(Clone, Copy)]
struct Area {
    left: f32,
    bottom: f32,
    right: f32,
    top: f32,
}

impl Annotations {
    pub fn of(document: &RawDocument, page: PageId) -> Self {
        let mut annotations = Self::default();
        let Ok(page) = document.get_dict(page) else { return annotations };
        let list = page.get(b"Annots".as_slice()).map(|list| document.resolve(list));
        for annotation in list.and_then(PdfObject::as_array).unwrap_or_default() {
            if let Some(entries) = document.resolve(annotation).as_dict() {
                annotations.add(&Reader { document, entries });
            }
        }
        annotations
    }

    fn add(&mut self, annotation: &Reader) {
        if annotation.integer(b"F").unwrap_or(0) & HIDDEN != 0 {
            return;
        }
        let kind = annotation.name(b"Subtype").unwrap_or_default();
        let text = match kind {
            b"Widget" => annotation.field_value(),
            b"FreeText" => annotation.text(b"Contents"),
            _ => None,
        };
        match kind {
            b"Popup" | b"Link" => {}
            b"Widget" | b"FreeText" => match (text, annotation.area()) {
                (Some(text), Some(area)) => self.write(&text, area),
                (Some(text), None) => self.notes.push(text),
                (None, _) => self.paint(annotation),
            },
            _ => {
                if kind == b"Stamp" {
                    self.paint(annotation);
                }
                self.notes.extend(annotation.text(b"Contents"));
            }
        }
    }

    /// Writes a value into its area, in as many lines as it needs.
    fn write(&mut self, text: &str, area: Area) {
        let height = area.top - area.bottom;
        let size = (0.7 * height).clamp(4.0, MAX_FONT_SIZE);
        let fitting = ((area.right - area.left) / (LETTER * size)).max(1.0) as usize;
        let lines = lines(text, fitting);
        // The middle of the letters of a single line is that of its area.
        let first = if lines.len() == 1 && height < 3.0 * size {
            area.bottom + height / 2.0 - 0.35 * size
        } else {
            area.top - size
        };
        for (at, line) in lines.iter().enumerate() {
            let y = first - at as f32 * LEADING * size;
            let codes = self.font.codes(line);
            let _ = writeln!(
                self.content,
                "BT /{FONT} {size:.2} Tf 1 0 0 1 {:.2} {y:.2} Tm <{codes}> Tj ET",
                area.left + 2.0
            );
        }
    }

    /// Paints the annotation as its program has drawn it.
    fn paint(&mut self, annotation: &Reader) {
        let Some((appearance, form)) = annotation.appearance() else { return };
        let (Some(area), Some(drawn)) = (annotation.area(), form.area_of(b"BBox")) else { return };
        let matrix = form.numbers::<6>(b"Matrix").unwrap_or([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        let drawn = drawn.through(matrix);
        let scale = |to: f32, from: f32| if from.abs() < 0.01 { 1.0 } else { to / from };
        let x = scale(area.right - area.left, drawn.right - drawn.left);
        let y = scale(area.top - area.bottom, drawn.top - drawn.bottom);
        let form_name = format!("Appearance{}", self.appearances.len());
        let (left, bottom) = (area.left - drawn.left * x, area.bottom - drawn.bottom * y);
        let _ = writeln!(
            self.content,
            "q {x:.5} 0 0 {y:.5} {left:.3} {bottom:.3} cm /{form_name} Do Q"
        );
        self.appearances.push((form_name, appearance));
    }

    /// Adds the font and the appearances to a page's resources.
    pub fn add_resources(&self, document: &RawDocument, resources: &mut PdfDict, copy: &mut Copy) {
        if !self.font.letters.is_empty() {
            let font = self.font.object(copy);
            insert(document, resources, "Font", FONT, font);
        }
        for (form_name, form) in &self.appearances {
            insert(document, resources, "XObject", form_name, form.clone());
        }
    }
}

/// Puts an object among the resources of a kind.
pub(super) fn insert(
    document: &RawDocument,
    resources: &mut PdfDict,
    kind: &str,
    key: &str,
    object: PdfObject,
) {
    let known = resources.get(kind.as_bytes()).and_then(|known| document.resolve(known).as_dict());
    let mut entries = known.cloned().unwrap_or_default();
    entries.insert(key.as_bytes().to_vec(), object);
    resources.insert(kind.as_bytes().to_vec(), PdfObject::Dict(entries));
}

/// Cuts a text into lines of at most so many letters, between words.
fn lines(text: &str, fitting: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let (mut line, mut letters) = (String::new(), 0);
        for word in paragraph.split_whitespace() {
            let length = word.chars().count();
            if letters > 0 && letters + 1 + length > fitting {
                lines.push(std::mem::take(&mut line));
                letters = 0;
            }
            if letters > 0 {
                line.push(' ');
            }
            line.push_str(word);
            letters += length + 1;
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
    lines
}

/// Reads the entries of an annotation or of its appearance.
struct Reader<'d> {
    document: &'d RawDocument,
    entries: &'d PdfDict,
}

impl<'d> Reader<'d> {
    fn get(&self, key: &[u8]) -> Option<&'d PdfObject> {
        self.entries.get(key).map(|object| self.document.resolve(object))
    }

    fn integer(&self, key: &[u8]) -> Option<i64> {
        self.get(key)?.as_i64()
    }

    fn name(&self, key: &[u8]) -> Option<&'d [u8]> {
        self.get(key)?.as_name()
    }

    fn text(&self, key: &[u8]) -> Option<String> {
        text(self.get(key)?)
    }

    fn numbers<const N: usize>(&self, key: &[u8]) -> Option<[f32; N]> {
        let numbers = self.get(key)?.as_array()?.iter().map(|x| self.document.resolve(x).as_f32());
        let numbers: Vec<f32> = numbers.collect::<Option<_>>()?;
        numbers.try_into().ok()
    }

    fn area_of(&self, key: &[u8]) -> Option<Area> {
        let [a, b, c, d] = self.numbers::<4>(key)?;
        Some(Area { left: a.min(c), bottom: b.min(d), right: a.max(c), top: b.max(d) })
    }

    fn area(&self) -> Option<Area> {
        self.area_of(b"Rect").filter(|area| area.right - area.left > 0.5)
    }

    /// An entry of the field, which a widget inherits from its parents.
    fn inherited(&self, key: &[u8]) -> Option<&'d PdfObject> {
        let mut entries = self.entries;
        for _ in 0..MAX_PARENTS {
            if let Some(object) = entries.get(key) {
                return Some(self.document.resolve(object));
            }
            entries = self.document.resolve(entries.get(b"Parent".as_slice())?).as_dict()?;
        }
        None
    }

    /// What a field holds, if its value says so.
    fn field_value(&self) -> Option<String> {
        let flags = self.inherited(b"Ff").and_then(PdfObject::as_i64).unwrap_or(0);
        let value = self.inherited(b"V");
        match self.inherited(b"FT")?.as_name()? {
            b"Tx" => text(value?).filter(|text| !text.trim().is_empty()),
            b"Ch" => self.choices(value?),
            b"Btn" if flags & PUSH_BUTTON == 0 => {
                let state = self.name(b"AS").or(value.and_then(PdfObject::as_name));
                let is_on = state.is_some_and(|state| state != b"Off");
                Some(if is_on { "[x]" } else { "[ ]" }.to_owned())
            }
            _ => None,
        }
    }

    /// The chosen options, as they are displayed.
    fn choices(&self, value: &PdfObject) -> Option<String> {
        let options = self.inherited(b"Opt").and_then(PdfObject::as_array).unwrap_or_default();
        let pairs = options.iter().filter_map(|option| self.document.resolve(option).as_array());
        let pairs = pairs.filter_map(|pair| Some((text(pair.first()?)?, text(pair.get(1)?)?)));
        let shown: HashMap<String, String> = pairs.collect();
        let chosen: Vec<String> = match value {
            PdfObject::Array(values) => {
                values.iter().filter_map(|value| text(self.document.resolve(value))).collect()
            }
            other => text(other).into_iter().collect(),
        };
        let chosen: Vec<&String> = chosen.iter().map(|one| shown.get(one).unwrap_or(one)).collect();
        let chosen: Vec<&str> = chosen.into_iter().map(String::as_str).collect();
        Some(chosen.join(", ")).filter(|chosen| !chosen.is_empty())
    }

    /// The form that shows the annotation, and its entries.
    fn appearance(&self) -> Option<(PdfObject, Reader<'d>)> {
        let normal = self.get(b"AP")?.as_dict()?.get(b"N".as_slice())?;
        let form = match self.document.resolve(normal) {
            PdfObject::Dict(states) => states.get(self.name(b"AS")?)?,
            _ => normal,
        };
        let entries = &self.document.resolve(form).as_stream()?.dict;
        Some((form.clone(), Reader { document: self.document, entries }))
    }
}

fn text(object: &PdfObject) -> Option<String> {
    match object {
        PdfObject::Str(bytes) | PdfObject::Name(bytes) => Some(text_string(bytes)),
        PdfObject::Stream(stream) => {
            let bytes = unpdf::parser::raw::stream::decompress(stream).ok()?;
            Some(text_string(&bytes))
        }
        _ => None,
    }
    .filter(|text| !text.trim().is_empty())
}

impl Area {
    /// The area around what a matrix makes of this one.
    fn through(self, [a, b, c, d, e, f]: [f32; 6]) -> Self {
        let corners = [
            (self.left, self.bottom),
            (self.right, self.bottom),
            (self.left, self.top),
            (self.right, self.top),
        ];
        let x = corners.map(|(x, y)| a * x + c * y + e);
        let y = corners.map(|(x, y)| b * x + d * y + f);
        let least = |all: [f32; 4]| all.into_iter().fold(f32::INFINITY, f32::min);
        let most = |all: [f32; 4]| all.into_iter().fold(f32::NEG_INFINITY, f32::max);
        Self { left: least(x), bottom: least(y), right: most(x), top: most(y) }
    }
}

impl Font {
    /// The codes of a text, in hexadecimal digits.
    fn codes(&mut self, text: &str) -> String {
        let mut codes = String::new();
        for c in text.chars().filter(|c| !c.is_control()) {
            let code = *self.codes.entry(c).or_insert_with(|| {
                self.letters.push(c);
                self.letters.len()
            });
            let _ = write!(codes, "{:04x}", code & 0xffff);
        }
        codes
    }

    /// The font: it names its letters and is embedded nowhere.
    fn object(&self, copy: &mut Copy) -> PdfObject {
        let mut map =
            "begincmap 1 begincodespacerange <0000> <ffff> endcodespacerange\n".to_owned();
        for (at, letter) in self.letters.iter().enumerate().take(0xffff) {
            let _ = write!(map, "1 beginbfchar <{:04x}> <", at + 1);
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let _ = write!(map, "{unit:04x}");
            }
            map.push_str("> endbfchar\n");
        }
        map.push_str("endcmap");
        let unicode = copy.add(&stream(PdfDict::new(), map.into_bytes()));
        let text = |text: &str| PdfObject::Str(text.as_bytes().to_vec());
        let system = dict([
            ("Registry", text("Adobe")),
            ("Ordering", text("Identity")),
            ("Supplement", PdfObject::Integer(0)),
        ]);
        let letters = dict([
            ("Type", name("Font")),
            ("Subtype", name("CIDFontType2")),
            ("BaseFont", name("Values")),
            ("CIDSystemInfo", system),
            ("DW", PdfObject::Integer((1000.0 * LETTER) as i64)),
        ]);
        let letters = copy.add(&letters);
        copy.add(&dict([
            ("Type", name("Font")),
            ("Subtype", name("Type0")),
            ("BaseFont", name("Values")),
            ("Encoding", name("Identity-H")),
            ("DescendantFonts", PdfObject::Array(vec![letters])),
            ("ToUnicode", unicode),
        ]))
    }
}
