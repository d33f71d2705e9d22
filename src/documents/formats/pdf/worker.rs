//! Reads the pages of a PDF file, in a process of its own where the tool is the one that runs.
//!
//! The library that knows PDF is careful, but it follows nested objects by recursion, and a
//! process whose stack is full cannot go on. So the tool starts itself once more for each PDF
//! file, with limits on memory, and ends that process if a page takes forever. Elsewhere, as in
//! tests, a thread has to do.

#![allow(unsafe_code, reason = "a system call limits what a worker may take")]

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use serde::{Deserialize, Serialize};
use unpdf::{Error, PageStreamOptions, ParseEvent, ParseOptions, PdfParser};

use super::{MAX_TEXT, Sheet, title};
use crate::documents::limits::MAX_PDF_BYTES;

/// The first argument of the tool when it is to read a PDF file for itself.
const ARGUMENT: &str = "__read-pdf";
/// Set in the environment of such a process: it starts no other.
const MARK: &str = "RAG_QUERY_PDF_WORKER";
/// Stack of the thread that reads.
const STACK: usize = 64 << 20;
/// Memory that the process may take, besides eight times the file's size.
#[cfg(target_os = "linux")]
const MEMORY: u64 = 2 << 30;

/// What the reader tells, in this order: a title, pages, and how it ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    Title(Option<String>),
    Page(Sheet),
    /// A page that cannot be read; the others can.
    Failed,
    Done,
    Encrypted,
    Damaged(String),
}

/// A reader at work.
pub(crate) struct Worker {
    /// Ends without [`Message::Done`] if the reader did.
    pub messages: Receiver<Message>,
    process: Option<Child>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It may have ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Worker {
    /// Begins to read a file.
    pub fn start(path: &Path) -> std::io::Result<Self> {
        let tool = std::env::current_exe()?;
        // A program of the tool's name that does not call `main` would start itself without end.
        let is_worker = std::env::var_os(MARK).is_some();
        if tool.file_stem().is_some_and(|name| name == env!("CARGO_PKG_NAME")) && !is_worker {
            Self::process(Command::new(tool).arg(ARGUMENT).arg(path).env(MARK, "1"))
        } else {
            let mut bytes = Vec::new();
            File::open(path)?.take(MAX_PDF_BYTES as u64).read_to_end(&mut bytes)?;
            Self::thread(bytes)
        }
    }

    fn process(command: &mut Command) -> std::io::Result<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn()?;
        let output = process.stdout.take();
        let (sender, messages) = sync_channel(1);
        let worker = Self { messages, process: Some(process) };
        thread::Builder::new().spawn(move || {
            let Some(output) = output else { return };
            // As much as the text may have, with room for what JSON adds to it.
            let mut lines = BufReader::new(output.take(8 * MAX_TEXT as u64));
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let Ok(message) = serde_json::from_slice(&line) else { return };
                if sender.send(message).is_err() {
                    return;
                }
                line.clear();
            }
        })?;
        Ok(worker)
    }

    pub fn thread(bytes: Vec<u8>) -> std::io::Result<Self> {
        let (sender, messages) = sync_channel(1);
        read_on_a_thread(bytes, move |message| send(&sender, message))?;
        Ok(Self { messages, process: None })
    }
}

fn send(sender: &SyncSender<Message>, message: Message) -> ControlFlow<()> {
    match sender.send(message) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}

/// Does the work, if these are the arguments of a process that [`Worker::start`] began.
/// Says whether it succeeded; `None` for any other arguments.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> Option<bool> {
    if arguments.nth(1)? != ARGUMENT {
        return None;
    }
    let path = arguments.next()?;
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(MAX_PDF_BYTES as u64).read_to_end(&mut bytes));
    if read.is_err() {
        return Some(false);
    }
    limit_memory(bytes.len() as u64);
    let reading = read_on_a_thread(bytes, |message| {
        let Ok(mut line) = serde_json::to_vec(&message) else { return ControlFlow::Break(()) };
        line.push(b'\n');
        match std::io::stdout().write_all(&line) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    Some(reading.is_ok_and(|reading| reading.join().is_ok()))
}

/// What is too much for a file of this size ends the process, and leaves no core file.
#[cfg(target_os = "linux")]
fn limit_memory(file: u64) {
    let limit = |resource, bytes| {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
        // SAFETY: the struct is whole, and lives for the call. A refusal leaves things as they are.
        unsafe { libc::setrlimit(resource, &raw const limit) }
    };
    limit(libc::RLIMIT_AS, MEMORY + 8 * file);
    limit(libc::RLIMIT_CORE, 0);
}

#[cfg(not(target_os = "linux"))]
fn limit_memory(_file: u64) {}

fn read_on_a_thread(
    bytes: Vec<u8>,
    tell: impl FnMut(Message) -> ControlFlow<()> + Send + 'static,
) -> std::io::Result<thread::JoinHandle<()>> {
    let thread = thread::Builder::new().name("pdf".to_owned()).stack_size(STACK);
    // A panic ends the messages without `Done`; what it would print helps nobody.
    thread.spawn(move || {
        let mut tell = tell;
        let read = std::panic::AssertUnwindSafe(|| read(&bytes, &mut tell));
        let _ = std::panic::catch_unwind(read);
    })
}

/// Reads pages and tells them, until nobody listens.
fn read(bytes: &[u8], tell: &mut dyn FnMut(Message) -> ControlFlow<()>) {
    let reason = |error: Error| match error {
        Error::Encrypted | Error::InvalidPassword => Message::Encrypted,
        error => Message::Damaged(error.to_string()),
    };
    let parser = match PdfParser::from_bytes_with_options(bytes, ParseOptions::default()) {
        Ok(parser) => parser,
        Err(error) => {
            let _ = tell(reason(error));
            return;
        }
    };
    // On this thread, with its stack; files are read side by side elsewhere.
    let options = PageStreamOptions { parallel: false, ..PageStreamOptions::default() };
    let end = parser.for_each_page(options, |event| match event {
        ParseEvent::DocumentStart { metadata, .. } => {
            tell(Message::Title(metadata.title.as_deref().and_then(title)))
        }
        ParseEvent::PageParsed(page) => tell(Message::Page(Sheet::from(page))),
        ParseEvent::PageFailed { .. } => tell(Message::Failed),
        _ => ControlFlow::Continue(()),
    });
    let _ = tell(end.map_or_else(reason, |_| Message::Done));
}
