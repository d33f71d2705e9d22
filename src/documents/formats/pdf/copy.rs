//! Writes some pages of a PDF file as a file of their own, with changes.
//!
//! The library looks every page up in the list of all pages, several times, so a file of many pages
//! takes time with the square of their number. A file of few pages does not. And what the library
//! does not read of a page (fields, notes) can be written into the copy's pages.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;

use unpdf::parser::backend::{ObjectId, PageBox};
use unpdf::parser::raw::{PdfDict, PdfObject, PdfStream, RawDocument};

/// Arrays and dictionaries inside each other, beyond which nothing is copied.
const MAX_DEPTH: usize = 64;
/// Entries that lead away from what a page shows.
const NOT_COPIED: [&[u8]; 4] = [b"Parent", b"PieceInfo", b"Metadata", b"StructParents"];

/// A file under construction.
pub(super) struct Copy<'d> {
    document: &'d RawDocument,
    /// Numbers in the copy of the objects of the original.
    numbers: HashMap<ObjectId, usize>,
    /// Objects of the original that are still to be copied.
    pending: Vec<ObjectId>,
    /// The objects from number 1 on.
    objects: Vec<Vec<u8>>,
    pages: Vec<usize>,
}

/// A page of the copy.
pub(super) struct PageCopy {
    pub visible: PageBox,
    pub rotation: u16,
    pub resources: PdfDict,
    /// Painted one after the other.
    pub contents: Vec<PdfObject>,
}

/// The numbers of the catalogue and of the list of pages.
const CATALOG: usize = 1;
const PAGES: usize = 2;

impl<'d> Copy<'d> {
    pub fn of(document: &'d RawDocument) -> Self {
        let objects = vec![Vec::new(); PAGES];
        Self { document, numbers: HashMap::new(), pending: Vec::new(), objects, pages: Vec::new() }
    }

    /// A new object, as a reference to it.
    pub fn add(&mut self, object: &PdfObject) -> PdfObject {
        let bytes = self.written(object);
        self.objects.push(bytes);
        // Written as a number of the copy, since no object of the original has this generation.
        PdfObject::Reference(self.objects.len() as u32, OWN)
    }

    pub fn add_page(&mut self, page: PageCopy) {
        let contents = page.contents.into_iter().map(|object| match object {
            PdfObject::Stream(_) => self.add(&object),
            other => other,
        });
        let contents = PdfObject::Array(contents.collect());
        let visible = page.visible;
        let corners = [visible.llx, visible.lly, visible.urx, visible.ury];
        let media = corners.iter().map(|&x| PdfObject::Real(f64::from(x))).collect();
        let entries = [
            ("Type", name("Page")),
            ("MediaBox", PdfObject::Array(media)),
            ("Rotate", PdfObject::Integer(page.rotation.into())),
            ("Resources", PdfObject::Dict(page.resources)),
            ("Contents", contents),
        ];
        let page = self.add(&dict(entries));
        self.pages.push(page.as_reference().map_or(0, |(number, _)| number as usize));
    }

    /// The file.
    pub fn finish(mut self) -> Vec<u8> {
        while let Some(id) = self.pending.pop() {
            let number = self.numbers[&id];
            let object = self.document.get_object(id).unwrap_or(&PdfObject::Null);
            self.objects[number - 1] = self.written(object);
        }
        let kids: Vec<String> = self.pages.iter().map(|number| format!("{number} 0 R")).collect();
        let (count, kids) = (kids.len(), kids.join(" "));
        self.objects[CATALOG - 1] = format!("<</Type/Catalog/Pages {PAGES} 0 R>>").into_bytes();
        self.objects[PAGES - 1] =
            format!("<</Type/Pages/Count {count}/Kids[{kids}]>>").into_bytes();
        let mut file = b"%PDF-1.7\n".to_vec();
        let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", self.objects.len() + 1);
        for (number, object) in (1..).zip(&self.objects) {
            let _ = writeln!(table, "{:010} 00000 n ", file.len());
            file.extend(format!("{number} 0 obj\n").into_bytes());
            file.extend(object);
            file.extend(b"\nendobj\n");
        }
        let start = file.len();
        let size = self.objects.len() + 1;
        file.extend(table.into_bytes());
        file.extend(
            format!("trailer\n<</Size {size}/Root {CATALOG} 0 R>>\nstartxref\n{start}\n%%EOF")
                .into_bytes(),
        );
        file
    }

    fn number(&mut self, id: ObjectId) -> usize {
        if id.1 == OWN {
            return id.0 as usize;
        }
        if let Some(&number) = self.numbers.get(&id) {
            return number;
        }
        self.objects.push(Vec::new());
        self.numbers.insert(id, self.objects.len());
        self.pending.push(id);
        self.objects.len()
    }

    fn written(&mut self, object: &PdfObject) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(object, 0, &mut bytes);
        bytes
    }

    fn write(&mut self, object: &PdfObject, depth: usize, out: &mut Vec<u8>) {
        match object {
            PdfObject::Reference(number, generation) => {
                let number = self.number((*number, *generation));
                out.extend(format!("{number} 0 R").into_bytes());
            }
            PdfObject::Array(_) | PdfObject::Dict(_) | PdfObject::Stream(_)
                if depth == MAX_DEPTH =>
            {
                out.extend(b"null");
            }
            PdfObject::Array(items) => {
                out.push(b'[');
                for item in items {
                    self.write(item, depth + 1, out);
                    out.push(b' ');
                }
                out.push(b']');
            }
            PdfObject::Dict(entries) => self.write_dict(entries, depth, out),
            PdfObject::Stream(stream) => {
                // Of pictures, only where they stand counts.
                let is_image = stream.dict.get(b"Subtype".as_slice()) == Some(&name("Image"));
                let data: &[u8] = if is_image { &[] } else { &stream.raw_data };
                let mut entries = stream.dict.clone();
                entries.insert(b"Length".to_vec(), PdfObject::Integer(data.len() as i64));
                if is_image {
                    entries
                        .retain(|key, _| !matches!(key.as_slice(), b"SMask" | b"Mask" | b"Filter"));
                }
                self.write_dict(&entries, depth, out);
                out.extend(b"stream\n");
                out.extend(data);
                out.extend(b"\nendstream");
            }
            other => write_simple(other, out),
        }
    }

    fn write_dict(&mut self, entries: &PdfDict, depth: usize, out: &mut Vec<u8>) {
        out.extend(b"<<");
        for (key, value) in entries {
            if !NOT_COPIED.contains(&key.as_slice()) {
                write_name(key, out);
                out.push(b' ');
                self.write(value, depth + 1, out);
            }
        }
        out.extend(b">>");
    }
}

/// The generation of references to objects that are only in the copy.
const OWN: u16 = u16::MAX;

/// Writes what holds no other object.
fn write_simple(object: &PdfObject, out: &mut Vec<u8>) {
    match object {
        PdfObject::Bool(value) => out.extend(value.to_string().into_bytes()),
        PdfObject::Integer(value) => out.extend(value.to_string().into_bytes()),
        PdfObject::Real(value) => write_real(*value, out),
        PdfObject::Name(value) => write_name(value, out),
        PdfObject::Str(value) => write_string(value, out),
        _ => out.extend(b"null"),
    }
}

pub(super) fn write_real(value: f64, out: &mut Vec<u8>) {
    let value = if value.is_finite() { value } else { 0.0 };
    // Never in scientific notation, which PDF does not have.
    let _ = write!(out, "{value:.6}");
}

pub(super) fn write_name(name: &[u8], out: &mut Vec<u8>) {
    out.push(b'/');
    for &byte in name {
        if byte.is_ascii_alphanumeric() || b"_-+.*,:'".contains(&byte) {
            out.push(byte);
        } else {
            let _ = write!(out, "#{byte:02x}");
        }
    }
}

pub(super) fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'<');
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out.push(b'>');
}

pub(super) fn name(name: &str) -> PdfObject {
    PdfObject::Name(name.as_bytes().to_vec())
}

pub(super) fn dict<const N: usize>(entries: [(&str, PdfObject); N]) -> PdfObject {
    PdfObject::Dict(
        entries.into_iter().map(|(key, value)| (key.as_bytes().to_vec(), value)).collect(),
    )
}

pub(super) fn stream(entries: PdfDict, raw_data: Vec<u8>) -> PdfObject {
    PdfObject::Stream(PdfStream { dict: entries, raw_data })
}
