//! When an unused LLM leaves its device's memory.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How long an LLM stays loaded after its last answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// So long; 0 unloads it at once.
    For(Duration),
    /// Until the server ends.
    Forever,
}

impl KeepAlive {
    /// As Ollama's.
    pub const DEFAULT: Self = Self::For(Duration::from_mins(5));
}

impl fmt::Display for KeepAlive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.write_str("-1"),
            Self::For(time) => match time.as_secs() {
                seconds if seconds > 0 && seconds % 3600 == 0 => write!(f, "{}h", seconds / 3600),
                seconds if seconds > 0 && seconds % 60 == 0 => write!(f, "{}m", seconds / 60),
                seconds => write!(f, "{seconds}s"),
            },
        }
    }
}

/// `30s`, `5m`, `2h`; a bare number is seconds, and a negative one is forever.
impl FromStr for KeepAlive {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "`{text}` is no time: expected 30s, 5m, 2h, 0 to unload at once, or -1 for ever"
            )
        };
        let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
            Some(at) => text.split_at(at),
            None => (text, "s"),
        };
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(expected()),
        };
        let number: i64 = number.parse().map_err(|_| expected())?;
        let Ok(number) = u64::try_from(number) else { return Ok(Self::Forever) };
        let seconds = number.checked_mul(seconds).ok_or_else(expected)?;
        Ok(Self::For(Duration::from_secs(seconds)))
    }
}

impl Serialize for KeepAlive {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeepAlive {
    /// A text as above, or a number of seconds.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextOrNumber;

        impl Visitor<'_> for TextOrNumber {
            type Value = KeepAlive;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a time such as \"5m\", or seconds")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<KeepAlive, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<KeepAlive, E> {
                seconds.to_string().parse().map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<KeepAlive, E> {
                seconds.to_string().parse().map_err(E::custom)
            }
        }

        from.deserialize_any(TextOrNumber)
    }
}

/// Unloads the LLM when its time is over.
pub struct Keeper {
    default: KeepAlive,
    due: Mutex<Due>,
    changed: Condvar,
}

/// What the keeper waits for.
#[derive(Default)]
struct Due {
    /// Answers under way.
    running: usize,
    at: Option<Instant>,
    has_ended: bool,
}

impl Keeper {
    /// `default` is for answers that do not say how long.
    pub fn new(default: KeepAlive) -> Self {
        Self { default, due: Mutex::default(), changed: Condvar::new() }
    }

    /// Notes that an answer begins: nothing is unloaded until it ends.
    pub fn begin(&self) {
        self.due().running += 1;
    }

    /// Notes that an answer ended.
    pub fn used(&self, keep_alive: Option<KeepAlive>) {
        let mut due = self.due();
        due.running -= 1;
        due.at = match keep_alive.unwrap_or(self.default) {
            KeepAlive::For(time) => Instant::now().checked_add(time),
            KeepAlive::Forever => None,
        };
        self.changed.notify_all();
    }

    /// Ends the thread of [`Keeper::watch`].
    pub fn end(&self) {
        self.due().has_ended = true;
        self.changed.notify_all();
    }

    /// Calls `unload` whenever it is time to, in a thread of its own, until [`Keeper::end`].
    pub fn watch(self: Arc<Self>, unload: impl Fn() + Send + 'static) {
        thread::spawn(move || {
            while self.wait() {
                unload();
            }
        });
    }

    /// Waits until it is time to unload; false once it has ended.
    fn wait(&self) -> bool {
        let mut due = self.due();
        loop {
            if due.has_ended {
                return false;
            }
            let Some(at) = due.at.filter(|_| due.running == 0) else {
                due = self.changed.wait(due).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                due.at = None;
                return true;
            }
            due = self.changed.wait_timeout(due, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let of = |text: &str| text.parse::<KeepAlive>();
        let seconds = |seconds| Ok(KeepAlive::For(Duration::from_secs(seconds)));
        assert_eq!(of("5m"), seconds(300));
        assert_eq!(of("90s"), seconds(90));
        assert_eq!(of("2h"), seconds(7200));
        assert_eq!(of("0"), seconds(0));
        assert_eq!(of("45"), seconds(45));
        assert_eq!(of("-1"), Ok(KeepAlive::Forever));
        assert_eq!(of("-1m"), Ok(KeepAlive::Forever));
        for wrong in
            ["", "m", "5 m", "5d", "five", "1e3", "99999999999999999999", "9999999999999999h"]
        {
            assert!(of(wrong).unwrap_err().contains("expected 30s"), "{wrong}");
        }
        assert_eq!(KeepAlive::DEFAULT.to_string(), "5m");
    }

    #[test]
    fn requests_may_say_it_as_text_or_number() {
        let of =
            |json: &str| serde_json::from_str::<KeepAlive>(json).map_err(|error| error.to_string());
        assert_eq!(of("\"5m\""), Ok(KeepAlive::DEFAULT));
        assert_eq!(of("300"), Ok(KeepAlive::DEFAULT));
        assert_eq!(of("-1"), Ok(KeepAlive::Forever));
        assert!(of("true").unwrap_err().contains("a time such as"));
        assert!(of("\"soon\"").unwrap_err().contains("expected 30s"));
        assert_eq!(serde_json::to_string(&KeepAlive::Forever).unwrap(), "\"-1\"");
    }

    #[test]
    fn time_counts_from_the_last_answer() {
        let keeper = Keeper::new(KeepAlive::DEFAULT);
        keeper.begin();
        keeper.used(Some(KeepAlive::For(Duration::ZERO)));
        assert!(keeper.wait(), "at once");
        keeper.begin();
        keeper.begin();
        keeper.used(Some(KeepAlive::For(Duration::ZERO)));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| keeper.wait());
            keeper.end();
            assert!(!waiting.join().unwrap(), "an answer is under way, then the server ends");
        });
    }
}
