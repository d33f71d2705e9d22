//! Counts how often the files of a folder are opened.

use std::io::ErrorKind;
use std::path::Path;

use inotify::{EventMask, Inotify, WatchMask};

/// Watches the files of one folder.
pub struct Watch(Inotify);

impl Watch {
    pub fn of(folder: &Path) -> Self {
        let inotify = Inotify::init().unwrap();
        inotify.watches().add(folder, WatchMask::OPEN | WatchMask::ACCESS).unwrap();
        Self(inotify)
    }

    /// How often a file was opened since the last call.
    ///
    /// The kernel merges equal events that follow each other unread; reads between two opens keep
    /// them apart.
    pub fn opens(&mut self) -> usize {
        let mut opens = 0;
        let mut buffer = [0; 16 << 10];
        loop {
            match self.0.read_events(&mut buffer) {
                Ok(events) => {
                    for event in events {
                        assert!(!event.mask.contains(EventMask::Q_OVERFLOW), "events were lost");
                        opens += usize::from(event.mask.contains(EventMask::OPEN));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return opens,
                Err(error) => panic!("{error}"),
            }
        }
    }
}
