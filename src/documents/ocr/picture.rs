//! A picture of a PDF file as grey values.
//!
//! Colours need not be exact to be read: profiles are ignored, and inks are mixed by weights. Source:
//! ISO 32000-1, 8.6 (colour spaces) and 8.9 (images).

use hayro_syntax::object::dict::Dict;
use hayro_syntax::object::stream::{ImageColorSpace, ImageDecodeParams, Stream};
use hayro_syntax::object::{Array, Name, Number, Object};

/// Pixels of a picture: an A2 page at 400 dpi has 62 million.
const MAX_PIXELS: usize = 80_000_000;
/// A palette's base may be a space with a base of its own.
const MAX_NESTED_SPACES: usize = 4;

/// Grey values, `[height, width]`; 0 is black.
pub(super) struct Grey {
    pub width: usize,
    pub height: usize,
    pub values: Vec<u8>,
}

/// A picture and how opaque it is.
pub(super) struct Picture {
    pub grey: Grey,
    /// 255 is opaque. It may have another size than the picture.
    pub alpha: Option<Grey>,
}

/// How samples become grey.
enum ColourSpace {
    Grey,
    Rgb,
    Cmyk,
    /// Lightness comes first, and the other two components don't matter.
    Lab,
    /// Grey values of a palette's entries.
    Palette(Vec<u8>),
    /// Inks of which more is darker.
    Inks(usize),
}

impl ColourSpace {
    fn of(object: &Object, depth: usize) -> Option<Self> {
        match object {
            Object::Name(name) => Self::named(name),
            Object::Array(array) if depth < MAX_NESTED_SPACES => Self::of_array(array, depth),
            _ => None,
        }
    }

    fn named(name: &Name) -> Option<Self> {
        Some(match name.as_str() {
            "DeviceGray" | "CalGray" | "G" => Self::Grey,
            "DeviceRGB" | "CalRGB" | "RGB" => Self::Rgb,
            "DeviceCMYK" | "CMYK" => Self::Cmyk,
            _ => return None,
        })
    }

    fn of_array(array: &Array, depth: usize) -> Option<Self> {
        let mut items = array.iter::<Object>();
        let Object::Name(family) = items.next()? else { return None };
        match family.as_str() {
            "ICCBased" => {
                let Object::Stream(profile) = items.next()? else { return None };
                Self::with_components(profile.dict().get::<u8>("N")?)
            }
            "Indexed" | "I" => {
                let base = Self::of(&items.next()?, depth + 1)?;
                let _highest = items.next()?;
                let table = match items.next()? {
                    Object::String(string) => string.as_bytes().to_vec(),
                    Object::Stream(stream) => stream.decoded_data().ok()?.into_owned(),
                    _ => return None,
                };
                let entries = table.chunks_exact(base.components()).take(256);
                Some(Self::Palette(entries.map(|entry| base.grey(entry)).collect()))
            }
            "Separation" => Some(Self::Inks(1)),
            "DeviceN" => {
                let Object::Array(names) = items.next()? else { return None };
                Some(Self::Inks(names.iter::<Name>().count().clamp(1, 32)))
            }
            "Lab" => Some(Self::Lab),
            _ => Self::named(&family),
        }
    }

    fn with_components(count: u8) -> Option<Self> {
        Some(match count {
            1 => Self::Grey,
            3 => Self::Rgb,
            4 => Self::Cmyk,
            _ => return None,
        })
    }

    fn components(&self) -> usize {
        match self {
            Self::Grey | Self::Palette(_) => 1,
            Self::Rgb | Self::Lab => 3,
            Self::Cmyk => 4,
            Self::Inks(count) => *count,
        }
    }

    /// The luma (ITU-R BT.601) of one pixel.
    fn grey(&self, pixel: &[u8]) -> u8 {
        let luma = |r: u8, g: u8, b: u8| {
            ((299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b)) / 1000) as u8
        };
        match (self, pixel) {
            (Self::Grey | Self::Lab, [value, ..]) => *value,
            (Self::Rgb, [r, g, b, ..]) => luma(*r, *g, *b),
            (Self::Cmyk, [c, m, y, k, ..]) => (255 - luma(*c, *m, *y)).saturating_sub(*k),
            (Self::Palette(entries), [index, ..]) => {
                entries.get(usize::from(*index)).copied().unwrap_or(255)
            }
            (Self::Inks(_), inks) => 255 - inks.iter().copied().max().unwrap_or(0),
            _ => 255,
        }
    }
}

/// The picture of an image stream. `fill` is the grey that a stencil is painted with. A colour space
/// may be a name that the resources of the page explain, which `named` looks up.
pub(super) fn decode<'a>(
    stream: &Stream<'a>,
    fill: u8,
    named: &dyn Fn(&Name<'a>) -> Option<Object<'a>>,
) -> Option<Picture> {
    let dict = stream.dict();
    let is_stencil = either::<bool>(dict, "ImageMask", "IM").unwrap_or(false);
    if is_stencil {
        let shape = samples(stream, &ColourSpace::Grey, 1)?;
        // Where the sample is 0, paint.
        let alpha =
            Grey { values: shape.values.iter().map(|value| 255 - value).collect(), ..shape };
        let grey = Grey { width: 1, height: 1, values: vec![fill] };
        return Some(Picture { grey, alpha: Some(alpha) });
    }
    let space = either::<Object>(dict, "ColorSpace", "CS").and_then(|object| {
        let explained = match &object {
            Object::Name(name) if ColourSpace::named(name).is_none() => named(name),
            _ => None,
        };
        ColourSpace::of(&explained.unwrap_or(object), 0)
    });
    let bits = either::<u8>(dict, "BitsPerComponent", "BPC").unwrap_or(8);
    let grey = match space {
        Some(space) => samples(stream, &space, bits)?,
        // JPEG 2000 says by itself what its samples are.
        None => samples(stream, &ColourSpace::Grey, bits)?,
    };
    let alpha = match (dict.get::<Stream>("SMask"), dict.get::<Stream>("Mask")) {
        (Some(mask), _) => samples(&mask, &ColourSpace::Grey, bits_of(&mask)),
        (None, Some(mask)) => samples(&mask, &ColourSpace::Grey, 1)
            .map(|mask| Grey { values: mask.values.iter().map(|v| 255 - v).collect(), ..mask }),
        (None, None) => None,
    };
    Some(Picture { grey, alpha })
}

fn bits_of(stream: &Stream) -> u8 {
    either::<u8>(stream.dict(), "BitsPerComponent", "BPC").unwrap_or(8)
}

/// The samples of a stream as grey values.
fn samples(stream: &Stream, space: &ColourSpace, bits: u8) -> Option<Grey> {
    let dict = stream.dict();
    let width = either::<u32>(dict, "Width", "W")?;
    let height = either::<u32>(dict, "Height", "H")?;
    let is_indexed = matches!(space, ColourSpace::Palette(_));
    let decoded = stream
        .decoded_image(&ImageDecodeParams {
            is_indexed,
            bpc: Some(bits),
            num_components: None,
            target_dimension: None,
            width,
            height,
        })
        .ok()?;
    let (mut width, mut height, mut bits) = (width as usize, height as usize, bits);
    let mut own_space = None;
    if let Some(found) = &decoded.image_data {
        (width, height) = (found.width as usize, found.height as usize);
        bits = found.bits_per_component;
        own_space = match found.color_space {
            // The samples are as many as these need, whatever the dictionary says.
            Some(ImageColorSpace::Rgb) if space.components() != 3 => Some(ColourSpace::Rgb),
            Some(ImageColorSpace::Cmyk) if space.components() != 4 => Some(ColourSpace::Cmyk),
            Some(ImageColorSpace::Gray) if space.components() != 1 => Some(ColourSpace::Grey),
            _ => None,
        };
    }
    let space = own_space.as_ref().unwrap_or(space);
    let components = space.components();
    if width == 0 || height == 0 || width.checked_mul(height)? > MAX_PIXELS {
        return None;
    }
    let inverted = inverted(dict, is_indexed);
    let row_bytes = (width * components * usize::from(bits)).div_ceil(8);
    // Missing rows are white.
    let mut values = vec![255; width * height];
    let mut row = vec![0_u8; width * components];
    for (line, out) in decoded.data.chunks_exact(row_bytes).zip(values.chunks_exact_mut(width)) {
        unpack(line, bits, is_indexed, &mut row);
        if inverted {
            for sample in &mut row {
                *sample = 255 - *sample;
            }
        }
        for (pixel, out) in row.chunks_exact(components).zip(out) {
            *out = space.grey(pixel);
        }
    }
    Some(Grey { width, height, values })
}

/// Whether samples run from the highest value to the lowest.
fn inverted(dict: &Dict, is_indexed: bool) -> bool {
    let decode = either::<Array>(dict, "Decode", "D");
    let ends = decode.and_then(|array| {
        let mut numbers = array.iter::<Number>();
        Some((numbers.next()?.as_f64(), numbers.next()?.as_f64()))
    });
    !is_indexed && ends.is_some_and(|(first, last)| first > last)
}

/// Samples of 1, 2, 4, 8 or 16 bits as bytes: scaled to 0–255, but for indices into a palette.
fn unpack(line: &[u8], bits: u8, is_indexed: bool, row: &mut [u8]) {
    match bits {
        8 => row.copy_from_slice(&line[..row.len()]),
        16 => row.iter_mut().zip(line.chunks_exact(2)).for_each(|(out, pair)| *out = pair[0]),
        1 | 2 | 4 => {
            let (per_byte, max) = (usize::from(8 / bits), (1_u8 << bits) - 1);
            let scale = if is_indexed { 1 } else { 255 / max };
            for (at, out) in row.iter_mut().enumerate() {
                let shift = 8 - bits as usize * (at % per_byte + 1);
                *out = (line[at / per_byte] >> shift & max) * scale;
            }
        }
        _ => row.fill(255),
    }
}

/// An entry under its name, or under the short name that pictures in a content stream use.
fn either<'a, T>(dict: &Dict<'a>, name: &str, short: &str) -> Option<T>
where
    T: TryFrom<Object<'a>>,
{
    let object = dict.get::<Object>(name).or_else(|| dict.get::<Object>(short))?;
    T::try_from(object).ok()
}
