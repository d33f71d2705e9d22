//! Work on hostile input, in a process of its own with limits.
//!
//! Some libraries follow nested input by recursion, and a process whose stack is full cannot go on;
//! others take as much memory and time as the input makes them. So a program starts itself once
//! more for each such [`Job`], limits that process, and goes on without an answer if it dies or
//! takes too long. The process ends with the program that started it, however that ends.
//!
//! It can do so once it has called [`serve`] at its start, as the tool does. Anywhere else, as in
//! tests, the job runs on a thread, which has a large stack but no limits.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::limits::limit_process;

/// The first argument of a process that does a job; the second is the job's name, the third the id
/// of the process that started it.
const ARGUMENT: &str = "__worker";
/// How often such a process looks whether the one that started it is still there.
const WATCH: Duration = Duration::from_millis(250);
/// What a job may compute for each MiB of its input.
const CPU_PER_INPUT_MIB: Duration = Duration::from_secs(2);
/// Stack of the thread that does a job; only what is used takes memory.
const STACK_BYTES: usize = 64 << 20;

/// Whether this program does jobs when it is started for them.
static SERVES: AtomicBool = AtomicBool::new(false);

/// Work that turns input into messages.
pub struct Job {
    /// Its name among the arguments of the process.
    pub name: &'static str,
    /// What follows in the input is ignored.
    pub max_input_bytes: u64,
    /// What follows in the messages is ignored.
    pub max_output_bytes: u64,
    /// Memory that the process may take.
    pub memory: u64,
    /// And for each byte of the input.
    pub memory_per_input_byte: u64,
    /// How long the process may compute, before what it gets for the size of its input.
    pub cpu: Option<Duration>,
    /// The work. It should end once the output says so.
    pub run: fn(&[u8], &mut Output),
}

impl Job {
    /// How long it may compute on input of this size.
    pub fn time(&self, input_bytes: usize) -> Option<Duration> {
        self.cpu.map(|cpu| cpu + CPU_PER_INPUT_MIB * (input_bytes >> 20) as u32)
    }
}

/// Where a job's messages go.
pub struct Output<'a>(&'a mut dyn FnMut(Vec<u8>) -> ControlFlow<()>);

impl Output<'_> {
    /// Sends a message; breaks if nobody listens any more.
    pub fn send(&mut self, message: &impl Serialize) -> ControlFlow<()> {
        match serde_json::to_vec(message) {
            Ok(line) => self.0(line),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// What a job works on.
pub enum Input {
    /// The rest of a file.
    File(File),
    /// These bytes.
    Bytes(Vec<u8>),
}

/// A job that is being done. Dropping it ends the process.
pub struct Worker {
    /// One message each, as JSON.
    lines: Receiver<Vec<u8>>,
    process: Option<Child>,
}

/// Why there is no further message.
#[derive(Debug, PartialEq, Eq)]
pub enum Silence {
    /// It did not come in time.
    TimedOut,
    /// The job is done, or died.
    Ended,
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
    pub fn start(job: &'static Job, input: Input) -> io::Result<Self> {
        if SERVES.load(Ordering::Relaxed) {
            Self::process(job, input)
        } else {
            Self::thread(job, read(input, job.max_input_bytes)?)
        }
    }

    /// The next message, for which it waits no longer than `patience`.
    pub fn next<M: DeserializeOwned>(&self, patience: Duration) -> Result<M, Silence> {
        let line = self.lines.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => Silence::TimedOut,
            RecvTimeoutError::Disconnected => Silence::Ended,
        })?;
        serde_json::from_slice(&line).map_err(|_| Silence::Ended)
    }

    fn process(job: &'static Job, input: Input) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(ARGUMENT).arg(job.name).arg(std::process::id().to_string());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let bytes = match input {
            Input::File(file) => {
                command.stdin(file);
                Vec::new()
            }
            Input::Bytes(bytes) => {
                command.stdin(Stdio::piped());
                bytes
            }
        };
        let mut process = command.spawn()?;
        let pipes = (process.stdin.take(), process.stdout.take());
        let (sender, lines) = sync_channel(1);
        let worker = Self { lines, process: Some(process) };
        thread::Builder::new().spawn(move || {
            let (stdin, Some(stdout)) = pipes else { return };
            // The process reads all of it before it writes anything.
            if let Some(mut stdin) = stdin
                && stdin.write_all(&bytes).is_err()
            {
                return;
            }
            let output = BufReader::new(stdout.take(job.max_output_bytes));
            for line in output.split(b'\n').map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        })?;
        Ok(worker)
    }

    fn thread(job: &'static Job, input: Vec<u8>) -> io::Result<Self> {
        let (sender, lines) = sync_channel(1);
        run_on_a_thread(job, input, move |line| match sender.send(line) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        })?;
        Ok(Self { lines, process: None })
    }
}

/// Does one of these jobs, if that is what this process was started for, and says whether it could;
/// `None` for any other arguments. From then on, [`Worker::start`] starts processes, so a program
/// calls this before anything else.
pub fn serve(mut arguments: impl Iterator<Item = OsString>, jobs: &[&'static Job]) -> Option<bool> {
    if arguments.nth(1).is_none_or(|argument| argument != ARGUMENT) {
        SERVES.store(true, Ordering::Relaxed);
        return None;
    }
    let name = arguments.next().unwrap_or_default();
    let Some(job) = jobs.iter().find(|job| name == job.name) else { return Some(false) };
    if end_with(arguments.next().and_then(|id| id.to_str()?.parse().ok())).is_err() {
        return Some(false);
    }
    let mut input = Vec::new();
    if io::stdin().take(job.max_input_bytes).read_to_end(&mut input).is_err() {
        return Some(false);
    }
    limit_process(
        job.memory + job.memory_per_input_byte * input.len() as u64,
        job.time(input.len()),
    );
    let done = run_on_a_thread(job, input, |mut line| {
        line.push(b'\n');
        match io::stdout().write_all(&line) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    Some(done.is_ok_and(|thread| thread.join().is_ok()))
}

/// Ends this process once the one that started it has ended, which may have been killed while this
/// one computes. `parent` is its id; it may have ended before this process has asked for it.
#[cfg(unix)]
fn end_with(parent: Option<u32>) -> io::Result<()> {
    let parent = parent.unwrap_or_else(std::os::unix::process::parent_id);
    let watch = move || {
        while std::os::unix::process::parent_id() == parent {
            thread::sleep(WATCH);
        }
        std::process::exit(1);
    };
    thread::Builder::new().name("watch".to_owned()).spawn(watch).map(drop)
}

/// Nothing tells there; the process ends when it writes, or is at the end of its time.
#[cfg(not(unix))]
fn end_with(_parent: Option<u32>) -> io::Result<()> {
    Ok(())
}

fn read(input: Input, max_bytes: u64) -> io::Result<Vec<u8>> {
    match input {
        Input::Bytes(bytes) => Ok(bytes),
        Input::File(file) => {
            let mut bytes = Vec::new();
            file.take(max_bytes).read_to_end(&mut bytes)?;
            Ok(bytes)
        }
    }
}

fn run_on_a_thread(
    job: &'static Job,
    input: Vec<u8>,
    mut send: impl FnMut(Vec<u8>) -> ControlFlow<()> + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(job.name.to_owned()).stack_size(STACK_BYTES).spawn(move || {
        // A panic only ends the messages early.
        let run = AssertUnwindSafe(|| (job.run)(&input, &mut Output(&mut send)));
        let _ = catch_unwind(run);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn echo(input: &[u8], output: &mut Output) {
        for word in input.split(|&byte| byte == b' ') {
            match word {
                b"panic" => panic!("as asked"),
                b"sleep" => thread::sleep(2 * PATIENCE),
                _ => {}
            }
            if output.send(&String::from_utf8_lossy(word)).is_break() {
                return;
            }
        }
    }

    static ECHO: Job = Job {
        name: "echo",
        max_input_bytes: 9,
        max_output_bytes: 1 << 20,
        memory: 1 << 30,
        memory_per_input_byte: 0,
        cpu: None,
        run: echo,
    };

    #[test]
    fn messages_come_in_order_and_then_an_end() {
        let worker = Worker::start(&ECHO, Input::Bytes(b"one two".to_vec())).unwrap();
        assert_eq!(worker.next(PATIENCE), Ok("one".to_owned()));
        assert_eq!(worker.next(PATIENCE), Ok("two".to_owned()));
        assert_eq!(worker.next::<String>(PATIENCE), Err(Silence::Ended));
    }

    #[test]
    fn what_is_too_long_is_not_read_from_a_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"123456789 more").unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let worker = Worker::start(&ECHO, Input::File(file)).unwrap();
        assert_eq!(worker.next(PATIENCE), Ok("123456789".to_owned()));
        assert_eq!(worker.next::<String>(PATIENCE), Err(Silence::Ended));
    }

    #[test]
    fn a_job_that_dies_or_hangs_is_only_silent() {
        let worker = Worker::start(&ECHO, Input::Bytes(b"one panic two".to_vec())).unwrap();
        assert_eq!(worker.next(PATIENCE), Ok("one".to_owned()));
        assert_eq!(worker.next::<String>(PATIENCE), Err(Silence::Ended));
        let worker = Worker::start(&ECHO, Input::Bytes(b"sleep".to_vec())).unwrap();
        let brief = Duration::from_millis(10);
        assert_eq!(worker.next::<String>(brief), Err(Silence::TimedOut));
    }

    #[test]
    fn only_known_jobs_are_served() {
        let arguments = |arguments: &[&str]| {
            let owned: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            owned.into_iter()
        };
        assert_eq!(serve(arguments(&["tool", ARGUMENT, "other"]), &[&ECHO]), Some(false));
        assert_eq!(serve(arguments(&["tool", ARGUMENT]), &[&ECHO]), Some(false));
    }
}
