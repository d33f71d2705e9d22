//! `/set`: options of answers, for the rest of the dialogue. They have the names that they have on the
//! command line and in files, and take what they take there.

use anyhow::{Result, bail};
use clap::{ArgAction, CommandFactory, FromArgMatches};

use super::ground::Choices;
use super::state::{Here, Next, State};
use crate::cli::args::Cli;
use crate::cli::config::suggestion_of;
use crate::generation::remote::{RemoteError, request};

pub struct Setting {
    /// The long option, without dashes.
    pub name: &'static str,
    show: fn(&Choices) -> String,
    take: fn(&mut Choices, &Cli),
    /// From other choices.
    copy: fn(&mut Choices, &Choices),
}

/// A setting that an option of the command line gives: how it is reached in both.
macro_rules! setting {
    ($name:literal, $($choice:ident).+, $cli:ident => $value:expr, $show:expr) => {
        Setting {
            name: $name,
            show: |choices| $show(choices.$($choice).+),
            take: |choices, $cli| choices.$($choice).+ = $value,
            copy: |choices, other| choices.$($choice).+ = other.$($choice).+,
        }
    };
}

pub const SETTINGS: &[Setting] = &[
    setting!("top-k", options.top_k, cli => cli.global.top_k, shown),
    setting!("extractive", options.extractive, cli => cli.global.extractive, shown),
    setting!("force", options.force, cli => cli.global.force, shown),
    setting!("explain", explain, cli => cli.global.explain, shown),
    setting!("show-thinking", show_thinking, cli => cli.global.show_thinking, shown),
    setting!("max-tokens", options.sampling.max_tokens, cli => cli.sampling.max_tokens as usize, shown),
    setting!("temperature", options.sampling.temperature, cli => cli.sampling.temperature, shown),
    setting!("top-p", options.sampling.top_p, cli => cli.sampling.top_p, or_none),
    setting!("min-p", options.sampling.min_p, cli => cli.sampling.min_p, or_none),
    setting!("sample-top-k", options.sampling.top_k, cli => cli.sampling.sample_top_k.map(|k| k as usize), or_none),
    setting!("repeat-penalty", options.sampling.repeat_penalty, cli => cli.sampling.repeat_penalty, shown),
    setting!("seed", options.sampling.seed, cli => cli.sampling.seed, shown),
];

fn shown(value: impl ToString + Copy) -> String {
    value.to_string()
}

/// As `config show` writes it.
fn or_none(value: Option<impl ToString + Copy>) -> String {
    value.map_or_else(|| "-".to_owned(), shown)
}

/// Takes a setting back to what it was when the dialogue began.
const BACK: &str = "default";

/// Shows all settings or one, or changes one.
pub fn set<'a>(here: Here<'_, 'a>, _: &mut State, argument: &str) -> Result<Next<'a>> {
    let (ground, terminal) = (here.ground, here.session.terminal);
    let (name, value) = argument.split_once([' ', '=']).unwrap_or((argument, ""));
    let value = value.trim();
    if name.is_empty() {
        for Setting { name, show, .. } in SETTINGS {
            terminal.print(&format!("{name} = {}\n", show(&ground.choices)))?;
        }
        return Ok(Next::Ask);
    }
    let setting = named(name)?;
    if value.is_empty() {
        terminal.print(&format!("{} = {}\n", setting.name, (setting.show)(&ground.choices)))?;
        return Ok(Next::Ask);
    }
    let mut choices = ground.choices.clone();
    match value {
        BACK => (setting.copy)(&mut choices, &ground.began),
        value => (setting.take)(&mut choices, &parse(setting.name, value)?),
    }
    let unknown = request::unsupported(&choices.options.sampling);
    if ground.models.llm.remote().is_some() && !unknown.is_empty() {
        return Err(RemoteError::Unsupported(unknown.join(", ")).into());
    }
    let value = (setting.show)(&choices);
    terminal.say(&terminal.lang.is_set(setting.name, &value));
    Ok(Next::On(Box::new(ground.with(choices))))
}

fn named(name: &str) -> Result<&'static Setting> {
    let plain = name.trim_start_matches('-').replace('_', "-");
    if let Some(setting) = SETTINGS.iter().find(|setting| setting.name == plain) {
        return Ok(setting);
    }
    match plain.as_str() {
        "index" | "profile" => bail!("/{plain} NAME turns to another {plain}"),
        _ if Cli::command().get_arguments().any(|arg| arg.get_long() == Some(&plain)) => {
            bail!("`{plain}` is set when the program starts: `rag-query --{plain} …`")
        }
        _ => match suggestion_of(&plain, SETTINGS.iter().map(|setting| setting.name)) {
            Some(meant) => bail!("there is no setting `{name}`; did you mean `{meant}`?"),
            None => bail!("there is no setting `{name}`; /set lists them"),
        },
    }
}

/// What the command line would make of this value.
fn parse(name: &str, value: &str) -> Result<Cli> {
    let command = Cli::command();
    let option = command.get_arguments().find(|arg| arg.get_long() == Some(name));
    let is_flag = option.is_some_and(|arg| matches!(arg.get_action(), ArgAction::SetTrue));
    let given = match (is_flag, value) {
        (false, value) => Some(format!("--{name}={value}")),
        (true, "true" | "on") => Some(format!("--{name}")),
        (true, "false" | "off") => None,
        (true, value) => bail!("`{value}` is no value for `{name}`: expected true or false"),
    };
    let line = ["rag-query".to_owned()].into_iter().chain(given);
    let parsed = command.try_get_matches_from(line).and_then(|it| Cli::from_arg_matches(&it));
    parsed.map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        anyhow::anyhow!("{}", first.trim_start_matches("error: "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::AnswerOptions;

    #[test]
    fn every_setting_is_an_option_and_takes_what_the_option_takes() {
        let mut choices =
            Choices { options: AnswerOptions::default(), explain: false, show_thinking: false };
        let began = choices.clone();
        for Setting { name, show, take, copy } in SETTINGS {
            let before = show(&choices);
            let value = if before == "false" { "true" } else { "1" };
            take(&mut choices, &parse(name, value).unwrap());
            assert_eq!(show(&choices), value, "{name}");
            assert!(parse(name, "nonsense").is_err(), "{name}");
            copy(&mut choices, &began);
            assert_eq!(show(&choices), before, "{name}");
        }
        assert!(parse("top-k", "0").unwrap_err().to_string().contains("from 1 to 1000"));
    }

    #[test]
    fn a_wrong_name_is_told_with_what_was_meant() {
        let told = |name: &str| named(name).err().map(|error| error.to_string());
        assert_eq!(told("max_tokens"), None);
        assert_eq!(told("--top-k"), None);
        let meant = "there is no setting `temprature`; did you mean `temperature`?";
        assert_eq!(told("temprature").as_deref(), Some(meant));
        assert_eq!(told("x").as_deref(), Some("there is no setting `x`; /set lists them"));
        assert_eq!(told("index").as_deref(), Some("/index NAME turns to another index"));
        let at_start = "`device` is set when the program starts: `rag-query --device …`";
        assert_eq!(told("device").as_deref(), Some(at_start));
    }
}
