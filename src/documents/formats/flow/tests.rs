use super::*;

#[test]
fn blocks_have_exact_spans_and_pages() {
    let mut flow = Flow::default();
    flow.at(1);
    flow.begin_heading(1);
    flow.text(" Chương \n 1 ");
    flow.end_heading();
    flow.text("Mo\u{302}\u{323}t\u{200b} hai");
    flow.end_block();
    flow.begin_item(1, "-");
    flow.text("ba");
    flow.at(2);
    flow.end_item();
    flow.begin_item(2, "1.");
    flow.text("bốn");
    flow.end_item();
    flow.begin_table();
    flow.begin_cell();
    flow.text("a");
    flow.begin_cell();
    flow.text("b");
    flow.end_block();
    flow.text("c");
    flow.end_row();
    flow.begin_cell();
    flow.end_row();
    flow.end_table();
    let Extract { text, structure, .. } = flow.finish(Places::Pages);
    assert_eq!(text, "Chương 1\n\nMột hai\n\n- ba\n  1. bốn\n\na | b c");
    assert_eq!(structure.places, Places::Pages(vec![(0, 1), (text.find("  1. b").unwrap(), 2)]));
    let sections = structure.sections.unwrap();
    assert_eq!(sections.len(), 1);
    assert_eq!(sections[0].headings, ["Chương 1"]);
    let blocks: Vec<&str> =
        sections[0].blocks.iter().map(|block| &text[block.span.clone()]).collect();
    assert_eq!(blocks, ["Một hai", "- ba", "  1. bốn", "a | b c"]);
}

#[test]
fn lines_begin_where_they_do_after_cleaning() {
    let mut flow = Flow::default();
    flow.begin_verbatim();
    flow.at(1);
    flow.text(&format!("{}\n", "a\u{301}\u{200b}".repeat(50)));
    flow.at(2);
    flow.text("hai\n");
    // The mark of the third line is inside of a letter once it is composed.
    flow.text("e");
    flow.at(3);
    flow.text("\u{301} ba");
    flow.end_verbatim();
    let Extract { text, structure, .. } = flow.finish(Places::Lines);
    let Places::Lines(marks) = structure.places else { panic!("a page has lines") };
    assert_eq!(text, format!("{}\nhai\né ba", "á".repeat(50)));
    assert_eq!(marks[1], (text.find("hai").unwrap(), 2));
}

/// A table of cells with their columns and rows; rows are separated by `None`.
fn table(cells: &[Option<(&str, usize, Rows)>]) -> String {
    let mut flow = Flow::default();
    flow.begin_table();
    for cell in cells {
        let Some((text, columns, rows)) = *cell else {
            flow.begin_row();
            continue;
        };
        flow.begin_cell();
        flow.set_cell_columns(columns);
        flow.set_cell_rows(rows);
        flow.text(text);
    }
    flow.end_table();
    flow.finish(|_| Places::Nowhere).text
}

#[test]
fn a_table_knows_its_header() {
    let header = |rows: &[(&[&str], bool)]| {
        let mut flow = Flow::default();
        flow.begin_table();
        for (cells, is_header) in rows {
            flow.begin_row();
            for cell in *cells {
                flow.begin_cell();
                flow.text(cell);
            }
            if *is_header {
                flow.header_row();
            }
        }
        flow.end_table();
        let Extract { text, structure, .. } = flow.finish(|_| Places::Nowhere);
        let block = structure.sections.unwrap().remove(0).blocks.remove(0);
        let BlockKind::Table { header } = block.kind else { panic!("{block:?}") };
        text[block.span][..header].to_owned()
    };
    let (one, two): (&[&str], &[&str]) = (&["a"], &["b", "c"]);
    assert_eq!(header(&[(two, false), (two, false)]), "b | c\n");
    assert_eq!(header(&[(one, false), (two, false), (two, false)]), "a\nb | c\n");
    assert_eq!(header(&[(one, false), (one, false)]), "a\n");
    assert_eq!(header(&[(two, true), (two, true), (two, false), (two, true)]), "b | c\nb | c\n");
    assert_eq!(header(&[(two, false), (two, true), (two, false)]), "b | c\n");
    assert_eq!(header(&[(two, false)]), "b | c");
}

#[test]
fn merged_cells_are_the_keys_of_all_their_rows_and_columns() {
    let cell = |text| Some((text, 1, Rows::One));
    let count = |text, rows| Some((text, 1, Rows::Count(rows)));
    let html = [
        cell("Vùng"),
        Some(("Giá", 2, Rows::One)),
        None,
        count("Bắc", 2),
        cell("9"),
        count("*", 3),
        None,
        cell("8"),
        None,
        cell("Nam"),
        cell("7"),
        None,
        None,
        cell("x"),
        cell("y"),
        cell("z"),
    ];
    assert_eq!(table(&html), "Vùng | Giá | Giá\nBắc | 9 | *\nBắc | 8 | *\nNam | 7 | *\nx | y | z");
    let word = [
        Some(("Bắc", 1, Rows::First)),
        cell("9"),
        None,
        Some(("", 1, Rows::Again)),
        cell("8"),
        None,
        Some(("Nam", 1, Rows::First)),
        cell("7"),
        None,
        cell("x"),
        cell("6"),
        None,
        Some(("", 1, Rows::Again)),
        cell("5"),
    ];
    assert_eq!(table(&word), "Bắc | 9\nBắc | 8\nNam | 7\nx | 6\n | 5");
    // The heading of the whole table, and a cell that says only "as wide as the table".
    let wide = [
        Some(("Bảng", 3, Rows::One)),
        None,
        cell("a"),
        cell("b"),
        cell("c"),
        None,
        cell("d"),
        Some(("e", 1_000_000, Rows::One)),
    ];
    assert_eq!(table(&wide), "Bảng\na | b | c\nd | e | e");
}

#[test]
fn merged_cells_multiply_nothing_without_bounds() {
    let long = "chữ ".repeat(1000);
    let cell = Some((long.as_str(), 64, Rows::Count(0)));
    let row = [cell, cell, Some(("x", 1, Rows::One)), None];
    let text = table(&row.repeat(300));
    assert_eq!(text.matches('x').count(), 300);
    assert!(text.len() < 600 * long.len() + (20 << 20), "{}", text.len());
}

#[test]
fn scripts_end_with_their_block_and_change_no_number() {
    let mut flow = Flow::default();
    let script = |flow: &mut Flow, script, text: &str| {
        flow.begin_script(script);
        flow.text(text);
        flow.end_script();
    };
    flow.text("Mật độ 10");
    script(&mut flow, Script::Super, "6");
    flow.text(" người, dài 2");
    script(&mut flow, Script::Super, "1");
    flow.text("/");
    script(&mut flow, Script::Sub, "2");
    flow.text(" m");
    script(&mut flow, Script::Super, "2");
    flow.text("; H");
    script(&mut flow, Script::Sub, "2");
    flow.text("O năm 2024");
    script(&mut flow, Script::Note, "3");
    flow.end_block();
    flow.text("chưa ");
    flow.begin_script(Script::Super);
    flow.text("hết một câu dài mà ai đó muốn viết nhỏ");
    flow.end_block();
    flow.text("sau");
    let text = flow.finish(|_| Places::Nowhere).text;
    assert_eq!(
        text,
        "Mật độ 10^6 người, dài 2 1/2 m²; H2O năm 2024 (3)\n\n\
         chưa hết một câu dài mà ai đó muốn viết nhỏ\n\nsau"
    );
}

#[test]
fn a_table_around_headings_is_layout() {
    let mut flow = Flow::default();
    flow.begin_table();
    flow.begin_cell();
    flow.text("menu");
    flow.begin_cell();
    flow.text("trước");
    flow.begin_heading(1);
    flow.text("Tựa");
    flow.end_heading();
    flow.text("chữ");
    flow.end_block();
    flow.begin_table();
    flow.begin_cell();
    flow.text("x");
    flow.end_table();
    flow.text("cuối");
    flow.end_table();
    let Extract { text, structure, .. } = flow.finish(|_| Places::Nowhere);
    assert_eq!(text, "menu\n\ntrước\n\nTựa\n\nchữ\n\nx\n\ncuối");
    let headings: Vec<_> = structure.sections.unwrap().into_iter().map(|s| s.headings).collect();
    assert_eq!(headings, [vec![], vec!["Tựa".to_owned()]]);
}
