use super::extract;
use crate::documents::ReadError;
use crate::documents::samples::documents;

fn text_of(body: &str) -> String {
    extract(format!("{{\\rtf1\\ansi\\ansicpg1252{FONTS}{body}}}").as_bytes()).text
}

const FONTS: &str = "{\\fonttbl{\\f0\\fnil\\fcharset0{\\*\\panose 0202}Arial;}{\\f1\\fcharset163 Times New Roman;}\
    {\\f2\\fcharset2 Symbol;}{\\f3\\fcharset0 .VnTime;}{\\f4\\fcharset128 MS Mincho;}{\\f5\\fcharset0 VNI-Times;}}\
    {\\colortbl;\\red0;}{\\stylesheet{\\s0 Normal;}{\\s1\\outlinelevel0 Chương;}{\\s2 heading 2;}}";

#[test]
fn text_is_in_the_encoding_of_its_font() {
    let body = "\\f0 caf\\'e9 \\f1 Ti\\'ea\\'ecng Vi\\'ea\\'f2t\\f0 \\u7879\\'3f \\uc0\\u-10179\\u-8694 \\uc2\\u8211 --x \
        {\\f2 a\\'b7\\u-3913 ??}\\f3 Vi\\'d6t\\f4  \\'93\\'fa\\'96\\'7b\\f5  tie\\'e1ng \\plain \\'e9\\~\\{\\_\\emdash";
    assert_eq!(text_of(body), "café Tiếng Việt\u{1ec7} 😊–x α••Việt 日本 tiếng é {-—");
}

#[test]
fn headings_lists_and_notes() {
    let body = "\\pard\\s1{\\pntext 1.\\tab}M\\'f4 \\'31\\'f5\\par\\pard\\s2 hai\\par\\pard th\\'e2n\
        {\\super\\chftn{\\footnote\\pard\\plain{\\super\\chftn} ch\\'fa\\par hai}}.\\line d\\'f2ng\\par\
        {\\listtext\\pard\\plain\\f2\\'b7\\tab}\\pard\\ls1\\ilvl1 g\\'e1ch\\par{\\listtext a)\\tab}s\\'f4\\par \
        xong{\\*\\annotation l\\'e0 sao?}{\\deleted x\\'f3a}\\par";
    let extract = extract(
        format!("{{\\rtf1{FONTS}{{\\info{{\\title B\\'e0i}}{{\\author X}}}}{body}}}").as_bytes(),
    );
    assert_eq!(extract.title.as_deref(), Some("Bài"));
    assert_eq!(
        extract.text,
        "1. Mô 1õ\n\nhai\n\nthân.\ndòng\n\n(chú\n\nhai)\n\n  - gách\n  a) sô\n\nxong\n\n(là sao?)"
    );
    let sections = extract.structure.sections.unwrap();
    assert_eq!(sections.last().unwrap().headings, ["1. Mô 1õ", "hai"]);
}

#[test]
fn tables_have_rows_and_end() {
    let row = |cells: [&str; 2]| {
        format!("\\trowd\\cellx1\\cellx2\\pard\\intbl {}\\cell {}\\cell\\row", cells[0], cells[1])
    };
    let nested = "a\\par b{\\footnote x}\\cell\\pard\\intbl\\itap2 n\\nestcell m\\nestcell{\\nonesttables\\par}\\pard\\intbl\\itap1 z\\cell\\row";
    let body = format!(
        "\\pard tr\\'edc\\par {}{}\\trowd\\pard\\intbl {nested}\\pard sau\\par",
        row(["1", ""]),
        row(["", "4"])
    );
    assert_eq!(text_of(&body), "tríc\n\n1 | \n | 4\na b (x) | n m z\n\nsau");
}

#[test]
fn what_is_not_text_is_left_out() {
    let body = "{\\pict\\bin3 }{}}{\\*\\unknown xx}{\\header \\pard S\\'f4 15\\par}{\\headerl S\\'f4 15}\
        {\\footer {\\field{\\*\\fldinst PAGE}{\\fldrslt 7}}}a{\\field{\\*\\fldinst{HYPERLINK \"http://x\"}}{\\fldrslt{n\\'fat}}}\
        {\\field{\\*\\fldinst TOC \\\\o}{\\fldrslt m\\par u}}{\\xe{\\v chu}}{\\shp{\\*\\shpinst{\\sp{\\sn a}{\\sv 1}}\
        {\\shptxt\\pard h\\'f4p\\par}}{\\shprslt{\\*\\do xx}}}{\\object{\\*\\objdata 0102}{\\result b}}\\par";
    assert_eq!(text_of(body), "Sô 15\n\nanút\n\nhôp\n\nb");
}

#[test]
fn hostile_files_end() {
    let deep = format!("{}a\\par{}", "{".repeat(1 << 20), "}".repeat(1 << 20));
    assert_eq!(text_of(&deep), "a");
    assert_eq!(text_of("}}}a\\par{{{b"), "a\n\nb");
    assert_eq!(text_of("\\bin999999999 a"), "");
    assert_eq!(text_of("a\\u55357 \\'"), "a");
    let notes = "{\\footnote a".repeat(1 << 16);
    assert!(text_of(&notes).starts_with("(a"));
    let cells = "\\intbl\\cell\\row\\trowd".repeat(1 << 16);
    assert_eq!(text_of(&cells), "");
}

#[test]
fn a_file_that_is_no_rtf_is_named() {
    let (_folder, documents) = documents("a.rtf", "plain");
    assert!(matches!(documents[..], [Err(ReadError::Damaged { .. })]), "{documents:?}");
}
