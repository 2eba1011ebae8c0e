//! The command line against its page: the same commands, and what `config` says of the sample files.
//! Starts the binary, but no daemon.

use std::collections::BTreeSet;

use tests::binary::root;
use tests::command::{finish, howdah, run};

/// The commands that `howdah ARGS --help` lists.
fn commands_of(args: &[&str]) -> BTreeSet<String> {
    let text = run(args.iter().chain(&["--help"])).success().text();
    let (_, list) = text.split_once("Commands:\n").expect("the help lists commands");
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    let names = lines.filter(|line| !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/commands.md")).expect("docs/commands.md stands")
}

/// The lines `howdah NAMES   TEXT` of the page of commands.
fn lines_of_the_page() -> Vec<(String, String)> {
    let page = page();
    let block = page.split("```").nth(1).expect("it has a block");
    let lines = block.lines().filter_map(|line| line.strip_prefix("howdah "));
    lines
        .map(|line| line.split_once("  ").expect("names and text are two spaces apart"))
        .map(|(names, text)| (names.trim().to_owned(), text.trim().to_owned()))
        .collect()
}

fn list(text: &str, separator: char) -> BTreeSet<String> {
    text.split(separator).map(|name| name.trim().to_owned()).collect()
}

#[test]
fn the_page_lists_the_commands_there_are() {
    let hidden = ["task"].map(str::to_owned);
    let written: BTreeSet<String> =
        lines_of_the_page().iter().flat_map(|(names, _)| list(names, '|')).collect();
    let mut real = commands_of(&[]);
    real.retain(|name| !hidden.contains(name));
    assert_eq!(written, real);
}

#[test]
fn the_page_lists_the_actions_of_commands_that_have_some() {
    let lines = lines_of_the_page();
    let commands =
        ["job", "attempt", "host", "pool", "config", "journal", "workflow", "secret", "certs"];
    for command in commands {
        let line = lines.iter().find(|(names, _)| names == command);
        let (_, text) = line.expect("the page lists it");
        assert_eq!(list(text, ','), commands_of(&[command]), "howdah {command}");
    }
}

#[test]
fn the_page_has_every_verb_of_fs() {
    let page = page();
    let (_, table) = page.split_once("| verb of `howdah fs` |").expect("it has the table");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.strip_prefix("| `"));
    let verbs = cells.filter_map(|cell| cell.split([' ', '`']).next());
    assert_eq!(verbs.map(str::to_owned).collect::<BTreeSet<_>>(), commands_of(&["fs"]));
}

#[test]
fn the_page_of_builtins_has_every_builtin_with_its_arguments() {
    let page = std::fs::read_to_string(root().join("docs/builtins.md")).expect("it stands");
    let (_, table) = page.split_once("| builtin | writes | arguments |").expect("its table");
    let rows = table.lines().skip_while(|line| !line.starts_with("| `"));
    let cells = rows.take_while(|line| line.starts_with('|')).map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        format!("{} {}", cells[1], cells[3]).trim().to_owned()
    });
    let json = run(["builtins", "--format", "json"]).success().text();
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    let quoted = |name: &serde_json::Value| format!("`{}`", name.as_str().unwrap_or_default());
    let builtins = json["builtins"].as_array().expect("a list").iter().map(|it| {
        let arguments = it["arguments"].as_array().expect("a list").iter();
        let arguments: Vec<String> = arguments.map(|it| quoted(&it["name"])).collect();
        format!("{} {}", quoted(&it["name"]), arguments.join(", ")).trim().to_owned()
    });
    assert_eq!(cells.collect::<Vec<_>>(), builtins.collect::<Vec<_>>());
}

/// All that can be asked of the binary, as it is typed, but for help.
fn all_commands() -> Vec<String> {
    let with_actions = [
        "fs", "job", "attempt", "host", "pool", "config", "journal", "workflow", "secret", "certs",
    ];
    let mut all: Vec<String> = commands_of(&[]).into_iter().collect();
    for command in with_actions {
        all.extend(commands_of(&[command]).into_iter().map(|action| format!("{command} {action}")));
    }
    all
}

#[test]
fn shells_complete_every_command() {
    let folder = tempfile::tempdir().expect("there is room for a file");
    for shell in ["bash", "zsh", "fish"] {
        let script = run(["completion", shell]).success().text();
        for command in all_commands() {
            let word = command.rsplit(' ').next().expect("a word");
            assert!(script.contains(word), "the script for {shell} lacks {command}");
        }
        for word in ["--config", "wordcount-is-no-flag"] {
            let flag = if shell == "fish" { word.trim_start_matches("--") } else { word };
            assert_eq!(script.contains(flag), word == "--config", "{shell}: {word}");
        }
        std::fs::write(folder.path().join(shell), script).expect("it can be written");
    }
    // What bash makes of it.
    let complete = "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                    _howdah howdah \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; \
                    echo \"${COMPREPLY[@]}\"";
    for (typed, completed) in [
        (&["howdah", "jo"][..], "job jobtracker journal"),
        (&["howdah", "fs", "setr"], "setrep"),
        (&["howdah", "host", "drain", "--no"], "--now"),
    ] {
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", complete]).arg(folder.path().join("bash")).args(typed);
        let said = finish(&mut bash).success().text();
        let mut said: Vec<&str> = said.split_whitespace().collect();
        said.sort_unstable();
        assert_eq!(said.join(" "), completed, "{typed:?}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().expect("there is room for files");
    let _ = run(["man".as_ref(), "--dir".as_ref(), folder.path().as_os_str()]).success();
    for command in all_commands() {
        let page = folder.path().join(format!("howdah-{}.1", command.replace(' ', "-")));
        let text = std::fs::read_to_string(&page);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{command}");
    }
    let all = std::fs::read_to_string(folder.path().join("howdah.1")).expect("the first page");
    assert!(all.contains("howdah\\-doctor(1)"), "{all}");
    assert!(!folder.path().join("howdah-help.1").exists() && !all.contains("howdah\\-task(1)"));
}

#[test]
fn an_unknown_command_is_a_usage_error() {
    drop(run(["speculate"]).refused(2, &["speculate"]));
}

#[test]
fn the_sample_files_are_valid_and_printing_one_gives_the_same_again() {
    let folder = tempfile::tempdir().expect("there is room for a file");
    for sample in ["config/howdah.yaml", "config/five-hosts.yaml"] {
        let sample = root().join(sample);
        drop(run(["config".as_ref(), "check".as_ref(), sample.as_os_str()]).success());
        let printed = run(["config".as_ref(), "print".as_ref(), sample.as_os_str()]).success();
        let copy = folder.path().join("printed.yaml");
        std::fs::write(&copy, &printed.stdout).expect("it can be written");
        assert_eq!(config::load(copy, &[]).ok(), config::load(sample, &[]).ok());
    }
}

#[test]
fn the_configuration_that_is_in_force_is_printed() {
    let printed = |command: &mut std::process::Command| finish(command).success().text();
    let defaults = printed(howdah().args(["config", "print"]));
    assert_eq!(defaults, config::Config::default().to_yaml().trim_end(), "without a file");
    let sample = root().join("config/five-hosts.yaml");
    let named = printed(howdah().args(["config", "print"]).arg(&sample));
    let by_variable = printed(howdah().args(["config", "print"]).env("HOWDAH_CONFIG", &sample));
    assert!(named == by_variable && named != defaults);
    let one = |key| printed(howdah().args(["config", "print", "--key", key]).arg(&sample));
    assert_eq!(one("jobtracker.address"), config::load(&sample, &[]).unwrap().jobtracker.address);
    assert!(one("hosts[0]").starts_with("name: "), "{}", one("hosts[0]"));
    let meant = ["jobtracker.adress", "did you mean 'jobtracker.address'"];
    drop(run(["config", "print", "--key", "jobtracker.adress"]).refused(2, &meant));
}

#[test]
fn a_wrong_configuration_ends_with_2_and_tells_file_line_column_and_remedy() {
    let folder = tempfile::tempdir().expect("there is room for a file");
    let file = folder.path().join("wrong.yaml");
    std::fs::write(&file, "chunkmaster:\n  replicaton: 2\n").expect("it can be written");
    for args in [["config", "check"], ["chunkmaster", "--config"], ["fs", "--config"]] {
        let mut command = tests::howdah();
        command.args(args).arg(&file);
        if args[0] == "fs" {
            command.args(["ls", "/"]);
        }
        let parts = ["wrong.yaml:2:3", "replicaton", "chunkmaster.replication"];
        drop(finish(&mut command).refused(2, &parts));
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure_and_no_panic() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut print = howdah();
    print.args(["config", "print"]).arg(root().join("config/howdah.yaml")).stdout(full);
    let _ = finish(print.stderr(std::process::Stdio::piped())).refused(1, &["standard output"]);
}

#[test]
fn the_page_of_all_keys_is_made_of_the_sample_file() {
    let page = std::fs::read_to_string(root().join("docs/configuration.md")).expect("it stands");
    let printed = run(["config", "keys"]).success().text();
    assert!(
        page.trim_end() == printed,
        "write it anew: howdah config keys > docs/configuration.md"
    );
}
