//! The page "From zero to five hosts", followed as it is written: its commands are read from it and run on five hosts.

use std::fs;

use tests::binary::{howdah_binary, root};
use tests::machines::Machines;
use tests::oracle::{count_words_of, lines_of, lines_of_counts};

const HOSTS: [&str; 5] = ["master-1", "host-1", "host-2", "host-3", "host-4"];
const PAGE: &str = "docs/from-zero-to-five-hosts.md";

/// A block of commands: the heading that it stands below, the hosts that it is for, its text.
struct Block {
    heading: String,
    hosts: Vec<String>,
    text: String,
}

/// The blocks whose fence says `sh` and names hosts.
fn blocks() -> Vec<Block> {
    let page = fs::read_to_string(root().join(PAGE)).expect("the page stands");
    let (mut blocks, mut heading) = (vec![], String::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(text) = line.strip_prefix("## ") {
            text.clone_into(&mut heading);
        }
        let Some(info) = line.strip_prefix("```") else { continue };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let mut words = info.split(' ').map(str::to_owned);
        assert_eq!(words.next().as_deref(), Some("sh"), "all blocks are commands: {text:#?}");
        let (heading, hosts) = (heading.clone(), words.collect::<Vec<_>>());
        assert!(!hosts.is_empty(), "on which host? {text:#?}");
        blocks.push(Block { heading, hosts, text: text.join("\n") });
    }
    blocks
}

#[test]
fn the_pages_commands_make_a_cluster_of_five_hosts_that_counts_right_whatever_happens() {
    let Some(mut hosts) = Machines::start(&HOSTS) else { return };
    unpack_release(&hosts);
    let mut headings: Vec<String> = vec![];
    for Block { heading, hosts: names, text } in blocks() {
        if headings.last() != Some(&heading) {
            // Not a command: somebody's hand.
            if heading == "Have it back" {
                hosts.switch_on("host-3");
                let _ = hosts.run("host-3", "systemctl boot");
            }
            headings.push(heading.clone());
        }
        for name in names {
            let watch = clock::Stopwatch::start();
            let said = hosts.run(&name, &text);
            println!("## {heading}: {name}, {:.1?}\n{said}", watch.elapsed());
            check(&heading, &text, &said);
        }
    }
    // The text was put there twice.
    let counts = count_words_of(&hosts.work("master-1").join("books"));
    let expected =
        lines_of_counts(&counts.into_iter().map(|(word, count)| (word, count * 2)).collect());
    for output in ["/counts", "/counts-drained", "/counts-lost", "/counts-again"] {
        let _ = hosts.run("master-1", &format!("howdah fs cat '{output}/part-*' > got"));
        let mut got = lines_of(&fs::read(hosts.work("master-1").join("got")).expect("it is there"));
        got.sort_unstable();
        assert!(got == expected, "{output} is not what one machine counts");
    }
}

/// What people would read in the answers.
fn check(heading: &str, text: &str, said: &str) {
    let n_live = said.matches(" LIVE ").count();
    match heading {
        "Start it" if text.contains("host list") => {
            assert!(
                n_live == 4 && said.contains("tasktracker of host-4: reaches all 9 others"),
                "{said}"
            );
        }
        "Watch it" => assert!(said.contains("howdah_jobtracker_trackers_live 4"), "{said}"),
        "Lose a host" if text.contains("--check") => assert_eq!(said, "-: OK\n"),
        "Have it back" => {
            assert!(said.contains("4 chunkservers live, 0 dead"), "{said}");
            assert!(said.contains("0 missing, 0 corrupt"), "{said}");
        }
        _ => {}
    }
}

/// What is shipped, in the folder in which the first host's commands are run.
fn unpack_release(hosts: &Machines) {
    let here = hosts.work("master-1");
    fs::copy(howdah_binary(), here.join("howdah")).expect("the binary can be copied");
    fs::create_dir_all(here.join("config/systemd")).expect("a folder can be made");
    for entry in fs::read_dir(root().join("config/systemd")).expect("it stands").flatten() {
        let copy = here.join("config/systemd").join(entry.file_name());
        fs::copy(entry.path(), copy).expect("a unit can be copied");
    }
}
