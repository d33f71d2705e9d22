//! A page of a PDF file that is a picture, as grey values.
//!
//! A scan is one picture as large as its page, or strips and layers of them. Only pictures are drawn:
//! letters need no recognition, and lines help none.

use hayro_syntax::content::TypedIter;
use hayro_syntax::content::ops::TypedInstruction;
use hayro_syntax::object::{Array, Dict, Name, Number};
use hayro_syntax::page::{Page, Resources};

use super::picture::{Grey, Picture, decode};

/// Forms that hold forms.
const MAX_DEPTH: usize = 6;
/// Pictures and forms of one page; scanners write a few hundred strips at most.
const MAX_DRAWN: usize = 2_000;
/// The resolution that pages are drawn in, in dots per inch: that of the finest picture, within these.
const DPI: std::ops::RangeInclusive<f64> = 100.0..=400.0;
/// Pixels of a drawn page.
const MAX_PIXELS: f64 = 60e6;
/// A picture that is shrunk is averaged over so many samples each way.
const MAX_SAMPLES: usize = 4;

/// The picture of a page and its resolution in dots per inch.
pub(super) struct Drawn {
    pub grey: Grey,
    pub dpi: u32,
}

/// `[a, b, c, d, e, f]`: (x, y) → (a·x + c·y + e, b·x + d·y + f).
type Matrix = [f64; 6];

/// `first`, then `second`.
fn then(first: Matrix, second: Matrix) -> Matrix {
    let [a, b, c, d, e, f] = second;
    let point = |x: f64, y: f64| [a * x + c * y, b * x + d * y];
    let ([m0, m1], [m2, m3]) = (point(first[0], first[1]), point(first[2], first[3]));
    let [m4, m5] = point(first[4], first[5]);
    [m0, m1, m2, m3, m4 + e, m5 + f]
}

fn inverse([a, b, c, d, e, f]: Matrix) -> Option<Matrix> {
    let determinant = a * d - b * c;
    (determinant.abs() > 1e-12).then(|| {
        let (a, b, c, d) = (d / determinant, -b / determinant, -c / determinant, a / determinant);
        [a, b, c, d, -(a * e + c * f), -(b * e + d * f)]
    })
}

/// A picture in the unit square, and where that lies on the page, in points from its upper left.
struct Placed {
    picture: Picture,
    matrix: Matrix,
}

impl Placed {
    /// Pixels of the picture in an inch of the page.
    fn dpi(&self) -> f64 {
        let [a, b, c, d, ..] = self.matrix;
        let shape = self.picture.alpha.as_ref().filter(|alpha| alpha.width > 1);
        let Grey { width, height, .. } = shape.unwrap_or(&self.picture.grey);
        let across = *width as f64 / a.hypot(b).max(1e-6);
        let down = *height as f64 / c.hypot(d).max(1e-6);
        72.0 * across.max(down)
    }
}

/// Draws a page; `None` if it has no pictures that can be decoded.
pub(super) fn draw(page: &Page) -> Option<Drawn> {
    let mut collector = Collector { placed: Vec::new(), forms: 0 };
    let base = page.initial_transform(true).as_coeffs();
    collector.collect(page.typed_operations(), page.resources(), base, 0, 0);
    let placed = collector.placed;
    let (width, height) = page.render_dimensions();
    let (width, height) = (f64::from(width).max(1.0), f64::from(height).max(1.0));
    // Stamps and logos may be finer than the scan: the largest picture counts.
    let area = |placed: &Placed| {
        (placed.matrix[0] * placed.matrix[3] - placed.matrix[1] * placed.matrix[2]).abs()
    };
    let largest = placed.iter().max_by(|a, b| area(a).total_cmp(&area(b)))?;
    let dpi = largest.dpi().clamp(*DPI.start(), *DPI.end());
    let scale = (dpi / 72.0).min((MAX_PIXELS / (width * height)).sqrt());
    let mut page = Grey {
        width: (width * scale).ceil() as usize,
        height: (height * scale).ceil() as usize,
        values: Vec::new(),
    };
    page.values = vec![255; page.width * page.height];
    for Placed { picture, matrix } in &placed {
        paint(picture, then(*matrix, [scale, 0.0, 0.0, scale, 0.0, 0.0]), &mut page);
    }
    Some(Drawn { grey: page, dpi: (scale * 72.0).round() as u32 })
}

struct Collector {
    placed: Vec<Placed>,
    /// How many have been entered: a form that draws others twice doubles at every level.
    forms: usize,
}

impl Collector {
    /// The pictures that operators draw, under the transformation `matrix` and painted with `fill`.
    fn collect(
        &mut self,
        mut operators: TypedIter,
        resources: &Resources,
        mut matrix: Matrix,
        mut fill: u8,
        depth: usize,
    ) {
        let mut saved: Vec<(Matrix, u8)> = Vec::new();
        while let Some(operator) = operators.next() {
            if self.placed.len() + self.forms >= MAX_DRAWN {
                return;
            }
            match operator {
                TypedInstruction::SaveState(_) if saved.len() < 256 => saved.push((matrix, fill)),
                TypedInstruction::RestoreState(_) => {
                    (matrix, fill) = saved.pop().unwrap_or((matrix, fill));
                }
                TypedInstruction::Transform(t) => {
                    let own = [t.0, t.1, t.2, t.3, t.4, t.5].map(|number| number.as_f64());
                    matrix = then(own, matrix);
                }
                TypedInstruction::NonStrokeColorDeviceGray(grey) => fill = shade(&[grey.0]),
                TypedInstruction::NonStrokeColorDeviceRgb(rgb) => {
                    fill = shade(&[rgb.0, rgb.1, rgb.2]);
                }
                TypedInstruction::NonStrokeColorCmyk(c) => fill = shade(&[c.0, c.1, c.2, c.3]),
                TypedInstruction::NonStrokeColor(colour) => fill = shade(&colour.0),
                TypedInstruction::NonStrokeColorNamed(colour) => fill = shade(&colour.0),
                TypedInstruction::InlineImage(image) => {
                    let picture =
                        decode(image.0, fill, &|name: &Name| resources.get_color_space(name));
                    self.placed.extend(picture.map(|picture| Placed { picture, matrix }));
                }
                TypedInstruction::XObject(name) => {
                    self.external(name.0, resources, matrix, fill, depth);
                }
                _ => {}
            }
        }
    }

    /// A picture or a form among the resources.
    fn external(
        &mut self,
        name: &Name,
        resources: &Resources,
        matrix: Matrix,
        fill: u8,
        depth: usize,
    ) {
        let Some(stream) = resources.get_x_object(name) else { return };
        let dict = stream.dict();
        match dict.get::<Name>("Subtype").as_ref().map(Name::as_str) {
            Some("Image") => {
                let picture = decode(&stream, fill, &|name: &Name| resources.get_color_space(name));
                self.placed.extend(picture.map(|picture| Placed { picture, matrix }));
            }
            Some("Form") if depth < MAX_DEPTH => {
                self.forms += 1;
                let Ok(content) = stream.decoded_data() else { return };
                let own = dict.get::<Array>("Matrix").and_then(|array| {
                    let numbers: Vec<f64> = array.iter::<Number>().map(|n| n.as_f64()).collect();
                    Matrix::try_from(numbers).ok()
                });
                let matrix = own.map_or(matrix, |own| then(own, matrix));
                let operators = TypedIter::new(&content);
                match dict.get::<Dict>("Resources") {
                    Some(own) => {
                        let own = Resources::new(own);
                        self.collect(operators, &own, matrix, fill, depth + 1);
                    }
                    None => self.collect(operators, resources, matrix, fill, depth + 1),
                }
            }
            _ => {}
        }
    }
}

/// The grey of a colour of one, three or four components from 0 to 1.
fn shade(colour: &[Number]) -> u8 {
    let parts: Vec<f64> = colour.iter().map(|number| number.as_f64().clamp(0.0, 1.0)).collect();
    let luma = |r: f64, g: f64, b: f64| 0.299 * r + 0.587 * g + 0.114 * b;
    let grey = match *parts.as_slice() {
        [grey] => grey,
        [r, g, b] => luma(r, g, b),
        [c, m, y, k] => (1.0 - luma(c, m, y) - k).max(0.0),
        _ => 0.0,
    };
    (255.0 * grey) as u8
}

/// Paints a picture, whose unit square `matrix` lays on the pixels of the page.
fn paint(picture: &Picture, matrix: Matrix, page: &mut Grey) {
    let Some(back) = inverse(matrix) else { return };
    let [a, b, c, d, e, f] = matrix;
    let span = |origin: f64, first: f64, second: f64, limit: usize| {
        let low = origin + first.min(0.0) + second.min(0.0);
        let high = origin + first.max(0.0) + second.max(0.0);
        (low.floor().max(0.0) as usize).min(limit)..(high.ceil().max(0.0) as usize).min(limit)
    };
    let columns = span(e, a, c, page.width);
    let shape = picture.alpha.as_ref().filter(|alpha| alpha.width > 1).unwrap_or(&picture.grey);
    let shrunk =
        (shape.width as f64 / a.hypot(b).max(1.0)).max(shape.height as f64 / c.hypot(d).max(1.0));
    let samples = (shrunk.round() as usize).clamp(1, MAX_SAMPLES);
    for y in span(f, b, d, page.height) {
        let row = &mut page.values[y * page.width..][columns.clone()];
        for (x, out) in columns.clone().zip(row) {
            let (mut sum, mut opaque) = (0, 0);
            for at in 0..samples * samples {
                let offset = |n: usize| (n as f64 + 0.5) / samples as f64;
                let (x, y) = (x as f64 + offset(at % samples), y as f64 + offset(at / samples));
                let u = back[0] * x + back[2] * y + back[4];
                let v = back[1] * x + back[3] * y + back[5];
                let Some(value) = at_point(&picture.grey, u, v) else { continue };
                let alpha = match &picture.alpha {
                    Some(alpha) => u32::from(at_point(alpha, u, v).unwrap_or(0)),
                    None => 255,
                };
                sum += u32::from(value) * alpha;
                opaque += alpha;
            }
            let whole = (255 * samples * samples) as u32;
            *out = ((sum + u32::from(*out) * (whole - opaque)) / whole) as u8;
        }
    }
}

/// The value at a point of the unit square, whose upper edge is v = 1.
fn at_point(grey: &Grey, u: f64, v: f64) -> Option<u8> {
    let inside = 0.0..1.0;
    (inside.contains(&u) && v > 0.0 && v <= 1.0).then(|| {
        let column = ((u * grey.width as f64) as usize).min(grey.width - 1);
        let row = (((1.0 - v) * grey.height as f64) as usize).min(grey.height - 1);
        grey.values[row * grey.width + column]
    })
}

#[cfg(test)]
mod tests {
    use hayro_syntax::Pdf;

    use super::*;

    /// A PDF file of one page of 72 × 36 points whose resources have the picture `/I`.
    fn pdf(page: &str, content: &str, picture: &str, data: &[u8]) -> Vec<u8> {
        let objects: [Vec<u8>; 5] = [
            b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
            b"<</Type/Pages/Count 1/Kids[3 0 R]>>".to_vec(),
            format!(
                "<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 36]{page}/Contents 4 0 R\
                 /Resources<</XObject<</I 5 0 R>>>>>>"
            )
            .into_bytes(),
            format!("<</Length {}>>stream\n{content}\nendstream", content.len()).into_bytes(),
            [
                format!("<</Type/XObject/Subtype/Image{picture}/Length {}>>stream\n", data.len())
                    .as_bytes(),
                data,
                b"\nendstream",
            ]
            .concat(),
        ];
        let mut file = b"%PDF-1.7\n".to_vec();
        let mut offsets = Vec::new();
        for (number, object) in (1..).zip(objects) {
            offsets.push(file.len());
            file.extend(format!("{number} 0 obj\n").into_bytes());
            file.extend(object);
            file.extend(b"\nendobj\n");
        }
        let table = file.len();
        file.extend(b"xref\n0 6\n0000000000 65535 f \n");
        for offset in offsets {
            file.extend(format!("{offset:010} 00000 n \n").into_bytes());
        }
        let trailer = "trailer<</Size 6/Root 1 0 R>>\nstartxref\n";
        file.extend(format!("{trailer}{table}\n%%EOF").into_bytes());
        file
    }

    /// The page's picture in quarters: upper left, upper right, lower left, lower right.
    fn quarters(page: &str, content: &str, picture: &str, data: &[u8]) -> Option<[u8; 4]> {
        let pdf = Pdf::new(pdf(page, content, picture, data)).unwrap();
        let Drawn { grey, dpi } = draw(&pdf.pages()[0])?;
        assert_eq!(dpi, 100);
        let at =
            |x: usize, y: usize| grey.values[y * grey.height / 4 * grey.width + x * grey.width / 4];
        Some([at(1, 1), at(3, 1), at(1, 3), at(3, 3)])
    }

    const WHOLE_PAGE: &str = "q 72 0 0 36 0 0 cm /I Do Q";
    const GREY: &str = "/Width 2/Height 2/BitsPerComponent 8/ColorSpace/DeviceGray";
    const FOUR: &[u8] = &[0, 50, 100, 200];

    #[test]
    fn a_picture_stands_where_its_matrix_says() {
        assert_eq!(quarters("", WHOLE_PAGE, GREY, FOUR), Some([0, 50, 100, 200]));
        // Upside down, in two steps.
        let upside_down = "1 0 0 -1 0 36 cm 72 0 0 36 0 0 cm /I Do";
        assert_eq!(quarters("", upside_down, GREY, FOUR), Some([100, 200, 0, 50]));
        // The lower right quarter alone, after a state that was restored.
        let corner = "q 9 0 0 9 0 0 cm Q 36 0 0 18 36 0 cm /I Do";
        let [first, .., last] = quarters("", corner, GREY, &[7; 4]).unwrap();
        assert_eq!((first, last), (255, 7));
    }

    /// Scanners that feed pages sideways say so on the page.
    #[test]
    fn a_turned_page_is_turned() {
        assert_eq!(quarters("/Rotate 180", WHOLE_PAGE, GREY, FOUR), Some([200, 100, 50, 0]));
        let pdf = Pdf::new(pdf("/Rotate 90", WHOLE_PAGE, GREY, FOUR)).unwrap();
        let drawn = draw(&pdf.pages()[0]).unwrap().grey;
        assert_eq!((drawn.width, drawn.height), (50, 100));
        assert_eq!((drawn.values[0], drawn.values[49]), (100, 0));
    }

    #[test]
    fn samples_of_every_kind_become_grey() {
        let kind = |rest: &str, data: &[u8]| {
            quarters("", WHOLE_PAGE, &format!("/Width 2/Height 2{rest}"), data).unwrap()
        };
        let bits = "/BitsPerComponent 1/ColorSpace/DeviceGray";
        assert_eq!(kind(bits, &[0b0100_0000, 0b1000_0000]), [0, 255, 255, 0]);
        let inverted = "/BitsPerComponent 1/ColorSpace/DeviceGray/Decode[1 0]";
        assert_eq!(kind(inverted, &[0b0100_0000, 0b1000_0000]), [255, 0, 0, 255]);
        let nibbles = "/BitsPerComponent 4/ColorSpace/DeviceGray";
        assert_eq!(kind(nibbles, &[0x0f, 0x1e]), [0, 255, 17, 238]);
        let wide = "/BitsPerComponent 16/ColorSpace/DeviceGray";
        assert_eq!(kind(wide, &[9, 0, 8, 0, 7, 0, 6, 0]), [9, 8, 7, 6]);
        let palette = "/BitsPerComponent 8/ColorSpace[/Indexed/DeviceRGB 1<000000ffffff>]";
        assert_eq!(kind(palette, &[0, 1, 1, 9]), [0, 255, 255, 255]);
        let inks = "/BitsPerComponent 8/ColorSpace/DeviceCMYK";
        let [white, black, cyan, _] =
            kind(inks, &[0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((white, black), (255, 0));
        assert!((100..200).contains(&cyan), "{cyan}");
    }

    /// Scanners that separate text from paper write the text as a stencil.
    #[test]
    fn a_stencil_is_painted_with_the_current_colour() {
        let stencil = "/Width 2/Height 2/ImageMask true/BitsPerComponent 1";
        let content = "0.2 g q 72 0 0 36 0 0 cm /I Do Q";
        assert_eq!(
            quarters("", content, stencil, &[0b0100_0000, 0b1000_0000]),
            Some([51, 255, 255, 51])
        );
    }

    #[test]
    fn pages_without_pictures_or_with_broken_ones_draw_nothing() {
        assert_eq!(quarters("", "0 0 m 9 9 l S", GREY, FOUR), None);
        assert_eq!(quarters("", WHOLE_PAGE, "/Width 0/Height 2/BitsPerComponent 8", FOUR), None);
        let broken = "/Width 2/Height 2/BitsPerComponent 8/Filter/DCTDecode";
        assert_eq!(quarters("", WHOLE_PAGE, broken, b"no JPEG"), None);
        let huge = "/Width 900000/Height 900000/BitsPerComponent 1/ColorSpace/DeviceGray";
        assert_eq!(quarters("", WHOLE_PAGE, huge, FOUR), None);
    }
}
