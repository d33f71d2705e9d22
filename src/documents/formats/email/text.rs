//! The text of a part of a message, also where its encoding is missing, unknown or wrong.

use std::borrow::Cow;

use encoding_rs::Encoding;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{Encoding as Transfer, MessagePart, MimeHeaders, PartType};

use crate::documents::encoding::{decode, viscii};

/// The text of a part, whose bytes are in `raw`, the whole message.
pub(super) fn of<'p>(part: &'p MessagePart, raw: &[u8]) -> Cow<'p, str> {
    let (PartType::Text(text) | PartType::Html(text)) = &part.body else {
        return Cow::Borrowed("");
    };
    let charset = part.content_type().and_then(|kind| kind.attribute("charset"));
    let is_viscii = charset.is_some_and(|charset| charset.to_ascii_lowercase().contains("viscii"));
    if !is_viscii && !text.contains('\u{fffd}') {
        return Cow::Borrowed(text);
    }
    let Some(bytes) = bytes(part, raw) else { return Cow::Borrowed(text) };
    if is_viscii {
        return Cow::Owned(viscii(&bytes));
    }
    let declared = charset.and_then(|charset| Encoding::for_label(charset.as_bytes()));
    decode(&bytes, declared).map_or(Cow::Borrowed(text), |text| Cow::Owned(text.into_owned()))
}

/// The bytes of a part before they were taken for text.
fn bytes<'r>(part: &MessagePart, raw: &'r [u8]) -> Option<Cow<'r, [u8]>> {
    let encoded = raw.get(part.offset_body as usize..part.offset_end as usize)?;
    match part.encoding {
        Transfer::None => Some(Cow::Borrowed(encoded)),
        Transfer::QuotedPrintable => quoted_printable_decode(encoded).map(Cow::Owned),
        Transfer::Base64 => base64_decode(encoded).map(Cow::Owned),
    }
}
