//! Runs a chat template, which is somebody else's program, within bounds of memory and time.
//!
//! minijinja's fuel pays for steps, text and the items of lists, but not for what lists hold: after
//! sixty times `[x, x]` a value of sixty steps takes 2^60 to compare or to print, and `x + x` copies
//! it. So the compiled template is changed before it runs: each value is weighed when it comes onto
//! the stack, and pays for its size as it would be written out. That is sound because lists and maps
//! never change afterwards; the objects that do (namespaces, loops) may not be part of others.
//!
//! This leans on minijinja's internals (`unstable_machinery`), hence the exact version in Cargo.toml.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use minijinja::machinery::{
    CompiledTemplate, Instruction, Instructions, TemplateConfig, Token, eval, make_string_output,
    tokenize,
};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ObjectRepr, ValueKind};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value,
};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Steps a template may take: published ones need up to some thousands, an endless one stops here.
/// A step also pays for 64 bytes of data (`UNITS_PER_FUEL` of minijinja's `fuel.rs`), so memory is
/// bounded, too.
const FUEL: u64 = 100_000;
/// Bytes that a step pays for.
const BYTES_PER_FUEL: usize = 64;
/// How often a text in the variables is weighed at most before it is written: with the list that it
/// is in, with its siblings for each of their uses, and as it is written.
const TIMES_WEIGHED: usize = 32;
/// Lists in lists; what compares and prints them recurses.
const MAX_DEPTH: usize = 64;
/// The longest template, in bytes; the longest published ones have 20 kB.
const MAX_BYTES: usize = 64 << 10;
/// Most operators in a template; Llama 3.1's has some hundreds. minijinja recurses once for each in
/// `----1` or `1~1~1`, and folds constants in a time that grows with their number's square.
const MAX_OPERATORS: usize = 3000;
/// Stack to read and run a template on; only what is used takes memory.
const STACK_BYTES: usize = 64 << 20;

/// Filters that a template cannot name.
const WEIGH: &str = "#weigh";
const WEIGH_PART: &str = "#weigh-part";

/// The text that a template makes of its variables.
///
/// # Errors
/// When it is not valid, raises an exception, or would take too much memory or time.
pub fn render(source: &str, variables: &Value) -> Result<String> {
    apart(source, || render_here(source, variables))
}

/// The same for a template that people write: a variable that is not there is an error, and fuel
/// pays for `data` bytes of text in the variables beside what a template may do anyway.
pub fn render_strictly(source: &str, variables: &Value, data: usize) -> Result<String> {
    let fuel = FUEL.saturating_add((data / BYTES_PER_FUEL * TIMES_WEIGHED) as u64);
    let mut environment = environment();
    environment.set_fuel(Some(fuel));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    apart(source, || run(source, variables, &environment))
}

/// The names that a template uses without defining them, each with the first line that has it.
pub fn undeclared(source: &str) -> Result<Vec<(String, usize)>> {
    apart(source, || {
        let mut environment = environment();
        environment.set_syntax(syntax()?);
        let names = environment.template_from_str(source)?.undeclared_variables(false);
        let mut found = Vec::new();
        for token in tokenize(source, false, syntax()?) {
            let (token, span) = token?;
            let Token::Ident(name) = token else { continue };
            if names.contains(name) && !found.iter().any(|(other, _)| other == name) {
                found.push((name.to_owned(), span.start_line as usize));
            }
        }
        Ok(found)
    })
}

/// Works with a template that is not too large, on a stack that is large enough for it.
fn apart<T: Send>(source: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    ensure!(
        source.len() <= MAX_BYTES,
        "it has {} bytes, and not at most {MAX_BYTES}",
        source.len()
    );
    let operators = operators(source);
    ensure!(
        operators <= MAX_OPERATORS,
        "it has {operators} operators, and not at most {MAX_OPERATORS}"
    );
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .context("cannot start a thread")?;
        thread.join().map_err(|_| anyhow!("it cannot be rendered"))?
    })
}

/// As [`render`], on the stack of the caller and without looking at the source first.
pub(crate) fn render_here(source: &str, variables: &Value) -> Result<String> {
    run(source, variables, &environment())
}

fn run(source: &str, variables: &Value, environment: &Environment) -> Result<String> {
    let compiled = compile(source).context("it is not valid")?;
    let mut text = String::new();
    eval(
        environment,
        &compiled,
        variables.clone(),
        &BTreeMap::new(),
        &mut make_string_output(&mut text),
        AutoEscape::None,
    )
    .map_err(|error| {
        let out_of_fuel = error.kind() == ErrorKind::OutOfFuel;
        let what =
            if out_of_fuel { "it takes too much memory or time" } else { "it cannot be rendered" };
        anyhow::Error::from(error).context(what)
    })?;
    Ok(text)
}

/// Operators in a template, counted generously: also those in its text.
fn operators(source: &str) -> usize {
    const WORDS: [&str; 8] = ["not", "if", "else", "elif", "and", "or", "in", "is"];
    let signs = source.bytes().filter(|byte| b"-+*/%~|.=<>!".contains(byte)).count();
    let words = source.split(|letter: char| !letter.is_alphanumeric());
    signs + words.filter(|word| WORDS.contains(word)).count()
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, what.into())
}

/// What transformers gives its templates (`_compile_jinja_template`).
fn syntax() -> Result<SyntaxConfig, Error> {
    SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()
}

/// The template's instructions, with those that weigh its values.
fn compile(source: &str) -> Result<Instructions<'_>, Error> {
    let syntax = syntax()?;
    check_products(source, &syntax)?;
    let config = TemplateConfig {
        syntax_config: syntax,
        default_auto_escape: Arc::new(|_| AutoEscape::None),
    };
    let compiled = CompiledTemplate::new("chat_template", source, &config)?;
    weighed(&compiled.instructions, source)
}

/// Refuses products of lists. They are computed when the template is compiled if they are constant,
/// and compared there, too: `[[1] * 10**8] * 10**8 == …` has no end.
fn check_products(source: &str, syntax: &SyntaxConfig) -> Result<(), Error> {
    let opens =
        |token: &Token| matches!(token, Token::BracketOpen | Token::ParenOpen | Token::BraceOpen);
    let closes = |token: &Token| {
        matches!(token, Token::BracketClose | Token::ParenClose | Token::BraceClose)
    };
    // Whether a list may end before this token, and whether the token before this one multiplies.
    let (mut list, mut product) = (false, false);
    for token in tokenize(source, false, syntax.clone()) {
        let (token, _) = token?;
        let multiplies = matches!(token, Token::Mul);
        if (multiplies && list) || (product && opens(&token)) {
            return Err(invalid("it multiplies what may be a list"));
        }
        (list, product) = (closes(&token), multiplies);
    }
    Ok(())
}

/// The same instructions, with a weighing after each that makes a value which may be a list.
fn weighed<'s>(plain: &Instructions<'s>, source: &'s str) -> Result<Instructions<'s>, Error> {
    // An id of 255 has no place in minijinja's table of filters that were looked up before.
    let weigh = |name| Instruction::ApplyFilter(name, Some(1), u8::MAX);
    let expand = |instruction: &Instruction<'s>| match instruction {
        // The values of keyword arguments have been weighed.
        Instruction::LoadConst(value) if value.is_kwargs() => vec![instruction.clone()],
        Instruction::SetAttr(_) => {
            // [value, namespace] is on the stack.
            vec![Instruction::Swap, weigh(WEIGH_PART), Instruction::Swap, instruction.clone()]
        }
        Instruction::Lookup(_)
        | Instruction::GetAttr(_)
        | Instruction::GetItem
        | Instruction::Slice
        | Instruction::LoadConst(_)
        | Instruction::BuildMap(_)
        | Instruction::BuildList(_)
        | Instruction::BuildTuple(_)
        | Instruction::Add
        | Instruction::Mul
        | Instruction::ApplyFilter(..)
        | Instruction::CallFunction(..)
        | Instruction::CallMethod(..)
        | Instruction::CallObject(_) => vec![instruction.clone(), weigh(WEIGH)],
        other => vec![other.clone()],
    };
    let instructions = || (0..).map_while(|at| Some((at, plain.get(at)?)));
    // Where each comes to lie, and the end.
    let mut places = vec![0];
    let mut next = 0;
    for (_, instruction) in instructions() {
        // minijinja divides by the number of its arguments.
        if let Instruction::CallMethod("cycle", None | Some(0 | 1)) = instruction {
            return Err(invalid("it cycles through nothing"));
        }
        next += expand(instruction).len() as u32;
        places.push(next);
    }
    let mut weighed = Instructions::new(plain.name(), source);
    for (at, instruction) in instructions() {
        let line = plain.get_line(at).and_then(|line| line.try_into().ok()).unwrap_or(u16::MAX);
        for mut instruction in expand(instruction) {
            match &mut instruction {
                Instruction::Iterate(target)
                | Instruction::Jump(target)
                | Instruction::JumpIfFalse(target)
                | Instruction::JumpIfFalseOrPop(target)
                | Instruction::JumpIfTrueOrPop(target)
                | Instruction::BuildMacro(_, target, _) => {
                    let place = places.get(*target as usize);
                    *target = *place.ok_or_else(|| invalid("it jumps out of itself"))?;
                }
                _ => {}
            }
            weighed.add_with_line(instruction, line);
        }
    }
    Ok(weighed)
}

/// What a template finds, as transformers has it.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment
        .add_filter(WEIGH, |state: &State, value: Value| pay_for(state, &value, 0).map(|()| value));
    environment.add_filter(WEIGH_PART, |state: &State, value: Value| {
        pay_for(state, &value, 1).map(|()| value)
    });
    environment.set_unknown_method_callback(python_method);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(invalid(message))
    });
    environment.set_formatter(print_scalar);
    environment.add_filter("tojson", to_json);
    environment.add_filter("items", items);
    // Not Jinja's own, and lazy.
    for filter in ["pprint", "chain", "zip"] {
        environment.remove_filter(filter);
    }
    environment.remove_global("debug");
    environment
}

/// Pays for a value as large as it would be if it were written out. What lies `depth` lists deep
/// must be there to stay.
fn pay_for(state: &State, value: &Value, depth: usize) -> Result<(), Error> {
    let Some(object) = value.as_object() else {
        // A text of its own has been paid for when it was made.
        return match value.as_str() {
            Some(text) if depth > 0 => state.consume_fuel((1 + text.len() / BYTES_PER_FUEL) as u64),
            _ => Ok(()),
        };
    };
    if depth > MAX_DEPTH {
        return Err(invalid("it makes lists in lists without end"));
    }
    state.consume_fuel(1)?;
    match object.repr() {
        ObjectRepr::Map => {
            if depth > 0 && !is_plain_map(value) {
                return Err(invalid("it puts a namespace or a loop into something else"));
            }
            for (key, value) in object.try_iter_pairs().into_iter().flatten() {
                pay_for(state, &key, depth + 1)?;
                pay_for(state, &value, depth + 1)?;
            }
        }
        ObjectRepr::Seq | ObjectRepr::Iterable => {
            for item in value.try_iter()?.checked() {
                state.consume_fuel(1)?;
                pay_for(state, &item?, depth + 1)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether a map stays as it is.
fn is_plain_map(value: &Value) -> bool {
    value.downcast_object_ref::<BTreeMap<Value, Value>>().is_some()
}

/// Python's methods of strings, lists and maps, as templates call them.
fn python_method(
    state: &mut State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    // It pads to any width before that is paid for: `'{:1000000000}'.format(1)` takes 3 GB.
    if method == "format" {
        return Err(ErrorKind::UnknownMethod.into());
    }
    // The result would change with the namespace.
    if value.kind() == ValueKind::Map && method != "get" && !is_plain_map(value) {
        return Err(ErrorKind::UnknownMethod.into());
    }
    unknown_method_callback(state, value, method, arguments)
}

/// The filter `items`: pairs of key and value, of a map that does not change with them.
fn items(value: &Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::Map && !is_plain_map(value) {
        return Err(invalid("it asks for the items of a namespace or a loop"));
    }
    minijinja::filters::items(value)
}

/// Prints what prompts are made of. A list in Python's notation is nobody's prompt.
fn print_scalar(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable | ValueKind::Plain => {
            Err(invalid(format!("it prints a {}", value.kind())))
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// `tojson` of text and numbers, as transformers has it: without minijinja's escapes for HTML.
/// Templates call it for tools, which there are none of here.
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
    use std::fs;

    use super::*;
    use crate::generation::local::tokenizer::chat::variables;

    /// As minijinja renders a template by itself.
    fn plainly(source: &str, variables: &Value) -> Result<String, Error> {
        let mut environment = environment();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
        environment.set_syntax(syntax);
        environment.template_from_str(source)?.render(variables)
    }

    /// Everything that weighing moves: jumps, loops, macros, recursion, filters, attributes.
    const FINE: &[&str] = &[
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}",
        "{% for m in messages if m.role != 'system' %}{{ loop.index }}{{ m.content|trim }}{% else %}none{% endfor %}",
        "{% set ns = namespace(n=0, last='', all=[]) %}{% for m in messages[::-1] %}{% set ns.n = ns.n + 1 %}\
         {% set ns.last = m.role if m.role == 'user' and ns.n < 9 else ns.last %}{% set ns.all = ns.all + [m] %}\
         {% endfor %}{{ ns.n }}{{ ns.last }}{{ ns.all|length }}{{ ns.all[1].content }}",
        "{% macro f(m, end='.') %}{{ m.role ~ end }}{{ caller() if caller else '' }}{% endmacro %}\
         {{ f(messages[0]) }}{{ f(messages[1], end='!') }}{% call f(messages[0]) %}inside{% endcall %}",
        "{% for x in [1, [2, [3]]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}",
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set s = messages[0]['content'] %}\
         {% else %}{% set loop_messages = messages %}{% endif %}{{ bos_token + s + loop_messages[0].content }}",
        "{% set messages = [{'role': 'system', 'content': 'x'}] + messages %}{{ messages|map(attribute='role')|join(', ') }}",
        "{% if tools is defined and tools %}{{ tools|tojson }}{% elif not tools %}{{ (messages|first).role.upper() }}{% endif %}",
        "{% set x %}a{{ '-' * 3 }}b{% endset %}{{ x.split('-')[-1] }}{{ x.replace('a', 'c')|upper }}",
        "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{% for k, v in messages[0]|items %}{{ k }}{% endfor %}",
        "{% for k, v in messages[0]|dictsort %}{{ loop.first }}{{ loop.cycle('a', 'b') }}{{ k }}{% endfor %}",
        "{% with a = messages|length, b = 2 %}{{ a * b - 1 }}{{ a in (1, 2) }}{{ 1 < a <= 2 }}{% endwith %}",
        "{{ 'x' if messages else 'y' }}{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ none is none }}",
        "{% filter upper %}{{ messages[1].role }}{% endfilter %}{{ messages[9] }}{{ nothing|default('d') }}",
        "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% elif i > 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
        "{{ raise_exception('only ' ~ messages|length) }}",
    ];

    #[test]
    fn weighing_changes_nothing_that_a_template_of_reasonable_size_writes() {
        let variables = variables("<s>", "</s>");
        let mut sources: Vec<String> = FINE.iter().map(|source| (*source).to_owned()).collect();
        // Others, by wish.
        if let Some(folder) = std::env::var_os("RAG_QUERY_CHAT_TEMPLATES") {
            for file in fs::read_dir(folder).unwrap() {
                sources.push(fs::read_to_string(file.unwrap().path()).unwrap());
            }
        }
        let mut rendered = 0;
        for source in &sources {
            match (plainly(source, &variables), render(source, &variables)) {
                (Ok(plain), Ok(weighed)) => {
                    assert_eq!(weighed, plain, "{source}");
                    rendered += 1;
                }
                (Err(plain), Err(weighed)) => {
                    let weighed = weighed.downcast_ref::<Error>().unwrap();
                    assert_eq!(weighed.detail(), plain.detail(), "{source}");
                }
                (plain, weighed) => panic!("{source}\n{plain:?}\n{weighed:?}"),
            }
        }
        assert!(rendered >= FINE.len() - 1, "one raises an exception");
        eprintln!("{rendered} of {} rendered", sources.len());
    }
}
