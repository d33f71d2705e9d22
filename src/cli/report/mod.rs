//! Reports as one HTML file each, for looking at: plots as SVG, no script, nothing from elsewhere.
//!
//! `plot` computes where things lie, templates draw them and write the text. They escape every name and
//! question, and a policy in the file forbids whatever might still get through.

pub mod plot;

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use minijinja::Environment;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use serde::Serialize;

use super::figures;
use crate::support::whole;
use crate::terminal::Lang;

/// The frame of every report, and macros that draw plots.
const PAGE: &str = include_str!("page.jinja");
/// What a file of ours begins with, in its first [`HEAD`] bytes.
const MARK: &str = "<meta name=\"generator\" content=\"rag-query";
const HEAD: u64 = 512;

/// Where a report goes.
pub struct ReportFile(PathBuf);

impl ReportFile {
    /// # Errors
    /// The folder is missing, or the file is there and is no report: nobody's file is overwritten.
    /// Known before anything is measured.
    pub fn at(path: &Path) -> Result<Self> {
        match head(path) {
            Ok(head) if head.is_empty() || String::from_utf8_lossy(&head).contains(MARK) => {}
            Ok(_) => bail!(
                "{} is no report of rag-query and is not overwritten; name another file",
                path.display()
            ),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                    bail!("there is no folder {} to write the report to", folder.display());
                }
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
        Ok(Self(path.to_owned()))
    }

    /// Replaces an older report.
    pub fn write(&self, html: &str) -> Result<()> {
        whole::write(&self.0, html.as_bytes())
            .with_context(|| format!("cannot write {}", self.0.display()))
    }

    pub fn name(&self) -> String {
        self.0.display().to_string()
    }
}

/// The first [`HEAD`] bytes of a file.
fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    Ok(head)
}

/// The page that `template` makes of `report`.
pub fn page(template: &str, lang: Lang, report: &impl Serialize) -> Result<String> {
    let source = format!("{PAGE}{template}");
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    // In templates, as in messages: `pick("tiếng Việt", "English")`.
    environment.add_function("pick", move |vi: String, en: String| lang.pick(&vi, &en).to_owned());
    environment.add_global("lang", lang.pick("vi", "en"));
    environment.add_global("version", env!("CARGO_PKG_VERSION"));
    environment.add_filter("figure", |value: f64| format!("{value:.3}"));
    environment.add_filter("tenths", |value: f64| format!("{value:.1}"));
    environment.add_filter("count", |value: f64| format!("{value:.0}"));
    environment.add_filter("time", figures::time);
    environment.add_filter("share", |value: Option<f64>| figures::share(value));
    // By this name, minijinja escapes as in HTML.
    let template = environment.template_from_named_str("report.html", &source)?;
    let html = template.render(Value::from(Serde(report)));
    Ok(html.context("the report cannot be written")?.trim().to_owned() + "\n")
}

#[cfg(test)]
pub use tests::assert_well_formed;

#[cfg(test)]
mod tests {
    use std::fs;

    use quick_xml::events::Event;

    use super::*;

    /// What every well-formed report has, for the tests of each.
    pub fn assert_well_formed(html: &str) {
        let head = &html.as_bytes()[..HEAD as usize];
        assert!(String::from_utf8_lossy(head).contains(MARK), "{html}");
        let body = html.strip_prefix("<!doctype html>").unwrap();
        let mut reader = quick_xml::Reader::from_str(body);
        let mut depth = 0;
        loop {
            match reader.read_event().unwrap() {
                Event::Start(tag) => {
                    depth += 1;
                    assert_ne!(tag.name().as_ref(), "script");
                    tag.attributes().for_each(|attribute| drop(attribute.unwrap()));
                }
                Event::End(_) => depth -= 1,
                Event::Empty(tag) => {
                    tag.attributes().for_each(|attribute| drop(attribute.unwrap()));
                }
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(depth, 0);
        for outside in
            ["http:", "https:", "<img", "<a ", "url(", "@import", "<script", "NaN", ">inf"]
        {
            assert!(!html.contains(outside), "{outside}: {html}");
        }
    }

    #[test]
    fn a_report_replaces_a_report_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        let html = page("{% call page('A') %}x{% endcall %}", Lang::En, &()).unwrap();
        assert_well_formed(&html);
        for _ in 0..2 {
            ReportFile::at(&path).unwrap().write(&html).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), html);

        let error = |path: &Path| format!("{:#}", ReportFile::at(path).err().unwrap());
        fs::write(&path, "<!doctype html><title>My thesis</title>").unwrap();
        assert!(error(&path).contains("is not overwritten"), "{}", error(&path));
        assert!(error(&folder.path().join("none/report.html")).contains("no folder"));
        assert!(error(folder.path()).contains("cannot read"), "{}", error(folder.path()));
    }

    /// What a template writes without `pick` is no language's: names of figures, files and options.
    #[test]
    fn templates_write_words_in_both_languages() {
        const NAMES: [&str; 15] = [
            "hit",
            "recall",
            "MRR",
            "nDCG",
            "AUROC",
            "LLM",
            "rag",
            "query",
            "docs",
            "eval",
            "md",
            "judge",
            "retrieval",
            "bias",
            "llm",
        ];
        let templates =
            [include_str!("../eval/report.jinja"), include_str!("../bench/report.jinja"), PAGE];
        for template in templates {
            let mut plain = template.to_owned();
            for (open, close) in
                [("<style>", "</style>"), ("{#", "#}"), ("{{", "}}"), ("{%", "%}"), ("<", ">")]
            {
                while let Some((before, rest)) = plain.split_once(open) {
                    plain = format!("{before} {}", rest.split_once(close).unwrap().1);
                }
            }
            let words = plain.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 1);
            let alone: Vec<&str> = words
                .filter(|word| !NAMES.contains(word) && !["refused", "below"].contains(word))
                .collect();
            assert!(alone.is_empty(), "{alone:?}");
        }
        let picks = templates.iter().flat_map(|template| template.split("pick(").skip(1));
        for pick in picks {
            let texts: Vec<&str> = pick.split('"').take(4).collect();
            assert!(texts.len() == 4 && texts[2].trim() == ",", "{pick}");
        }
    }

    #[test]
    fn names_are_text() {
        let template = "{% call page(name) %}<p title=\"{{ name }}\">{{ name }}</p>{% endcall %}";
        let report = std::collections::BTreeMap::from([("name", "</p><script src='x'>\"&")]);
        let html = page(template, Lang::Vi, &report).unwrap();
        assert_well_formed(&html);
        assert!(html.contains("&lt;script") && html.contains("&amp;"), "{html}");
    }
}
