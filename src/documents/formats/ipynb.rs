//! Jupyter notebooks: prose as the Markdown that it is, code and what it printed in fences.

use std::fs::File;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{html, plain_text};
use crate::documents::Markup;
use crate::documents::clean::clean;
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::structure::{Places, Structure};
use crate::documents::title::tidy_title;

/// Of notebooks of format 4; those of format 3 have their cells in worksheets. Pictures and whatever
/// else there is are not even kept.
#[derive(Deserialize)]
struct Notebook {
    #[serde(default)]
    metadata: Metadata,
    cells: Option<Vec<Cell>>,
    worksheets: Option<Vec<Worksheet>>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    title: Option<Value>,
    language_info: Option<Language>,
}

#[derive(Deserialize)]
struct Language {
    name: Option<Value>,
}

#[derive(Deserialize)]
struct Worksheet {
    #[serde(default)]
    cells: Vec<Cell>,
}

#[derive(Deserialize)]
struct Cell {
    #[serde(default, rename = "cell_type")]
    kind: String,
    #[serde(default, alias = "input")]
    source: Text,
    #[serde(default)]
    outputs: Vec<Output>,
    /// Of headings in format 3.
    level: Option<u8>,
}

#[derive(Default, Deserialize)]
struct Output {
    #[serde(default)]
    data: Data,
    #[serde(default)]
    text: Text,
    ename: Option<String>,
    evalue: Option<String>,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default, rename = "text/plain")]
    plain: Text,
    #[serde(default, rename = "text/markdown")]
    markdown: Text,
    #[serde(default, rename = "text/html")]
    html: Text,
}

/// A string, or its lines.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Text {
    Whole(String),
    Lines(Vec<String>),
    #[default]
    None,
    Other(serde::de::IgnoredAny),
}

impl Text {
    fn joined(&self) -> String {
        match self {
            Self::Whole(text) => text.clone(),
            Self::Lines(lines) => lines.concat(),
            Self::None | Self::Other(_) => String::new(),
        }
    }
}

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    let (json, omitted) = plain_text::text(file, path)?;
    let damaged = |why: String| ReadError::Damaged {
        path: path.to_owned(),
        why: format!("it is not a notebook: {why}"),
    };
    let notebook: Notebook =
        serde_json::from_str(&json).map_err(|error| damaged(error.to_string()))?;
    if notebook.cells.is_none() && notebook.worksheets.is_none() {
        return Err(damaged("it has no cells".to_owned()));
    }
    Ok(Contents::One(Extract { omitted, ..extract(&notebook) }))
}

fn extract(notebook: &Notebook) -> Extract {
    let info = notebook.metadata.language_info.as_ref();
    let language = info.and_then(|info| info.name.as_ref()?.as_str()).unwrap_or_default();
    let language: String = language.chars().filter(|c| c.is_alphanumeric()).take(20).collect();
    let mut markdown = String::new();
    let worksheets = notebook.worksheets.iter().flatten().flat_map(|sheet| &sheet.cells);
    for cell in notebook.cells.iter().flatten().chain(worksheets) {
        let source = cell.source.joined();
        match (cell.kind.as_str(), cell.level) {
            ("code", _) => add(&mut markdown, &fenced(&source, &language)),
            ("heading", level) => {
                let level = usize::from(level.unwrap_or(1).clamp(1, 6));
                add(&mut markdown, &format!("{} {source}", "#".repeat(level)));
            }
            _ => add(&mut markdown, &source),
        }
        for output in &cell.outputs {
            add(&mut markdown, &shown(output));
        }
    }
    Extract {
        title: notebook.metadata.title.as_ref().and_then(Value::as_str).and_then(tidy_title),
        text: clean(&markdown).into_owned(),
        markup: Markup::Markdown,
        // The lines of the file are those of its JSON, which nobody sees.
        structure: Structure { places: Places::Nowhere, ..Structure::default() },
        ..Extract::default()
    }
}

fn add(markdown: &mut String, part: &str) {
    let part = part.trim_matches('\n');
    if !part.trim().is_empty() {
        if !markdown.is_empty() {
            markdown.push_str("\n\n");
        }
        markdown.push_str(part);
    }
}

/// What a cell printed, returned or failed with.
fn shown(output: &Output) -> String {
    if let Some(name) = &output.ename {
        let why = output.evalue.as_deref().unwrap_or_default();
        return fenced(&without_escapes(&format!("{name}: {why}")), "");
    }
    let markdown = output.data.markdown.joined();
    if !markdown.trim().is_empty() {
        return markdown;
    }
    let printed = output.text.joined() + &output.data.plain.joined();
    if printed.trim().is_empty() {
        let page = output.data.html.joined();
        let text =
            if page.is_empty() { page } else { html::extract(&page, html::Syntax::Html).text };
        return fenced(&text, "");
    }
    fenced(&without_escapes(&printed), "")
}

/// Text between fences longer than any in it.
fn fenced(text: &str, language: &str) -> String {
    if text.trim().is_empty() {
        return String::new();
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}{language}\n{}\n{fence}", text.trim_matches('\n'))
}

/// Terminal output without its colours: `\x1b[31m`.
fn without_escapes(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let sequence = part.strip_prefix('[').unwrap_or_default();
        let end = sequence.find(|c: char| ('@'..='~').contains(&c));
        out.push_str(end.map_or(part, |end| &sequence[end + 1..]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::{ChunkSettings, chunk};
    use crate::documents::samples::documents;

    const NOTEBOOK: &str = r##"{"nbformat": 4, "metadata": {"title": "Sổ tay", "language_info": {"name": "python"}}, "cells": [
        {"cell_type": "markdown", "source": ["# Dữ liệu\n", "Tie\u0302\u0301ng Việt."], "attachments": {"a.png": {"image/png": "iVBORw0KGgo="}}},
        {"cell_type": "code", "source": "print('```')\n1/0", "outputs": [
            {"output_type": "stream", "name": "stdout", "text": ["xin\n", "chào\n"]},
            {"output_type": "execute_result", "data": {"text/plain": ["42"], "image/png": "iVBORw0KGgo="}},
            {"output_type": "display_data", "data": {"text/html": "<table><tr><td>ô</td></tr></table>"}},
            {"output_type": "error", "ename": "ZeroDivisionError", "evalue": "division by zero", "traceback": ["\u001b[31mx\u001b[0m"]}]},
        {"cell_type": "raw", "source": "thô"}]}"##;

    #[test]
    fn cells_and_what_they_printed_are_markdown() {
        let (_folder, documents) = documents("a.ipynb", NOTEBOOK);
        let document = documents[0].as_ref().unwrap();
        assert_eq!(document.title.as_deref(), Some("Sổ tay"));
        assert_eq!(
            document.text,
            "# Dữ liệu\nTiếng Việt.\n\n````python\nprint('```')\n1/0\n````\n\n```\nxin\nchào\n```\n\n```\n42\n```\n\n\
             ```\nô\n```\n\n```\nZeroDivisionError: division by zero\n```\n\nthô"
        );
        let chunks = chunk(document, &ChunkSettings::default(), &str::len);
        assert!(chunks.iter().all(|chunk| chunk.headings == ["Sổ tay", "Dữ liệu"]));
        assert!(chunks.iter().all(|chunk| chunk.place.is_none()));
    }

    #[test]
    fn notebooks_of_format_3_are_read() {
        let old = r#"{"worksheets": [{"cells": [{"cell_type": "heading", "level": 2, "source": "Tựa"},
            {"cell_type": "code", "input": ["x = 1"], "outputs": [{"text": "ra"}]}]}]}"#;
        let (_folder, documents) = documents("a.ipynb", old);
        assert_eq!(
            documents[0].as_ref().unwrap().text,
            "## Tựa\n\n```\nx = 1\n```\n\n```\nra\n```"
        );
    }

    #[test]
    fn colours_of_a_terminal_are_dropped() {
        assert_eq!(without_escapes("\u{1b}[1;31mđỏ\u{1b}[0m \u{1b}"), "đỏ ");
    }

    #[test]
    fn what_is_no_notebook_is_an_error() {
        for json in ["[]", "{", &"[".repeat(1 << 20), "{\"cells\": 5}"] {
            let (_folder, documents) = documents("a.ipynb", json);
            assert!(matches!(documents[..], [Err(ReadError::Damaged { .. })]), "{json:.20}");
        }
    }
}
