//! Programs that help with reading: one that recognizes text in pictures, and those that the user
//! names for formats of which there is no reader here, or a better one elsewhere.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Markup;
use super::clean::clean;
use super::contents::Extract;
use super::embedded::without_data;
use super::error::ReadError;
use super::formats::plain_text;
use super::limits::MAX_DOCUMENT_BYTES;
use super::ocr::Ocr;
use super::process::{Bounds, output_of};
use super::structure::{Places, Structure};

/// For one file.
const MAX_TIME: Duration = Duration::from_mins(2);
/// Tells the version of a program from [`READER`](super::READER).
const PROGRAM: u32 = 1 << 31;
/// Stands for the file in a command.
const FILE: &str = "{}";

/// The programs that help with reading.
#[derive(Default)]
pub struct Programs {
    /// Recognizes text in pictures.
    pub ocr: Option<Ocr>,
    /// Each reads the files of an extension.
    pub readers: Vec<ProgramReader>,
    /// Is set when the run is interrupted.
    pub stop: Option<&'static AtomicBool>,
}

/// Reads the files of an extension by running a program, whose output is their text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramReader {
    /// In lower case, without the dot.
    extension: String,
    /// The program and its arguments, in some of which `{}` stands for the file.
    command: Vec<String>,
}

/// What is wrong with the description of a [`ProgramReader`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; expected EXTENSION=COMMAND, such as 'odg=soffice-to-text {{}}'")]
pub struct NoProgramReader(&'static str);

impl FromStr for ProgramReader {
    type Err = NoProgramReader;

    /// `EXTENSION=COMMAND`. The command is cut into words as a shell does, but no shell runs it.
    fn from_str(text: &str) -> Result<Self, NoProgramReader> {
        let (extension, command) =
            text.split_once('=').ok_or(NoProgramReader("there is no `=`"))?;
        let extension = extension.trim().trim_start_matches('.').to_lowercase();
        if extension.is_empty() || !extension.chars().all(char::is_alphanumeric) {
            return Err(NoProgramReader("the extension is not one of letters and digits"));
        }
        let command = shlex::split(command).ok_or(NoProgramReader("a quotation mark is open"))?;
        match command.first() {
            Some(program) if !program.is_empty() && program != FILE => {
                Ok(Self { extension, command })
            }
            _ => Err(NoProgramReader("there is no program")),
        }
    }
}

impl Programs {
    /// No programs.
    pub fn none() -> &'static Self {
        static NONE: Programs = Programs { ocr: None, readers: Vec::new(), stop: None };
        &NONE
    }

    /// What reads the file at `path`, if that is a program.
    pub(super) fn reader_of(&self, path: &Path) -> Option<&ProgramReader> {
        self.readers.iter().find(|reader| reader.reads(path))
    }

    /// Whether a version is that of a program.
    pub(crate) fn has_read(version: u32) -> bool {
        version & PROGRAM != 0
    }

    /// The text of the file at `path`, which `reader` reads.
    pub(super) fn read(&self, reader: &ProgramReader, path: &Path) -> Result<Extract, ReadError> {
        let stop = || self.stop.is_some_and(|stop| stop.load(Ordering::SeqCst));
        let bounds = Bounds { time: MAX_TIME, output: MAX_DOCUMENT_BYTES as u64, stop: &stop };
        let failed = |why| ReadError::Program { path: path.to_owned(), why };
        // A relative path could be taken for an option.
        let path = &std::path::absolute(path).map_err(ReadError::io(path))?;
        let output = output_of(reader.command_for(path), Vec::new(), &bounds).map_err(failed)?;
        let (text, omitted) = plain_text::decoded(&output, None, path)?;
        let mut extract = extract(&text);
        extract.omitted = omitted;
        if let Some((rest, left_out)) = without_data(&extract.text)
            && extract.structure.places == Places::Nowhere
        {
            (extract.text, extract.data) = (rest, left_out);
        }
        Ok(extract)
    }
}

impl ProgramReader {
    /// Whether the name of `path` has its extension, in any case.
    pub(super) fn reads(&self, path: &Path) -> bool {
        let extension = path.extension().and_then(OsStr::to_str);
        extension.is_some_and(|it| it.to_lowercase() == self.extension)
    }

    /// In messages.
    pub(super) fn program(&self) -> &str {
        &self.command[0]
    }

    /// What [`READER`](super::READER) is for files that a program reads: another one may read them
    /// otherwise.
    pub(super) fn version(&self) -> u32 {
        let hash = blake3::hash(self.command.join("\0").as_bytes());
        let [a, b, c, d, ..] = *hash.as_bytes();
        PROGRAM | u32::from_le_bytes([a, b, c, d])
    }

    fn command_for(&self, path: &Path) -> Command {
        let mut command = Command::new(&self.command[0]);
        for argument in &self.command[1..] {
            let mut parts = argument.split(FILE);
            let mut whole = parts.next().unwrap_or_default().to_owned().into();
            for part in parts {
                let whole: &mut std::ffi::OsString = &mut whole;
                whole.push(path);
                whole.push(part);
            }
            command.arg(whole);
        }
        if !self.command.iter().any(|argument| argument.contains(FILE)) {
            command.arg(path);
        }
        command
    }
}

/// What a program printed. Form feeds end pages, as `pdftotext` and others have it; lines are those of
/// the output and not of the file, so they are no places.
fn extract(text: &str) -> Extract {
    let pages: Vec<&str> = text.trim_end_matches('\x0c').split('\x0c').collect();
    let mut text = String::new();
    let mut marks = Vec::new();
    for (number, page) in (1..).zip(&pages) {
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        marks.push((text.len(), number));
        text.push_str(&clean(page));
    }
    let places = if pages.len() > 1 { Places::Pages(marks) } else { Places::Nowhere };
    let structure = Structure { places, ..Structure::default() };
    Extract { text, markup: Markup::Plain, structure, ..Extract::default() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn reader(text: &str) -> Result<ProgramReader, String> {
        text.parse().map_err(|error: NoProgramReader| error.to_string())
    }

    #[test]
    fn a_reader_is_an_extension_and_a_command() {
        let found = reader(".DWG=dwg2txt --lang 'tiếng Việt' --in={} -").unwrap();
        assert_eq!(found.extension, "dwg");
        let command = found.command_for(Path::new("/a b/$(x);'.dwg"));
        let arguments: Vec<_> = command.get_args().map(|it| it.to_str().unwrap()).collect();
        assert_eq!(arguments, ["--lang", "tiếng Việt", "--in=/a b/$(x);'.dwg", "-"]);
        // Where nothing stands for the file, it comes last.
        let command = reader("x=cat").unwrap().command_for(Path::new("/a"));
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["/a"]);
        for (text, why) in [
            ("dwg2txt {}", "there is no `=`"),
            ("tar.gz=x {}", "the extension is not one of letters and digits"),
            ("=x {}", "the extension is not one of letters and digits"),
            ("x=cat 'a", "a quotation mark is open"),
            ("x= ", "there is no program"),
            ("x={}", "there is no program"),
        ] {
            assert!(reader(text).unwrap_err().starts_with(why), "{text}");
        }
    }

    #[test]
    fn form_feeds_end_pages() {
        let two = extract("một\n\x0chai\n\x0c");
        assert_eq!(two.text, "một\n\n\nhai\n");
        assert_eq!(two.structure.places, Places::Pages(vec![(0, 1), (8, 2)]));
        assert_eq!(extract("một\nhai\n\x0c").structure.places, Places::Nowhere);
    }

    #[test]
    fn another_command_is_another_reader() {
        let version = |text: &str| reader(text).unwrap().version();
        assert_eq!(version("dwg=a {}"), version("DWG=a  {}"));
        assert_ne!(version("dwg=a {}"), version("dwg=a -x {}"));
        assert!(
            Programs::has_read(version("dwg=a {}"))
                && !Programs::has_read(crate::documents::READER)
        );
    }
}
