//! String lists (tokens, merges), which make up most of a header; accessed in place.

use std::sync::Arc;

use memmap2::Mmap;

/// Byte range of a string in the file; fits 32 bits because headers are limited to 128 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub length: u32,
}

/// A string list in a mapped file, which it keeps mapped.
#[derive(Debug, Clone)]
pub struct Texts {
    map: Arc<Mmap>,
    spans: Arc<[Span]>,
}

impl Texts {
    /// `spans` must lie within the file.
    pub fn new(map: Arc<Mmap>, spans: Vec<Span>) -> Self {
        Self { map, spans: spans.into() }
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The bytes of a string; not always valid UTF-8, even in published files.
    pub fn get(&self, number: usize) -> Option<&[u8]> {
        let Span { start, length } = *self.spans.get(number)?;
        self.map.get(start as usize..start as usize + length as usize)
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|number| self.get(number))
    }

    /// A string list held in memory.
    #[cfg(test)]
    pub fn of(texts: &[impl AsRef<[u8]>]) -> Self {
        let mut bytes = Vec::new();
        let spans = texts.iter().map(|text| {
            let (start, text) = (bytes.len() as u32, text.as_ref());
            bytes.extend_from_slice(text);
            Span { start, length: text.len() as u32 }
        });
        let spans = spans.collect();
        let mut map = memmap2::MmapMut::map_anon(bytes.len().max(1)).unwrap();
        map[..bytes.len()].copy_from_slice(&bytes);
        Self::new(Arc::new(map.make_read_only().unwrap()), spans)
    }
}
