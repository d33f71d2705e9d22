//! Files for tests.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{Document, ReadError, read};

pub(crate) type Outcome = Vec<Result<Document, ReadError>>;

/// What is read from a file with this content, in a folder of its own.
pub(crate) fn documents(name: &str, bytes: impl AsRef<[u8]>) -> (TempDir, Outcome) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let documents = read(&path).collect();
    (folder, documents)
}

/// A ZIP file of these parts, in a folder of its own.
pub(crate) fn package(name: &str, parts: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let mut zip = ZipWriter::new(fs::File::create(&path).unwrap());
    for (name, text) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    (folder, path)
}

/// Of a sector or an entry that is not there.
const NONE: u32 = 0xffff_ffff;

fn le(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The directory of a compound file: names, kinds, first sectors and lengths.
fn directory(entries: &[(&str, u8, u32, usize)]) -> Vec<u8> {
    let mut directory = Vec::new();
    for (number, (name, kind, start, length)) in (0_u32..).zip(entries) {
        let mut entry: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        entry.resize(64, 0);
        entry.extend_from_slice(&(2 * name.len() as u16 + 2).to_le_bytes());
        entry.extend_from_slice(&[*kind, 1]);
        // Each is to the right of the one before it.
        let next = if number as usize + 1 < entries.len() { number + 1 } else { NONE };
        let siblings = if number == 0 { [NONE, NONE, next] } else { [NONE, next, NONE] };
        entry.extend(le(&siblings));
        entry.resize(116, 0);
        entry.extend(le(&[*start, *length as u32, 0]));
        directory.extend(entry);
    }
    directory
}

/// A compound file of these streams.
pub(crate) fn compound(streams: &[(&str, &[u8])]) -> Vec<u8> {
    const SECTOR: usize = 512;
    const MINI: usize = 64;
    const SMALL: usize = 4096;
    /// Puts bytes into sectors of this size; gives the number of the first.
    fn put(sectors: &mut Vec<u8>, table: &mut Vec<u32>, bytes: &[u8], size: usize) -> u32 {
        let start = table.len() as u32;
        for (number, part) in (start + 1..).zip(bytes.chunks(size)) {
            sectors.extend_from_slice(part);
            sectors.resize(sectors.len().next_multiple_of(size), 0);
            table.push(number);
        }
        if bytes.is_empty() {
            return 0xffff_fffe;
        }
        *table.last_mut().unwrap() = 0xffff_fffe;
        start
    }
    let (mut sectors, mut table) = (Vec::new(), Vec::new());
    let (mut mini, mut mini_table) = (Vec::new(), Vec::new());
    let mut entries = vec![("Root Entry", 5, 0, 0)];
    for (name, bytes) in streams {
        let start = if bytes.len() < SMALL {
            put(&mut mini, &mut mini_table, bytes, MINI)
        } else {
            put(&mut sectors, &mut table, bytes, SECTOR)
        };
        entries.push((name, 2, start, bytes.len()));
    }
    entries[0].2 = put(&mut sectors, &mut table, &mini, SECTOR);
    entries[0].3 = mini.len();
    let mini_start = put(&mut sectors, &mut table, &le(&mini_table), SECTOR);
    let directory = directory(&entries);
    let directory = put(&mut sectors, &mut table, &directory, SECTOR);
    let parts = (1..1 << 20).find(|parts| table.len() + parts <= parts * SECTOR / 4).unwrap();
    let first_part = table.len() as u32;
    table.resize(table.len() + parts, 0xffff_fffd);
    table.resize(parts * SECTOR / 4, NONE);
    sectors.extend(le(&table));
    let mut header = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1".to_vec();
    header.resize(24, 0);
    header.extend([0x3e, 0, 3, 0, 0xfe, 0xff, 9, 0, 6, 0]);
    header.resize(44, 0);
    header.extend(le(&[parts as u32, directory, 0, SMALL as u32, mini_start, 1, 0xffff_fffe, 0]));
    header.extend((0..109).flat_map(|at| {
        let part = if at < parts as u32 { first_part + at } else { NONE };
        part.to_le_bytes()
    }));
    header.extend(sectors);
    header
}
