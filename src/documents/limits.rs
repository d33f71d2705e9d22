//! How much is taken of a file, so that a hostile or broken one cannot take all memory.

/// A text file or a web page.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 64 << 20;
/// A PDF file, of which pictures are the larger part.
pub(crate) const MAX_PDF_BYTES: usize = 512 << 20;
/// A workbook of Excel.
pub(crate) const MAX_WORKBOOK_BYTES: usize = 256 << 20;
/// A picture file.
pub(crate) const MAX_PICTURE_BYTES: usize = 64 << 20;
/// The text of one document, all its parts together, once it is unpacked: a ZIP file may claim to
/// hold a thousand times its size.
pub(crate) const MAX_UNPACKED_BYTES: usize = 128 << 20;
/// A line of a JSONL file.
pub(crate) const MAX_LINE_BYTES: usize = 16 << 20;
/// The `id` of a JSON line. All ids of a file are in memory at once.
pub(crate) const MAX_ID_BYTES: usize = 1024;
