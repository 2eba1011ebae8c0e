//! `howdah builtins`: the programs that every cluster has, with what they take.

use std::fmt::Write as _;

use anyhow::anyhow;
use clap::Args;
use mapreduce_protocol::builtins::{self, BUILTINS, BuiltinRule};
use serde_json::json;

use super::{Format, Global};
use crate::exit::early;

/// Arguments of `builtins`.
#[derive(Debug, Args)]
#[command(arg(super::idle_config()))]
pub(crate) struct BuiltinsArgs {
    /// One of them; all if left out
    name: Option<String>,
}

/// Prints what the table says.
pub(crate) fn run(args: &BuiltinsArgs, global: &Global) -> anyhow::Result<()> {
    let rules: Vec<&BuiltinRule> = match &args.name {
        None => BUILTINS.iter().collect(),
        Some(name) => vec![builtins::find(name).ok_or_else(|| {
            let names: Vec<_> = BUILTINS.iter().map(|rule| rule.name).collect();
            early(anyhow!("there is no builtin program {name:?}: there are {}", names.join(", ")))
        })?],
    };
    match global.format {
        Format::Json | Format::Yaml => global
            .format
            .print(&json!({"builtins": rules.into_iter().map(json_of).collect::<Vec<_>>()})),
        Format::Table => {
            let texts: Vec<String> = rules.into_iter().map(text_of).collect();
            crate::say::tell!("{}", texts.join("\n\n"));
            Ok(())
        }
    }
}

fn json_of(rule: &BuiltinRule) -> serde_json::Value {
    let argument = |it: &builtins::BuiltinArgument| json!({"name": it.name, "needed": it.default.is_none(), "default": it.default, "about": it.about});
    json!({
        "name": rule.name,
        "about": rule.about,
        "reduces": rule.reduces.as_str(),
        "arguments": rule.arguments.iter().map(argument).collect::<Vec<_>>(),
        "example": example(rule),
    })
}

fn text_of(rule: &BuiltinRule) -> String {
    let mut text = format!("{}: {}", rule.name, rule.about);
    // Writing to a String can't fail.
    for it in rule.arguments {
        let default =
            it.default.map_or("needed".to_owned(), |default| format!("default: {default}"));
        let _ = write!(text, "\n    {:12} {} ({default})", it.name, it.about);
    }
    let _ = write!(text, "\n    {:12} {}", "reduces", rule.reduces.as_str());
    let _ = write!(text, "\n  {}", example(rule));
    text
}

/// As it stands in a job file.
fn example(rule: &BuiltinRule) -> String {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let quoted = |text: &str| if plain(text) { text.to_owned() } else { format!("'{text}'") };
    let args = rule.example.iter().map(|(name, value)| format!("{name}: {}", quoted(value)));
    let args = args.collect::<Vec<_>>().join(", ");
    let args = if args.is_empty() { args } else { format!(", args: {{{args}}}") };
    format!("program: {{builtin: {{name: {}{args}}}}}", rule.name)
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::{JobSpec, Program};

    use super::*;

    #[test]
    fn each_example_is_a_program_of_a_job_file() {
        for rule in BUILTINS {
            let text = format!("name: n\ninput: [/in]\noutput: /out\n{}\n", example(rule));
            let spec: JobSpec = serde_yaml::from_str(&text).unwrap();
            assert!(builtins::check(&spec).is_ok(), "{text}");
            let Program::Builtin(builtin) = &spec.program else { panic!("{text}") };
            assert!(mapreduce::runtime::builtin(&builtin.name, &builtin.args).is_ok(), "{text}");
            let told = text_of(rule);
            assert!(rule.arguments.iter().all(|it| told.contains(it.about)), "{told}");
        }
    }
}
