//! Picture files: the text that is recognized in them.

use std::fs::File;
use std::path::Path;

use super::flow::Flow;
use crate::documents::bytes::bytes_of;
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::limits::MAX_PICTURE_BYTES;
use crate::documents::ocr::{NoOcr, paragraphs};
use crate::documents::structure::Places;

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    let length = file.metadata().map_err(ReadError::io(path))?.len();
    if length > MAX_PICTURE_BYTES as u64 {
        return Err(ReadError::TooLarge { path: path.to_owned(), limit: MAX_PICTURE_BYTES });
    }
    let path = path.to_owned();
    Ok(Contents::Pictures(Box::new(move |ocr| {
        let unread = |why: NoOcr| ReadError::Picture { path: path.clone(), why };
        let ocr = ocr.map_err(unread)?;
        let bytes = bytes_of(file, &path, MAX_PICTURE_BYTES)?;
        let text = ocr.picture(&bytes, &path).map_err(unread)?;
        Ok(extract(&text))
    })))
}

/// The paragraphs of a picture. A TIFF file may have several, between form feeds.
fn extract(text: &str) -> Extract {
    let pages: Vec<&str> = text.trim_end_matches('\x0c').split('\x0c').collect();
    let mut flow = Flow::default();
    for (number, page) in (1..).zip(&pages) {
        flow.at(number);
        for paragraph in paragraphs(page) {
            flow.text(&paragraph);
            flow.end_block();
        }
    }
    let is_one = pages.len() == 1;
    let mut extract =
        flow.finish(|marks| if is_one { Places::Nowhere } else { Places::Pages(marks) });
    extract.structure.recognized = (1..).take(pages.len()).collect();
    extract
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_paragraphs_of_recognized_text() {
        let one = extract("Dòng một\ndòng hai\n\n ~ \n\nĐoạn hai\n\x0c");
        assert_eq!(one.text, "Dòng một dòng hai\n\nĐoạn hai");
        assert_eq!(one.structure.places, Places::Nowhere);
        let two = extract("một\n\x0chai\n\x0c");
        assert_eq!(two.text, "một\n\nhai");
        assert_eq!(two.structure.places, Places::Pages(vec![(0, 1), (7, 2)]));
        assert_eq!(two.structure.recognized, [1, 2]);
    }
}
