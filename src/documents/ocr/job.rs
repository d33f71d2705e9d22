//! Recognizes the text of pages, as a job for a process of its own: pictures are decoded and handed to
//! `tesseract`, which inherits the limits of that process.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use hayro_syntax::Pdf;
use serde::{Deserialize, Serialize};

use super::page::{Drawn, draw};
use crate::documents::limits::MAX_PDF_BYTES;
use crate::documents::process::{Bounds, output_of};
use crate::support::worker::{Job, Output};

/// For one page; real ones take seconds.
pub(super) const MAX_PAGE_TIME: Duration = Duration::from_mins(2);
/// Text of a page, in bytes.
const MAX_PAGE_TEXT: u64 = 1 << 20;

/// What is asked for. It comes before the file, as one line of JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub program: PathBuf,
    pub languages: String,
    /// Pages of a PDF file, from 1; `None` if the file is a picture.
    pub pages: Option<Vec<u32>>,
    /// How many pages are recognized at a time.
    pub threads: usize,
}

/// What became of a page.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Recognized {
    pub page: u32,
    /// The text, or why there is none.
    pub text: Result<String, String>,
}

/// Sends one [`Recognized`] a page, in any order.
pub static JOB: Job = Job {
    name: "ocr",
    // The order and the file.
    max_input_bytes: MAX_PDF_BYTES as u64 + (1 << 20),
    max_output_bytes: 1 << 30,
    memory: 4 << 30,
    memory_per_input_byte: 8,
    // Drawing takes a fraction of a second a page, and each tesseract has the same limit.
    cpu: Some(Duration::from_mins(30)),
    run,
};

fn run(input: &[u8], output: &mut Output) {
    let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return };
    let Ok(order) = serde_json::from_slice::<Order>(&input[..end]) else { return };
    let file = &input[end + 1..];
    match &order.pages {
        None => {
            let text = tesseract(&order, None, file.to_vec());
            let _ = output.send(&Recognized { page: 1, text });
        }
        Some(pages) => recognize_pages(&order, pages, file.to_vec(), output),
    }
}

fn recognize_pages(order: &Order, pages: &[u32], file: Vec<u8>, output: &mut Output) {
    let pdf = match Pdf::new(file) {
        Ok(pdf) => pdf,
        Err(error) => {
            for &page in pages {
                let text = Err(format!("its pages cannot be drawn: {error:?}"));
                if output.send(&Recognized { page, text }).is_break() {
                    return;
                }
            }
            return;
        }
    };
    let next = AtomicUsize::new(0);
    let (sender, recognized) = channel();
    thread::scope(|scope| {
        for _ in 0..order.threads.clamp(1, pages.len().max(1)) {
            let (sender, next, pdf) = (sender.clone(), &next, &pdf);
            scope.spawn(move || {
                while let Some(&page) = pages.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let text = recognize_page(order, pdf, page);
                    if sender.send(Recognized { page, text }).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for message in recognized {
            if let ControlFlow::Break(()) = output.send(&message) {
                // Nobody listens any more: let the threads run out of pages.
                next.store(pages.len(), Ordering::Relaxed);
                return;
            }
        }
    });
}

fn recognize_page(order: &Order, pdf: &Pdf, number: u32) -> Result<String, String> {
    let page = pdf.pages().get(number as usize - 1).ok_or("there is no such page")?;
    let Drawn { grey, dpi } = draw(page).ok_or("its pictures cannot be decoded")?;
    let mut picture = format!("P5\n{} {}\n255\n", grey.width, grey.height).into_bytes();
    picture.extend(grey.values);
    tesseract(order, Some(dpi), picture)
}

/// The text of a picture file of any kind that `tesseract` reads.
fn tesseract(order: &Order, dpi: Option<u32>, picture: Vec<u8>) -> Result<String, String> {
    let mut command = Command::new(&order.program);
    command.args(["-", "-", "-l", &order.languages]);
    if let Some(dpi) = dpi {
        command.args(["--dpi", &dpi.to_string()]);
    }
    // One thread each: pages are recognized side by side.
    command.env("OMP_THREAD_LIMIT", "1");
    let bounds = Bounds { time: MAX_PAGE_TIME, output: MAX_PAGE_TEXT, stop: &|| false };
    let text = output_of(command, picture, &bounds)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
