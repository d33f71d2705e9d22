//! Lists of texts (tokens, merges), which are most of a header: read where they lie in the file.

use std::sync::Arc;

use memmap2::Mmap;

/// Where a text lies in the file, in bytes. A header is never longer than 128 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub length: u32,
}

/// A list of texts in a mapped file, which it keeps mapped.
#[derive(Debug, Clone)]
pub struct Texts {
    map: Arc<Mmap>,
    spans: Arc<[Span]>,
}

impl Texts {
    /// `spans` lie in the file.
    pub fn new(map: Arc<Mmap>, spans: Vec<Span>) -> Self {
        Self { map, spans: spans.into() }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The bytes of a text, which some published files have in invalid UTF-8.
    pub fn get(&self, number: usize) -> Option<&[u8]> {
        let Span { start, length } = *self.spans.get(number)?;
        self.map.get(start as usize..start as usize + length as usize)
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|number| self.get(number))
    }

    /// Texts in memory.
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
