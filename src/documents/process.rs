//! Runs a program for what it prints, within bounds of time and size.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Of what a program says on standard error, for messages.
const MAX_COMPLAINT: u64 = 4 << 10;
/// How often it is asked whether to go on.
const GLANCE: Duration = Duration::from_millis(100);

/// How much a program may do.
pub(super) struct Bounds<'b> {
    pub time: Duration,
    /// Bytes that it may print.
    pub output: u64,
    /// Whether to stop waiting for it.
    pub stop: &'b dyn Fn() -> bool,
}

/// What a program prints when it is given `input`; else why that is of no use, in words that name the
/// program.
pub(super) fn output_of(
    mut command: Command,
    input: Vec<u8>,
    bounds: &Bounds,
) -> Result<Vec<u8>, String> {
    let program = Path::new(command.get_program()).display().to_string();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().map_err(|error| format!("`{program}` cannot be started: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may end early; its status tells.
        thread::spawn(move || drop(stdin.write_all(&input)));
    }
    // The threads are not joined: a program that is ended may have started others, which keep its
    // pipes open.
    let printed = collect(child.stdout.take(), bounds.output + 1);
    let complaint = collect(child.stderr.take(), MAX_COMPLAINT);
    let result = wait(&mut child, &printed, &complaint, bounds);
    if result.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    result.map_err(|why| format!("`{program}` {why}"))
}

fn wait(
    child: &mut Child,
    printed: &Receiver<Vec<u8>>,
    complaint: &Receiver<Vec<u8>>,
    bounds: &Bounds,
) -> Result<Vec<u8>, String> {
    let begun = Instant::now();
    let output = loop {
        match printed.recv_timeout(GLANCE) {
            Ok(output) => break output,
            Err(RecvTimeoutError::Disconnected) => return Err("was not heard".to_owned()),
            Err(RecvTimeoutError::Timeout) if (bounds.stop)() => {
                return Err("was interrupted".to_owned());
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if begun.elapsed() > bounds.time {
            return Err(format!("took longer than {:?}", bounds.time));
        }
    };
    if output.len() as u64 > bounds.output {
        return Err(format!("printed more than {} MiB", bounds.output >> 20));
    }
    // It has closed its output, so there is nothing more to wait for but its status.
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() <= bounds.time && !(bounds.stop)() => {
                thread::sleep(GLANCE / 10);
            }
            Ok(None) => return Err("printed its output and did not end".to_owned()),
            Err(error) => return Err(format!("cannot be waited for: {error}")),
        }
    };
    if status.success() {
        return Ok(output);
    }
    let complaint = complaint.recv_timeout(GLANCE).unwrap_or_default();
    let complaint = String::from_utf8_lossy(&complaint);
    let said = complaint.lines().map(str::trim).find(|line| !line.is_empty());
    Err(said.map_or_else(|| format!("failed ({status})"), |said| format!("failed: {said}")))
}

/// The first bytes of a stream, when it ends or there are more. The rest is read all the same, so that
/// the program does not wait for a reader.
fn collect(stream: Option<impl Read + Send + 'static>, most: u64) -> Receiver<Vec<u8>> {
    let (sender, bytes) = channel();
    thread::spawn(move || {
        let mut first = Vec::new();
        if let Some(mut stream) = stream {
            let _ = (&mut stream).take(most).read_to_end(&mut first);
            if sender.send(first).is_ok() {
                let _ = io::copy(&mut stream, &mut io::sink());
            }
        }
    });
    bytes
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn run(script: &str, input: &str, stop: &dyn Fn() -> bool) -> Result<String, String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let bounds = Bounds { time: Duration::from_millis(700), output: 4 << 20, stop };
        output_of(command, input.as_bytes().to_vec(), &bounds)
            .map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_program_is_heard_within_bounds() {
        let on = || false;
        let large = "x".repeat(1 << 20);
        assert_eq!(run("cat", &large, &on).unwrap(), large);
        assert_eq!(run("exec <&-; echo early", &large, &on).unwrap(), "early\n");
        assert_eq!(
            run("echo a; echo >&2; echo 'no such page' >&2; exit 3", "", &on).unwrap_err(),
            "`sh` failed: no such page"
        );
        assert_eq!(run("kill -9 $$", "", &on).unwrap_err(), "`sh` failed (signal: 9 (SIGKILL))");
        assert_eq!(run("yes", "", &on).unwrap_err(), "`sh` printed more than 4 MiB");
        assert_eq!(run("sleep 9", "", &on).unwrap_err(), "`sh` took longer than 700ms");
        // One that it has started keeps its output open.
        assert_eq!(run("sleep 9 & exit 0", "", &on).unwrap_err(), "`sh` took longer than 700ms");
        assert_eq!(
            run("exec >&-; sleep 9", "", &on).unwrap_err(),
            "`sh` printed its output and did not end"
        );
        assert_eq!(run("sleep 9", "", &|| true).unwrap_err(), "`sh` was interrupted");
        let nowhere = output_of(
            Command::new("/nowhere/program"),
            Vec::new(),
            &Bounds { time: Duration::ZERO, output: 0, stop: &on },
        );
        assert!(nowhere.unwrap_err().starts_with("`/nowhere/program` cannot be started: "));
    }
}
