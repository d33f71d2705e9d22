//! Text in pictures: scanned pages and photographs, read by an installed `tesseract`.
//!
//! Recognizing a page takes seconds, so its text is kept by the content of the file, and a file that
//! was renamed, or is indexed elsewhere, is not recognized again.

mod job;
mod page;
mod permits;
mod picture;

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::worker::{Input, Silence, Worker};
pub use job::JOB;
use job::{MAX_PAGE_TIME, Order, Recognized};
use permits::permits;

/// Languages that are recognized unless told otherwise.
pub const LANGUAGES: &str = "vie+eng";

/// Is told the file, the pages that are done, and all pages to recognize; says whether to go on.
pub type Watch = Box<dyn Fn(&Path, usize, usize) -> ControlFlow<()> + Send + Sync>;

/// Recognizes text in pictures. Nothing is started before the first picture.
pub struct Ocr {
    program: PathBuf,
    /// As `tesseract -l` takes them.
    languages: String,
    /// Where the text of pages is kept, if anywhere.
    cache: Option<PathBuf>,
    watch: Watch,
    /// The program's version, once it is known to have the languages.
    version: OnceLock<Result<String, NoOcr>>,
}

/// Why pictures are not recognized.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoOcr {
    /// The user does not want it.
    #[error("recognition is off (`--ocr off`)")]
    Off,
    /// It is part of another file.
    #[error("pictures in messages are not recognized; save it as a file of its own")]
    Attached,
    /// There is no `tesseract`.
    #[error("to have it recognized, install tesseract: `{}`", install("eng"))]
    NotInstalled {
        /// The program that was looked for.
        program: PathBuf,
    },
    /// It lacks a language.
    #[error("tesseract has no data for the language `{language}`: `{}`", install(.language))]
    NoLanguage {
        /// Its code for tesseract.
        language: String,
    },
    /// It went wrong.
    #[error("recognition failed: {0}")]
    Failed(String),
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

/// The command that installs tesseract, with a language.
fn install(language: &str) -> String {
    let debian =
        |language: &str| format!("tesseract-ocr-{}", language.to_lowercase().replace('_', "-"));
    match std::env::consts::OS {
        "macos" => "brew install tesseract tesseract-lang".to_owned(),
        "windows" => "winget install UB-Mannheim.TesseractOCR".to_owned(),
        _ if language == "eng" => {
            format!("sudo apt install tesseract-ocr {}", debian("vie"))
        }
        _ => format!("sudo apt install {}", debian(language)),
    }
}

impl Ocr {
    /// Keeps what it recognizes under `cache`, which is made when it is needed.
    pub fn new(program: PathBuf, languages: String, cache: Option<PathBuf>, watch: Watch) -> Self {
        Self { program, languages, cache, watch, version: OnceLock::new() }
    }

    /// The version of the program, if it is there and has the languages.
    pub fn version(&self) -> Result<&str, NoOcr> {
        self.version.get_or_init(|| self.find()).as_deref().map_err(Clone::clone)
    }

    fn find(&self) -> Result<String, NoOcr> {
        let printed = |argument: &str| {
            let output = Command::new(&self.program).arg(argument).output().ok()?;
            // Old versions print both on standard error.
            let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
            output.status.success().then(|| String::from_utf8_lossy(&text).into_owned())
        };
        let missing = || NoOcr::NotInstalled { program: self.program.clone() };
        let version = printed("--version").ok_or_else(missing)?;
        let version = version.lines().next().unwrap_or_default().to_owned();
        let installed = printed("--list-langs").ok_or_else(missing)?;
        match self
            .languages
            .split('+')
            .find(|&one| !installed.lines().any(|line| line.trim() == one))
        {
            Some(language) => Err(NoOcr::NoLanguage { language: language.to_owned() }),
            None => Ok(version),
        }
    }

    /// The text of a picture file.
    pub fn picture(&self, file: &[u8], path: &Path) -> Result<String, NoOcr> {
        let mut texts = self.recognize(file, None, path)?;
        texts.pop().unwrap_or_else(|| Err("nothing came of it".to_owned())).map_err(NoOcr::Failed)
    }

    /// The text of pages of a PDF file, counted from 1 and ascending, or why there is none.
    pub fn pages(
        &self,
        file: &[u8],
        pages: &[u32],
        path: &Path,
    ) -> Result<Vec<Result<String, String>>, NoOcr> {
        self.recognize(file, Some(pages), path)
    }

    fn recognize(
        &self,
        file: &[u8],
        pages: Option<&[u32]>,
        path: &Path,
    ) -> Result<Vec<Result<String, String>>, NoOcr> {
        let version = self.version()?;
        let hash = blake3::hash(file);
        let all = pages.unwrap_or(&[1]);
        let kept = |page: u32| Some(self.cache.as_ref()?.join(self.name(&hash, version, page)));
        let mut texts: Vec<Option<Result<String, String>>> =
            all.iter().map(|&page| fs::read_to_string(kept(page)?).ok().map(Ok)).collect();
        let new: Vec<u32> = all
            .iter()
            .zip(&texts)
            .filter(|(_, text)| text.is_none())
            .map(|(&page, _)| page)
            .collect();
        if !new.is_empty() {
            let permits = permits(new.len());
            let order = Order {
                program: self.program.clone(),
                languages: self.languages.clone(),
                pages: pages.map(|_| new.clone()),
                threads: permits.count(),
            };
            self.run(&order, file, new.len(), path, &mut |Recognized { page, text }| {
                if let (Ok(text), Some(kept)) = (&text, kept(page)) {
                    // What cannot be kept is recognized again.
                    let _ = keep(&kept, text);
                }
                if let Ok(at) = all.binary_search(&page) {
                    texts[at] = Some(text);
                }
            })?;
        }
        let lost = || Err("its reader failed".to_owned());
        Ok(texts.into_iter().map(|text| text.unwrap_or_else(lost)).collect())
    }

    fn run(
        &self,
        order: &Order,
        file: &[u8],
        count: usize,
        path: &Path,
        found: &mut dyn FnMut(Recognized),
    ) -> Result<(), NoOcr> {
        let failed = |why: &dyn std::fmt::Display| NoOcr::Failed(why.to_string());
        let mut input = serde_json::to_vec(order).map_err(|error| failed(&error))?;
        input.push(b'\n');
        input.extend(file);
        let worker = Worker::start(&JOB, Input::Bytes(input)).map_err(|error| failed(&error))?;
        for done in 0..count {
            if (self.watch)(path, done, count).is_break() {
                return Err(NoOcr::Interrupted);
            }
            // Drawing the page takes time too.
            match worker.next::<Recognized>(2 * MAX_PAGE_TIME) {
                Ok(recognized) => found(recognized),
                Err(Silence::TimedOut) => return Err(failed(&"it takes too long")),
                // What is missing is told page by page.
                Err(Silence::Ended) => break,
            }
        }
        let _ = (self.watch)(path, count, count);
        Ok(())
    }

    /// The name of a page's text: it depends on all that the text depends on.
    fn name(&self, file: &blake3::Hash, version: &str, page: u32) -> String {
        let key = format!("{}\n{version}\n{}\n{page}", file.to_hex(), self.languages);
        format!("{}.txt", blake3::hash(key.as_bytes()).to_hex())
    }
}

/// Writes a whole file or none.
fn keep(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let mut file = fs::File::create(&partial)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&partial, path)
}

/// The paragraphs of recognized text: its lines, joined between empty ones. What has no letter or
/// digit is dirt on the glass.
pub(crate) fn paragraphs(text: &str) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    for line in text.lines().map(str::trim) {
        let last = paragraphs.len() - 1;
        match (line.is_empty(), paragraphs[last].is_empty()) {
            (true, false) => paragraphs.push(String::new()),
            (true, true) => {}
            (false, true) => paragraphs[last].push_str(line),
            (false, false) => {
                paragraphs[last].push(' ');
                paragraphs[last].push_str(line);
            }
        }
    }
    paragraphs.retain(|paragraph| paragraph.chars().any(char::is_alphanumeric));
    paragraphs
}
