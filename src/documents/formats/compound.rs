//! Compound files ([MS-CFB]): a small file system in a file, which Office used before ZIP and still
//! uses for encrypted documents.
//!
//! Only streams at the root are found; those of embedded documents are theirs. What is damaged is
//! read as far as it goes.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};

use super::rtf::Letters;
use crate::documents::clean::clean;
use crate::documents::title::tidy_title;

/// How a compound file begins.
pub(crate) const SIGNATURE: &[u8] = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1";

const HEADER_BYTES: usize = 512;
const ENTRY_BYTES: usize = 128;
const MINI_SECTOR_BITS: u32 = 6;
/// Numbers from here on are no sectors, but say that a chain ends.
const END: u32 = 0xffff_fffa;
/// Entries of the root that are looked at. Documents have some twenty.
const MAX_ENTRIES: usize = 1 << 12;

/// Bytes of the properties of a document.
const MAX_SUMMARY: usize = 1 << 20;
/// The type of a text, and the code page of others, in 16 bits a letter.
const UNICODE: u16 = 0x1f;
const UTF_16: u16 = 1200;

/// An open compound file.
pub(crate) struct CompoundFile<R> {
    source: R,
    sector_bits: u32,
    /// Sectors that the file has room for: no chain is longer.
    sectors: usize,
    /// For each sector the one after it.
    table: Vec<u32>,
    mini_table: Vec<u32>,
    /// The sectors of streams below `mini_bytes`, one after the other.
    mini_stream: Vec<u8>,
    mini_bytes: u64,
    streams: HashMap<String, Stream>,
}

#[derive(Clone, Copy)]
struct Stream {
    start: u32,
    bytes: u64,
}

/// An entry of the directory.
struct Entry {
    name: String,
    is_stream: bool,
    /// Entries of the same folder, and the first one in it.
    left: u32,
    right: u32,
    child: u32,
    stream: Stream,
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

impl<R: Read + Seek> CompoundFile<R> {
    /// Opens a compound file; `None` if it is not one.
    pub fn open(mut source: R) -> io::Result<Option<Self>> {
        let length = source.seek(SeekFrom::End(0))?;
        source.rewind()?;
        let mut header = Vec::new();
        (&mut source).take(HEADER_BYTES as u64).read_to_end(&mut header)?;
        let sector_bits = u32::from(u16_at(&header, 30).unwrap_or(0));
        if !header.starts_with(SIGNATURE)
            || header.len() < HEADER_BYTES
            || !(7..=16).contains(&sector_bits)
        {
            return Ok(None);
        }
        let field = |at| u32_at(&header, at).unwrap_or(END);
        let mut file = Self {
            source,
            sector_bits,
            sectors: usize::try_from(length >> sector_bits).unwrap_or(usize::MAX),
            table: Vec::new(),
            mini_table: Vec::new(),
            mini_stream: Vec::new(),
            mini_bytes: u64::from(field(56)),
            streams: HashMap::new(),
        };
        file.read_table(&header)?;
        let mini_table = file.chain(field(60), u64::MAX)?;
        file.mini_table = numbers(&mini_table).collect();
        file.read_directory(field(48))?;
        Ok(Some(file))
    }

    fn sector(&mut self, number: u32) -> io::Result<Vec<u8>> {
        let bytes = 1 << self.sector_bits;
        let mut sector = Vec::with_capacity(bytes);
        // The header takes the place of a sector before the first.
        self.source.seek(SeekFrom::Start((u64::from(number) + 1) << self.sector_bits))?;
        (&mut self.source).take(bytes as u64).read_to_end(&mut sector)?;
        Ok(sector)
    }

    /// The table of sectors is in sectors that the header lists, and further lists in a chain.
    fn read_table(&mut self, header: &[u8]) -> io::Result<()> {
        let mut parts: Vec<u32> = numbers(&header[76..]).collect();
        let mut next = u32_at(header, 68).unwrap_or(END);
        let mut lists = 0;
        while next < END && lists * 128 <= self.sectors {
            let mut list: Vec<u32> = numbers(&self.sector(next)?).collect();
            next = list.pop().unwrap_or(END);
            parts.append(&mut list);
            lists += 1;
        }
        let enough = (self.sectors >> (self.sector_bits - 2)) + 1;
        for part in parts.into_iter().filter(|&part| part < END).take(enough) {
            let sector = self.sector(part)?;
            self.table.extend(numbers(&sector));
        }
        Ok(())
    }

    /// The sectors from this one on, up to this many bytes.
    fn chain(&mut self, start: u32, bytes: u64) -> io::Result<Vec<u8>> {
        let mut chain = Vec::new();
        let (mut next, mut steps) = (start, 0);
        while next < END && steps <= self.sectors && (chain.len() as u64) < bytes {
            chain.append(&mut self.sector(next)?);
            next = self.table.get(next as usize).copied().unwrap_or(END);
            steps += 1;
        }
        chain.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
        Ok(chain)
    }

    fn read_directory(&mut self, start: u32) -> io::Result<()> {
        let directory = self.chain(start, u64::MAX)?;
        let entry = |number: u32| {
            let start = (number as usize).checked_mul(ENTRY_BYTES)?;
            Entry::of(directory.get(start..start + ENTRY_BYTES)?)
        };
        let Some(root) = entry(0) else { return Ok(()) };
        self.mini_stream = self.chain(root.stream.start, root.stream.bytes)?;
        let mut open = vec![root.child];
        for _ in 0..MAX_ENTRIES {
            let Some(number) = open.pop() else { break };
            let Some(entry) = entry(number) else { continue };
            open.extend([entry.left, entry.right]);
            if entry.is_stream {
                self.streams.insert(entry.name, entry.stream);
            }
        }
        Ok(())
    }

    pub fn has(&self, stream: &str) -> bool {
        self.streams.contains_key(stream)
    }

    /// Whether the file is a document that needs a password.
    pub fn is_encrypted(&self) -> bool {
        self.has("EncryptedPackage") || self.has("EncryptedSummary")
    }

    /// The title in the document's properties.
    pub fn title(&mut self) -> io::Result<Option<String>> {
        let summary = self.stream("\u{5}SummaryInformation", MAX_SUMMARY)?;
        Ok(title(&summary.unwrap_or_default()).and_then(|title| tidy_title(&clean(&title))))
    }

    /// The bytes of a stream, `limit` at most; `None` if there is no such stream.
    pub fn stream(&mut self, name: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(&Stream { start, bytes }) = self.streams.get(name) else { return Ok(None) };
        let wanted = bytes.min(limit as u64);
        if bytes >= self.mini_bytes {
            return self.chain(start, wanted).map(Some);
        }
        let mut stream = Vec::new();
        let (mut next, mut steps) = (start, 0);
        while next < END && steps <= self.mini_table.len() && (stream.len() as u64) < wanted {
            let at = (next as usize) << MINI_SECTOR_BITS;
            let Some(sector) = self.mini_stream.get(at..) else { break };
            stream.extend_from_slice(&sector[..sector.len().min(1 << MINI_SECTOR_BITS)]);
            next = self.mini_table.get(next as usize).copied().unwrap_or(END);
            steps += 1;
        }
        stream.truncate(wanted as usize);
        Ok(Some(stream))
    }
}

impl Entry {
    fn of(bytes: &[u8]) -> Option<Self> {
        // Its length counts a zero at the end.
        let letters = usize::from(u16_at(bytes, 64)?).min(64) / 2;
        let units = bytes[..64].chunks_exact(2).take(letters.saturating_sub(1));
        let units: Vec<u16> = units.map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
        Some(Self {
            name: String::from_utf16_lossy(&units),
            is_stream: bytes.get(66) == Some(&2),
            left: u32_at(bytes, 68)?,
            right: u32_at(bytes, 72)?,
            child: u32_at(bytes, 76)?,
            stream: Stream {
                start: u32_at(bytes, 116)?,
                // Old programs left something in the upper half of the number.
                bytes: u64::from(u32_at(bytes, 120)?),
            },
        })
    }
}

/// The title in a set of properties ([MS-OLEPS] 2.21). Its code page is one of the others.
fn title(summary: &[u8]) -> Option<String> {
    let set = summary.get(u32_at(summary, 44)? as usize..)?;
    let count = u32_at(set, 4)? as usize;
    let properties = set.get(8..)?.chunks_exact(8).take(count);
    let property = |number: u32| {
        let mut properties = properties.clone();
        let property = properties.find(|property| u32_at(property, 0) == Some(number))?;
        set.get(u32_at(property, 4)? as usize..)
    };
    let code_page = property(1).and_then(|value| u16_at(value, 4));
    let value = property(2)?;
    let length = u32_at(value, 4)? as usize;
    let bytes = value.get(8..)?;
    if u16_at(value, 0) == Some(UNICODE) || code_page == Some(UTF_16) {
        let units = bytes.chunks_exact(2).take(length);
        let units = units.map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
        return Some(String::from_utf16_lossy(&units.collect::<Vec<_>>()));
    }
    let letters = Letters::of_code_page(i32::from(code_page.unwrap_or(0)));
    Some(letters.decode(&bytes[..length.min(bytes.len())]).into_owned())
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes
        .chunks_exact(4)
        .map(|number| u32::from_le_bytes([number[0], number[1], number[2], number[3]]))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::documents::samples::compound;

    fn streams(bytes: Vec<u8>) -> Option<Vec<Option<Vec<u8>>>> {
        let mut file = CompoundFile::open(Cursor::new(bytes)).unwrap()?;
        Some(["a", "b", "c", "d"].map(|name| file.stream(name, 100_000).unwrap()).to_vec())
    }

    #[test]
    fn small_and_large_streams_are_found() {
        let large: Vec<u8> = (0..70_000_u32).map(|n| (n % 251) as u8).collect();
        let bytes = compound(&[("a", b"small"), ("b", &large), ("c", &[7; 130]), ("e", b"")]);
        let found = streams(bytes.clone()).unwrap();
        assert_eq!(found[0].as_deref(), Some(&b"small"[..]));
        assert_eq!(found[1].as_ref(), Some(&large));
        assert_eq!(found[2].as_deref(), Some(&[7; 130][..]));
        assert_eq!(found[3], None);
        let mut file = CompoundFile::open(Cursor::new(bytes)).unwrap().unwrap();
        assert_eq!(file.stream("b", 3).unwrap().unwrap(), large[..3]);
    }

    #[test]
    fn damaged_files_end() {
        let whole = compound(&[("a", &[1; 5000]), ("b", b"x")]);
        assert!(streams(b"PK".to_vec()).is_none());
        for length in (0..whole.len()).step_by(97) {
            let _ = streams(whole[..length].to_vec());
        }
        // Chains, lists and folders that lead to themselves.
        for value in [0_u32, 1, 2, 3, 0xffff_fff0] {
            for at in (24..whole.len() - 4).step_by(4) {
                let mut bytes = whole.clone();
                bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
                let _ = streams(bytes);
            }
        }
    }

    #[test]
    fn the_title_is_among_the_properties() {
        let set = |kind: u32, page: u16, text: &[u8], length: u32| {
            let mut bytes = vec![0; 44];
            bytes.extend(48_u32.to_le_bytes());
            for number in [0, 2, 1, 24, 2, 32, 2, u32::from(page), kind, length] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.extend(text);
            title(&bytes)
        };
        assert_eq!(set(0x1e, 1258, b"Ti\xea\xecng\0", 7).as_deref(), Some("Tiê\u{301}ng\0"));
        assert_eq!(set(0x1f, 1252, b"a\0\xbf\x1e", 2).as_deref(), Some("aế"));
        assert_eq!(set(0x1e, 1252, b"a", u32::MAX).as_deref(), Some("a"));
        assert_eq!(title(b"short"), None);
    }
}
