//! `rag-query index`: builds, updates and maintains an index.

mod copy;
mod defined;
mod explain;
mod manage;
mod preview;
mod watch;

pub use manage::{info, known_names};

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Result;
use indicatif::ProgressBar;

use super::args::{IndexAction, IndexArgs, OcrChoice, ReadingArgs};
use super::interrupt::{self, Interruptible};
use super::setup::Setup;
use crate::documents::{self, Filter, Ocr, OcrWatch, ProgramReader, Programs, Walk};
use crate::embedding::codes::{Coder, TokenCodes};
use crate::index::update::{FileAccount, Indexer, IndexingProgress, IndexingSummary};
use crate::index::{Settings, Start};
use crate::models;
use crate::terminal::exit::Exit;
use crate::terminal::{Lang, shown_name, time};

/// Indexes below this size are built without a word about it.
const LARGE: u64 = 512 << 20;
/// Bytes of text for each token of an embedder, and of an index without token vectors for each byte of
/// text, as measured (docs/index.md).
const BYTES_A_TOKEN: u64 = 5;
const BYTES_A_BYTE: u64 = 2;

pub fn run(setup: &mut Setup, args: &IndexArgs) -> Result<Exit> {
    match &args.action {
        None if args.paths.is_empty() => defined::run(setup, args),
        None if args.dry_run => preview::run(setup, args),
        None if args.watch => watch::run(setup, args),
        None => update(setup, args),
        Some(IndexAction::List) => manage::list(setup),
        Some(IndexAction::Info) => manage::info(setup),
        Some(IndexAction::Names) => manage::names(setup),
        Some(IndexAction::Remove { paths }) => manage::remove(setup, paths),
        Some(IndexAction::Copy { source, target }) => copy::run(setup, source, target),
        Some(IndexAction::Explain { paths }) => explain::run(setup, paths),
        Some(IndexAction::Verify) => manage::verify(setup),
        Some(IndexAction::Compact) => manage::compact(setup),
    }
}

/// The files that the options select.
fn walk(args: &IndexArgs, programs: &[ProgramReader]) -> Result<Walk> {
    let filter = Filter::new(&args.include, &args.exclude)?;
    let mut walk = documents::walk(&args.paths, &filter.with_readers(programs))?;
    if let Some(shard) = args.shard {
        walk.share(|file| shard.has(file));
    }
    Ok(walk)
}

fn update(setup: &Setup, args: &IndexArgs) -> Result<Exit> {
    let (terminal, lang) = (setup.terminal, setup.terminal.lang);
    let models = setup.models()?;
    let begun = Instant::now();
    // Before the embedder loads, so that an unusable path or index is reported at once.
    let walk = walk(args, &setup.global.reading.readers())?;
    let start = if args.rebuild { Start::Rebuild } else { Start::Update };
    if start == Start::Update {
        setup.renew_terms()?;
    }
    let settings = models.index_settings.clone();
    if start == Start::Update {
        setup.renew_codes(&settings)?;
    }
    tell_size(setup, &settings, &walk);
    // One that cannot be read has nothing to lose.
    let replaced = args.rebuild.then(|| setup.index.open()?.ledger());
    let replaced = replaced.and_then(Result::ok).unwrap_or_default();
    let wanted = setup.global.token_vectors.map(|_| settings.clone());
    let writer = match args.shard {
        Some(shard) => setup.index.write_shard(settings, shard)?,
        None => setup.index.write(settings, start)?,
    };
    wanted.map_or(Ok(()), |wanted| writer.settings().check_codes(&wanted))?;
    let step = terminal.begin(lang.loading_models(false));
    let loading = Instant::now();
    let embedder = models.embedder.get()?;
    step.done_in(loading.elapsed());
    interrupt::install();
    let summary = watched(setup, |Run { stop, programs, watch }| {
        Indexer::new(writer, embedder, start, stop, watch)
            .reading_with(programs)
            .by_content(args.checksum)
            .replacing(replaced)
            .update(&walk)
    })?;
    if setup.global.json {
        terminal.print_json(&summary)?;
    }
    let took = time(begun.elapsed());
    terminal.say(&lang.indexed(&summary, &took, &setup.index.to_string()));
    tell_files(setup, &summary.files);
    Ok(match summary.is_whole() {
        _ if summary.interrupted => Exit::Interrupted,
        false if args.strict => Exit::Error,
        _ => Exit::Answered,
    })
}

/// Says what a large index will take on disk, where it can be told from the files.
fn tell_size(setup: &Setup, settings: &Settings, walk: &Walk) {
    let size = |file: &PathBuf| fs::metadata(file).map_or(0, |metadata| metadata.len());
    let text: u64 = walk.files.iter().filter(|file| documents::is_text(file)).map(size).sum();
    let take = |codes: Option<&TokenCodes>| {
        let coder = codes.and_then(|codes| Coder::new(codes, settings.embedder.dimension).ok());
        let tokens = text / BYTES_A_TOKEN;
        text * BYTES_A_BYTE + tokens * coder.map_or(0, |coder| coder.bytes() as u64)
    };
    let wanted = take(settings.token_vectors.as_ref());
    if wanted < LARGE || setup.index.sizes().is_some_and(|sizes| sizes.total() > wanted / 2) {
        return;
    }
    let books = setup.profile.embedder.embedder().ok().and_then(|it| it.token_books.as_ref());
    let compact = books.map(|books| TokenCodes::Book(books.compact.clone()));
    let less = compact.filter(|_| settings.token_vectors.is_some()).map(|it| take(Some(&it)));
    let less = less.filter(|less| *less < wanted);
    setup.terminal.say(&setup.terminal.lang.index_will_take(wanted, less));
}

/// What a run works with.
pub struct Run<'r> {
    pub stop: &'r AtomicBool,
    pub programs: &'r Programs,
    pub watch: &'r mut dyn FnMut(IndexingProgress),
}

/// Does a run, with a progress bar, until the user interrupts, and warns of what it found wrong.
pub fn watched(
    setup: &Setup,
    run: impl FnOnce(Run) -> Result<IndexingSummary>,
) -> Result<IndexingSummary> {
    let (terminal, lang) = (setup.terminal, setup.terminal.lang);
    let busy = Interruptible::begin();
    let bar = terminal.bar(0, true);
    let watch_ocr = watch_pages(bar.clone(), lang, busy.interrupted());
    let mut programs = programs(&setup.global.reading, watch_ocr);
    programs.stop = Some(busy.interrupted());
    let embedding = Instant::now();
    let mut watch = |progress: IndexingProgress| {
        let seconds = embedding.elapsed().as_secs_f64().max(1e-3);
        show(&bar, lang, progress, progress.chunks as f64 / seconds);
    };
    let summary = run(Run { stop: busy.interrupted(), programs: &programs, watch: &mut watch });
    bar.finish_and_clear();
    let summary = summary?;
    tell_problems(setup, &summary.problems, &summary.files, &summary.unmatched);
    if !summary.without_text.is_empty() {
        terminal.warn(&lang.without_text(&summary.without_text));
    }
    for emptied in &summary.emptied {
        terminal.warn(&lang.emptied(emptied));
    }
    Ok(summary)
}

/// The programs that the options name, where no progress is shown.
pub fn programs_unwatched(args: &ReadingArgs) -> Programs {
    programs(args, Box::new(|_, _, _| ControlFlow::Continue(())))
}

/// The programs that the options name.
fn programs(args: &ReadingArgs, watch: OcrWatch) -> Programs {
    let ocr = || {
        // Without a data folder, pages are recognized anew each time.
        let cache = models::data_dir().ok().map(|folder| folder.join("ocr"));
        Ocr::new("tesseract".into(), args.ocr_languages.clone(), cache, watch)
    };
    Programs { ocr: (args.ocr == OcrChoice::Auto).then(ocr), readers: args.readers(), stop: None }
}

/// Shows which page is recognized, and stops when the run does.
fn watch_pages(bar: ProgressBar, lang: Lang, stop: &'static AtomicBool) -> OcrWatch {
    Box::new(move |path, done, pages| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        bar.set_message(lang.recognizing(&shown_name(&name), done, pages));
        match stop.load(Ordering::SeqCst) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })
}

/// Warns of files that could not be read, or have nothing to find, and of patterns without effect.
fn tell_problems(setup: &Setup, problems: &[String], files: &FileAccount, unmatched: &[String]) {
    let (terminal, lang) = (setup.terminal, setup.terminal.lang);
    for problem in problems {
        terminal.warn(problem);
    }
    if !files.without_text.is_empty() {
        terminal.warn(&lang.without_text(&files.without_text));
    }
    for pattern in unmatched {
        terminal.warn(&lang.unmatched(pattern));
    }
}

/// Says what became of every file.
fn tell_files(setup: &Setup, files: &FileAccount) {
    for line in setup.terminal.lang.accounted(files) {
        setup.terminal.say(&line);
    }
}

fn show(bar: &ProgressBar, lang: Lang, progress: IndexingProgress, chunks_a_second: f64) {
    bar.set_length(progress.bytes.1);
    bar.set_position(progress.bytes.0);
    bar.set_message(lang.indexing(progress.files, chunks_a_second));
}
