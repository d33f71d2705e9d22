//! The page at `/`: plain HTML, script and style sheet, embedded in the program. `ci/page-check` drives
//! it in a browser.

/// `/`. Has every text of the page in both languages, in the element `texts`.
pub const HTML: &str = include_str!("page/index.html");
/// `/app.js`.
pub const JS: &str = include_str!("page/app.js");
/// `/style.css`.
pub const CSS: &str = include_str!("page/style.css");

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Bytes of all three files.
    const MAX_WEIGHT: usize = 100_000;

    /// For each language, its texts by name.
    fn texts() -> BTreeMap<String, BTreeMap<String, String>> {
        let (_, table) = HTML.split_once(r#"id="texts">"#).unwrap();
        let (table, _) = table.split_once("</script>").unwrap();
        serde_json::from_str(table).unwrap()
    }

    /// What stands between `before` and the next double quote, wherever it occurs.
    fn after<'a>(text: &'a str, before: &str) -> impl Iterator<Item = &'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split('"').next())
    }

    /// The placeholders of a text, such as `{n}`.
    fn placeholders(text: &str) -> BTreeSet<&str> {
        text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect()
    }

    #[test]
    fn the_page_weighs_less_than_100_kilobytes() {
        let weight = HTML.len() + JS.len() + CSS.len();
        assert!((10_000..MAX_WEIGHT).contains(&weight), "{weight} bytes");
    }

    /// The Content-Security-Policy that the page is served with would block both.
    #[test]
    fn the_page_has_no_outside_resource_and_no_inline_script_or_style() {
        for file in [HTML, JS, CSS] {
            let file = file.replace("http://www.w3.org/2000/svg", "");
            for outside in ["http:", "https:", "//cdn", "@import"] {
                assert!(!file.contains(outside), "{outside}");
            }
        }
        let page = HTML.replace("<script type=\"application/json\"", "");
        assert!(
            !page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick=")
        );
        assert_eq!(page.matches("<script").count(), page.matches("<script src=").count());
    }

    /// Answers and documents become text nodes, never markup.
    #[test]
    fn the_script_makes_no_markup_from_text() {
        let sinks = ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser"];
        for sink in sinks.into_iter().chain(["eval(", "Function(", "createContextualFragment"]) {
            assert!(!JS.contains(sink), "{sink}");
        }
    }

    #[test]
    fn both_languages_have_the_same_texts() {
        let texts = texts();
        let languages: Vec<&str> = texts.keys().map(String::as_str).collect();
        assert_eq!(languages, ["en", "vi"]);
        let (en, vi) = (&texts["en"], &texts["vi"]);
        assert!(en.keys().eq(vi.keys()), "{:?}", {
            let (en, vi) = (en.keys().collect::<BTreeSet<_>>(), vi.keys().collect::<BTreeSet<_>>());
            en.symmetric_difference(&vi).copied().cloned().collect::<Vec<_>>()
        });
        for (name, words) in en {
            assert!(!words.is_empty() && !vi[name].is_empty(), "{name} is empty");
            assert_eq!(placeholders(words), placeholders(&vi[name]), "{name}");
        }
    }

    #[test]
    fn every_text_that_the_page_names_is_there_and_every_one_is_used() {
        let texts = texts();
        let (_, markup) = HTML.split_once("</script>").unwrap();
        let attributes = ["data-text=\"", "data-label=\"", "data-hint=\""];
        let named = attributes.iter().flat_map(|attribute| after(markup, attribute));
        for name in named.chain(after(JS, "text(\"")) {
            assert!(texts["en"].contains_key(name), "there is no text {name}");
        }
        // Named by values of the server: a reason, a stage, a state, a place.
        let reasons = ["empty_index", "no_match", "low_relevance", "not_in_passages"];
        let others = [
            "interrupted",
            "max_tokens",
            "content_filter",
            "not_loaded",
            "loading",
            "loaded",
            "remote",
        ];
        for name in texts["en"].keys() {
            let by_value = name.starts_with("time_")
                || reasons.contains(&name.trim_end_matches("_next"))
                || others.contains(&name.as_str());
            let place = ["line", "page", "row", "slide"].contains(&name.trim_end_matches('s'));
            let quoted = format!("\"{name}\"");
            let is_used = markup.contains(&quoted) || JS.contains(&quoted);
            assert!(by_value || place || is_used, "nothing uses the text {name}");
        }
    }
}
