//! Jinja templates, set up as Hugging Face's transformers does for the chat templates of models.
//!
//! Fuel bounds the steps that a template takes and the text that it makes, but not everything: lists
//! that hold the same list twice, sixty times over, take 2^60 steps to compare. That is good enough
//! for templates that users write themselves. A model's chat template is rendered in a process of
//! its own.

use anyhow::{Context, Result, anyhow, ensure};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Steps that a template may take: published ones need up to some thousands, an endless one stops
/// here. A step also pays for [`BYTES_PER_STEP`] bytes of data.
const FUEL: u64 = 100_000;
/// `UNITS_PER_FUEL` of minijinja's `fuel.rs`.
const BYTES_PER_STEP: usize = 64;
/// How often a template may process all the text in its variables.
const USES_OF_DATA: usize = 32;
/// Operators in a template; Llama 3.1's has some hundreds. minijinja recurses once for each in
/// `----1` or `1~1~1`.
const MAX_OPERATORS: usize = 3000;
/// Stack that so many may need; only what is used takes memory.
const STACK_BYTES: usize = 64 << 20;
/// What errors call a template.
const NAME: &str = "template";

/// The text that a template makes of its variables. The caller has a stack of [`STACK_BYTES`].
///
/// # Errors
/// When it is not valid, raises an exception, or runs out of fuel.
pub fn render(source: &str, variables: &Value) -> Result<String> {
    run(&environment()?, source, variables)
}

/// [`render`] for a template that a user writes: an undefined variable is an error, and there is
/// fuel for `data` bytes of text in the variables.
pub fn render_strictly(source: &str, variables: &Value, data: usize) -> Result<String> {
    let mut environment = environment()?;
    let fuel = FUEL.saturating_add((data / BYTES_PER_STEP * USES_OF_DATA) as u64);
    environment.set_fuel(Some(fuel));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    on_a_large_stack(|| run(&environment, source, variables))
}

/// The names that a template uses without defining them, each with the first line that has it.
pub fn undeclared(source: &str) -> Result<Vec<(String, usize)>> {
    let environment = environment()?;
    let names = on_a_large_stack(|| {
        check_operators(source)?;
        Ok(environment.template_from_named_str(NAME, source)?.undeclared_variables(false))
    })?;
    let mut found: Vec<(String, usize)> = names
        .into_iter()
        .map(|name| {
            let line = first_line(source, &name);
            (name, line)
        })
        .collect();
    found.sort_unstable_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    Ok(found)
}

/// The first line that has `name` inside a tag.
fn first_line(source: &str, name: &str) -> usize {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let is_used = |before: &str, after: &str| {
        let opened = before.rfind("{{").max(before.rfind("{%"));
        let closed = before.rfind("}}").max(before.rfind("%}"));
        opened > closed
            && !before.ends_with(|c| is_part(c) || c == '.')
            && !after.starts_with(is_part)
    };
    let used =
        source.match_indices(name).map(|(at, _)| (&source[..at], &source[at + name.len()..]));
    let mut used = used.filter(|(before, after)| is_used(before, after));
    used.next().map_or(1, |(before, _)| 1 + before.matches('\n').count())
}

fn on_a_large_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .context("cannot start a thread")?;
        thread.join().map_err(|_| anyhow!("it cannot be rendered"))?
    })
}

/// Counts generously: signs and words in the template's text count as well.
fn check_operators(source: &str) -> Result<()> {
    const WORDS: [&str; 8] = ["not", "if", "else", "elif", "and", "or", "in", "is"];
    let signs = source.bytes().filter(|byte| b"-+*/%~|.=<>!".contains(byte)).count();
    let words = source.split(|letter: char| !letter.is_alphanumeric());
    let operators = signs + words.filter(|word| WORDS.contains(word)).count();
    ensure!(
        operators <= MAX_OPERATORS,
        "it has {operators} operators, and not at most {MAX_OPERATORS}"
    );
    Ok(())
}

fn run(environment: &Environment, source: &str, variables: &Value) -> Result<String> {
    check_operators(source)?;
    let template = environment.template_from_named_str(NAME, source).context("it is not valid")?;
    template.render(variables).map_err(|error| {
        let out_of_fuel = error.kind() == ErrorKind::OutOfFuel;
        let what =
            if out_of_fuel { "it takes too much memory or time" } else { "it cannot be rendered" };
        anyhow::Error::from(error).context(what)
    })
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, what.into())
}

/// As `_compile_jinja_template` of transformers has it.
fn environment() -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(invalid(message))
    });
    environment.set_formatter(print_scalar);
    environment.add_filter("tojson", to_json);
    Ok(environment)
}

/// Prints what prompts are made of. Nobody wants a list in Python's notation in a prompt.
fn print_scalar(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable | ValueKind::Plain => {
            Err(invalid(format!("it prints a {}", value.kind())))
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// `tojson` of text and numbers, without minijinja's escapes for HTML, as in transformers. Templates
/// call it for tools, and there are none here.
fn to_json(value: &Value, _options: Kwargs) -> Result<Value, Error> {
    let refused = || invalid("tojson of a list or map");
    let json = match value.kind() {
        ValueKind::String | ValueKind::Number | ValueKind::Bool | ValueKind::None => {
            serde_json::to_string(value).map_err(|_| refused())?
        }
        _ => return Err(refused()),
    };
    Ok(Value::from_safe_string(json))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn variables() -> Value {
        let message = |role: &str, content: &str| {
            let pairs = [("role", role), ("content", content)];
            let pairs = pairs.map(|(key, text)| (Value::from(key), Value::from(text)));
            Value::from_object(BTreeMap::from(pairs))
        };
        minijinja::context! {
            messages => vec![message("system", "<Be brief.>"), message("user", "Why?")],
            bos_token => "<s>",
            eos_token => "</s>",
        }
    }

    /// What chat templates make use of, among it Python's methods and transformers' settings.
    const WRITTEN: &[(&str, &str)] = &[
        (
            "{% for m in messages %}<|{{ m.role }}|>\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}",
            "<|system|>\n<Be brief.></s>\n<|user|>\nWhy?</s>\n",
        ),
        (
            "{% for m in messages if m.role != 'system' %}{{ loop.index }}{{ m.content|trim }}{% else %}none{% endfor %}",
            "1Why?",
        ),
        (
            "{% set ns = namespace(n=0, last='', all=[]) %}{% for m in messages[::-1] %}{% set ns.n = ns.n + 1 %}\
             {% set ns.last = m.role if m.role == 'user' and ns.n < 9 else ns.last %}{% set ns.all = ns.all + [m] %}\
             {% endfor %}{{ ns.n }}{{ ns.last }}{{ ns.all|length }}{{ ns.all[1].content }}",
            "2user2<Be brief.>",
        ),
        (
            "{% macro f(m, end='.') %}{{ m.role ~ end }}{{ caller() if caller else '' }}{% endmacro %}\
             {{ f(messages[0]) }}{{ f(messages[1], end='!') }}{% call f(messages[0]) %}inside{% endcall %}",
            "system.user!system.inside",
        ),
        (
            "{% for x in [1, [2, [3]]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}",
            "1(2(3))",
        ),
        (
            "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set s = messages[0]['content'] %}\
             {% else %}{% set loop_messages = messages %}{% endif %}{{ bos_token + s + loop_messages[0].content }}",
            "<s><Be brief.>Why?",
        ),
        (
            "{% set messages = [{'role': 'system', 'content': 'x'}] + messages %}{{ messages|map(attribute='role')|join(', ') }}",
            "system, system, user",
        ),
        (
            "{% if tools is defined and tools %}{{ tools|tojson }}{% elif not tools %}{{ (messages|first).role.upper() }}{% endif %}",
            "SYSTEM",
        ),
        (
            "{% set x %}a{{ '-' * 3 }}b{% endset %}{{ x.split('-')[-1] }}{{ x.replace('a', 'c')|upper }}",
            "bC---B",
        ),
        (
            "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{% for k, v in messages[0]|items %}{{ k }}{% endfor %}",
            "content=<Be brief.>;role=system;contentrole",
        ),
        (
            "{% for k, v in messages[0]|dictsort %}{{ loop.first }}{{ loop.cycle('a', 'b') }}{{ k }}{% endfor %}",
            "TrueacontentFalsebrole",
        ),
        (
            "{% with a = messages|length, b = 2 %}{{ a * b - 1 }}{{ a in (1, 2) }}{{ 1 < a <= 2 }}{% endwith %}",
            "3TrueTrue",
        ),
        (
            "{{ 'x' if messages else 'y' }}{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ none is none }}",
            "x1True",
        ),
        (
            "{% filter upper %}{{ messages[1].role }}{% endfilter %}{{ messages[9] }}{{ nothing|default('d') }}",
            "USERd",
        ),
        (
            "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% elif i > 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
            "0134",
        ),
        ("  {% if true %}\n{{ '<\"é\">'|tojson }}\n  {% endif %}\n", "\"<\\\"é\\\">\"\n"),
    ];

    #[test]
    fn templates_write_what_transformers_has_them_write() {
        for (source, written) in WRITTEN {
            assert_eq!(render(source, &variables()).unwrap(), *written, "{source}");
        }
        let error = render("{{ raise_exception('only ' ~ messages|length) }}", &variables());
        assert!(format!("{:#}", error.unwrap_err()).contains("only 2"));
    }

    #[test]
    fn long_chains_of_operators_need_no_more_than_the_stack() {
        let render = |source: String| {
            let work = || render(&source, &variables());
            on_a_large_stack(work).map_err(|error| format!("{error:#}"))
        };
        for (sign, count) in [("-", 2900), ("not ", 2900), ("1 if 1 else ", 1400)] {
            let chain = |count| format!("{{{{ {}1 }}}}", sign.repeat(count));
            let _ = render(chain(count));
            assert!(render(chain(5_000)).unwrap_err().contains("operators"), "{sign}");
        }
        for (sign, count) in [("~1", 2900), ("|trim", 2900), (".x", 2900), ("**1", 1400)] {
            let chain = |count| format!("{{{{ 1{} }}}}", sign.repeat(count));
            let _ = render(chain(count));
            assert!(render(chain(5_000)).unwrap_err().contains("operators"), "{sign}");
        }
        let _ = render(format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(900)));
    }

    #[test]
    fn an_undeclared_name_is_found_on_the_line_that_uses_it() {
        let source =
            "The answer, {# answer #}\n{{ the.answer }}{% if x %}\n{{ x }}{{ answer }}{% endif %}";
        let expected = [("the", 2), ("x", 2), ("answer", 3)].map(|(n, l)| (n.to_owned(), l));
        assert_eq!(undeclared(source).unwrap(), expected);
    }
}
