//! Exit codes and error reporting.

use std::io;
use std::process::{ExitCode, Termination};

use anyhow::Error;
use serde::{Deserialize, Serialize};

use super::{Terminal, error_message};
use crate::generation::local::placement::gpu::GpuError;
use crate::generation::remote::{EndpointError, RemoteError};
use crate::index::IndexError;
use crate::text::question::QuestionError;

/// The program's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Every question was answered, or the command succeeded.
    Answered = 0,
    /// The documents do not answer a question.
    NotInDocuments = 3,
    /// The required GPU cannot be used.
    NoGpu = 4,
    /// The command line or a question is invalid.
    Usage = 2,
    /// Any other error.
    Error = 1,
    /// The user interrupted.
    Interrupted = 130,
}

impl Exit {
    /// The worse of two outcomes by severity, which is not the order of the codes.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let rank = |exit| match exit {
            Self::Answered => 0,
            Self::NotInDocuments => 1,
            Self::NoGpu => 2,
            Self::Usage => 3,
            Self::Error => 4,
            Self::Interrupted => 5,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// An error as a program reads it: in JSON, and from a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Failure {
    pub message: String,
    /// Advice on how to fix it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The exit code of a program that asks only this question.
    pub exit: u8,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self { message: error_message(error), hint: hint(error), exit: code(error) as u8 }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// Prints an error and chooses the exit code. A closed pipe counts as success: the reader got what
/// they wanted.
pub fn report(terminal: Terminal, error: &Error) -> Exit {
    if is_broken_pipe(error) {
        return Exit::Answered;
    }
    terminal.error(error, hint(error).as_deref());
    code(error)
}

/// The exit code for an error.
fn code(error: &Error) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        let known = [Exit::NotInDocuments, Exit::NoGpu, Exit::Usage, Exit::Interrupted];
        let known = known.into_iter().find(|exit| *exit as u8 == failure.exit);
        return known.unwrap_or(Exit::Error);
    }
    if gpu_error(error).is_some() {
        Exit::NoGpu
    } else if error.downcast_ref::<QuestionError>().is_some()
        || error.downcast_ref::<EndpointError>().is_some()
        || matches!(error.downcast_ref(), Some(RemoteError::Unsupported(_)))
        || matches!(error.downcast_ref(), Some(IndexError::NotShared(_)))
    {
        Exit::Usage
    } else {
        Exit::Error
    }
}

/// Advice on how to fix an error, if there is any.
pub fn hint(error: &Error) -> Option<String> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.hint.clone();
    }
    let index = error.chain().find_map(|cause| cause.downcast_ref::<IndexError>());
    gpu_error(error).map(GpuError::hint).or(index.map(|error| error.hint().to_owned()))
}

fn gpu_error(error: &Error) -> Option<&GpuError> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// Whether the reader closed standard output, as `| head` does.
pub fn is_broken_pipe(error: &Error) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(broken))
}
