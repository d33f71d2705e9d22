//! Server-sent events as in the HTML standard (9.2.6): bytes, split anywhere → event data.

/// Limit on a line and on an event's data, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// A line or an event exceeds the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub data: String,
    /// Whether it calls itself an error.
    pub is_error: bool,
}

/// Splits a stream of bytes into events.
#[derive(Debug, Default)]
pub struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    is_error: bool,
    /// The last line ended with a carriage return; a line feed may still follow.
    after_return: bool,
}

impl Events {
    /// Consumes the next bytes and returns all events completed by them. A character
    /// may be split across calls; invalid UTF-8 becomes replacement characters.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' if self.after_return => self.after_return = false,
                b'\n' | b'\r' => {
                    self.after_return = byte == b'\r';
                    events.extend(self.end_line()?);
                }
                _ => {
                    self.after_return = false;
                    if self.line.len() >= MAX_BYTES {
                        return Err(TooLong);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(events)
    }

    /// Ends a line. An empty line ends the event.
    fn end_line(&mut self) -> Result<Option<Event>, TooLong> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            let is_error = std::mem::take(&mut self.is_error);
            let data = data.strip_suffix(b"\n").map(|data| String::from_utf8_lossy(data).into());
            return Ok(data.map(|data| Event { data, is_error }));
        }
        // Other fields (`id`, `retry`) and comments do not carry text.
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        if let Some(data) = line.strip_prefix(b"data:") {
            let data = data.strip_prefix(b" ").unwrap_or(data);
            if self.data.len() + data.len() >= MAX_BYTES {
                return Err(TooLong);
            }
            self.data.extend_from_slice(data);
            self.data.push(b'\n');
        } else if let Some(name) = line.strip_prefix(b"event:") {
            self.is_error = name.trim_ascii().eq_ignore_ascii_case(b"error");
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::random::SplitMix64;

    fn in_pieces(stream: &[u8], piece: usize) -> Vec<String> {
        let mut events = Events::default();
        let events = stream.chunks(piece).flat_map(|bytes| events.push(bytes).unwrap());
        events.map(|event| event.data).collect()
    }

    #[test]
    fn an_event_may_call_itself_an_error() {
        let mut events = Events::default();
        let found = events.push(b"event: error\ndata: no\n\nevent: ping\ndata: x\n\n").unwrap();
        let found: Vec<_> = found.iter().map(|event| (&*event.data, event.is_error)).collect();
        assert_eq!(found, [("no", true), ("x", false)]);
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let stream = "\u{feff}: a comment\r\ndata: {\"x\": \"Tiếng Việt 🎯\"}\r\n\r\nevent: done\nid: 7\n\
            data:one\rdata:  two\r\rretry: 5\n\ndata\n\ndata: [DONE]\n\ndata: never ended";
        let expected = ["{\"x\": \"Tiếng Việt 🎯\"}", "one\n two", "[DONE]"];
        for piece in 1..=stream.len() {
            assert_eq!(in_pieces(stream.as_bytes(), piece), expected, "{piece}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_replaced() {
        assert_eq!(in_pieces(b"data: a\xff\xc3b\n\n", 1), ["a\u{fffd}\u{fffd}b"]);
    }

    #[test]
    fn lines_and_events_without_an_end_are_refused() {
        let mut events = Events::default();
        let line = vec![b'x'; 1 << 16];
        assert!((0..20).any(|_| events.push(&line) == Err(TooLong)));
        assert!(events.line.len() <= MAX_BYTES);
        let mut events = Events::default();
        let line = [&b"data: "[..], &line, b"\n"].concat();
        assert!((0..20).any(|_| events.push(&line) == Err(TooLong)));
        assert!(events.data.len() <= MAX_BYTES + 1);
    }

    #[test]
    fn noise_is_the_same_however_it_is_cut() {
        let mut random = SplitMix64::new(5);
        let alphabet = b"data: \r\n\xe1\xbb\x87{}\"[]:0\x00\xef\xbb\xbf";
        for _ in 0..300 {
            let noise: Vec<u8> = (0..200).map(|_| alphabet[random.below(alphabet.len())]).collect();
            assert_eq!(in_pieces(&noise, 1), in_pieces(&noise, 7));
        }
    }
}
