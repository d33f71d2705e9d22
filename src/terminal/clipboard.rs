//! The clipboard of the terminal, by the sequence OSC 52: it also works over SSH, where a program on
//! this machine could reach no clipboard. A terminal does not say whether it obeyed.

use std::io::{self, IsTerminal};

use thiserror::Error;

use super::{printable, to_stderr, to_stdout};

/// Longest text, in bytes: xterm and others drop a sequence of more than 100,000 bytes, and base64
/// takes four bytes for three.
const MAX_BYTES: usize = 74_994;

#[derive(Debug, Error)]
pub enum ClipboardError {
    #[error("{0} bytes are too much for a terminal's clipboard; {MAX_BYTES} are the limit")]
    TooLong(usize),
    #[error("this terminal has no clipboard that a program can write to")]
    NoTerminal,
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Asks the terminal to copy a text.
///
/// # Errors
/// The text is too long, or there is no terminal that could take it.
pub fn copy(text: &str) -> Result<(), ClipboardError> {
    let text = printable(text);
    if text.len() > MAX_BYTES {
        return Err(ClipboardError::TooLong(text.len()));
    }
    if super::is_dumb() {
        return Err(ClipboardError::NoTerminal);
    }
    let sequence = format!("\u{1b}]52;c;{}\u{7}", base64(text.as_bytes()));
    if io::stdout().is_terminal() {
        to_stdout(&sequence)?;
    } else if io::stderr().is_terminal() {
        to_stderr(&sequence);
    } else {
        return Err(ClipboardError::NoTerminal);
    }
    Ok(())
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | u32::from(*three.get(i).unwrap_or(&0)));
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i > three.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 4648, section 10.
    #[test]
    fn base64_is_that_of_the_standard() {
        let text = "foobar";
        let expected = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (length, expected) in expected.into_iter().enumerate() {
            assert_eq!(base64(&text.as_bytes()[..length]), expected);
        }
        assert_eq!(base64("Đáp án ✅".as_bytes()), "xJDDoXAgw6FuIOKchQ==");
    }
}
