//! `howdah fs` as people type it: all verbs over one cluster, compared with what the shell's own commands say of
//! the same files.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::cluster::PATIENCE;
use tests::command::{Finished, finish};
use tests::{Dev, DevOptions, wait};

/// Bytes of all values, some of which are newlines.
fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|at| (at * 31 % 251) as u8).collect()
}

fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    fs::write(path, bytes).expect("a file can be written");
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    fs::read(path).expect("a file can be read")
}

/// Paths of these tests are text, but where they are not meant to be.
fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

fn above(path: &Path) -> &Path {
    path.parent().expect("a folder above")
}

/// A folder with files of all sorts.
fn tree(at: &Path) {
    fs::create_dir_all(at.join("below/deep")).expect("it can be changed");
    fs::create_dir_all(at.join("empty")).expect("it can be changed");
    for (name, length) in [("a", 1), ("below/b.txt", 70_000), ("below/deep/c", 0), ("ü b", 12_345)]
    {
        write(at.join(name), bytes(length));
    }
}

fn same(one: &Path, other: &Path) -> bool {
    finish(Command::new("diff").arg("-r").arg(one).arg(other)).code == Some(0)
}

/// What a command of the shell prints in `folder`, its lines sorted.
fn shell(script: &str, folder: &Path) -> Vec<String> {
    let text = finish(Command::new("sh").args(["-c", script]).current_dir(folder)).success().text();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The command with these bytes as its standard input.
fn fed(command: &mut Command, input: &[u8]) -> Finished {
    let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = streams.spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    // It may be refused before it reads anything.
    stdin.write_all(input).ok();
    drop(stdin);
    child.wait_with_output().expect("its output can be read").into()
}

struct Shell(Dev);

impl Shell {
    /// Runs a verb, which succeeds.
    fn ok(&self, args: &[&str]) -> Finished {
        self.0.run(&[&["fs"], args].concat()).success()
    }

    fn refused(&self, args: &[&str], code: i32, said: &[&str]) {
        drop(self.0.run(&[&["fs"], args].concat()).refused(code, said));
    }

    fn json(&self, args: &[&str]) -> Value {
        let printed = self.ok(&[args, &["--format", "json"]].concat());
        serde_json::from_slice(&printed.stdout).expect("one JSON document")
    }

    /// The last column of each line.
    fn names(&self, args: &[&str]) -> Vec<String> {
        let listed = self.ok(args).text();
        let path = |line: &str| line.get(line.find(" /")? + 1..).map(str::to_owned);
        listed.lines().filter_map(path).collect()
    }

    fn all(&self) -> String {
        self.ok(&["ls", "-R", "/"]).text()
    }
}

#[test]
fn all_verbs_say_of_a_tree_what_the_shell_says_of_the_same_files() {
    let dev = Dev::start(&DevOptions::trackers(2));
    let local = dev.scratch().join("tree");
    tree(&local);
    let howdah = Shell(dev);
    let local_text = text(&local);
    howdah.ok(&["put", "--threads", "2", local_text, "/tree"]);
    listings_are_those_of_find_and_du(&howdah, &local);
    patterns_are_expanded(&howdah);
    parts_of_files_are_those_of_head_and_tail(&howdah, &local);
    files_come_and_go_through_pipes(&howdah, &local);
    a_log_in_a_folder_keeps_nobody_from_the_rest(&howdah, &local);
    nothing_is_overwritten_unasked(&howdah, &local);
    files_are_replaced_and_copied_on_request(&howdah, &local);
    the_tree_is_changed(&howdah);
    what_is_removed_comes_back_from_the_trash(&howdah);
}

#[test]
fn a_file_that_grows_is_followed() {
    let dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("one\ntwo\n", "/log");
    let mut tail = dev.client(&["fs", "tail", "-n", "1", "-f", "/log"]);
    let mut tail = tail.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = || lines.next().expect("a line").unwrap();
    assert_eq!(next(), "two");
    let append = |text: &[u8]| {
        drop(fed(&mut dev.client(&["fs", "append", "-", "/log"]), text).success());
    };
    append(b"three\n");
    assert_eq!(next(), "three");
    // A writer that has not closed: what is sealed shows.
    let mut writing = dev.client(&["fs", "put", "-", "/open", "--chunk-size", "64KiB"]);
    let streams = writing.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut writing = streams.spawn().unwrap();
    let mut stdin = writing.stdin.take().unwrap();
    stdin.write_all(&[b"begun\n", &vec![b'x'; 4 << 20][..]].concat()).unwrap();
    let sealed = || {
        let stat = dev.run(&["fs", "stat", "/open", "--format", "json"]);
        let stat: Value = serde_json::from_slice(&stat.stdout).ok()?;
        (stat["n_chunks"].as_u64()? > 0).then_some(())
    };
    wait::until("a chunk is sealed", PATIENCE, sealed);
    // It can't be replaced meanwhile, and who asks for it is told what to do should its writer have been killed.
    let other = dev.scratch().join("other");
    write(&other, "other");
    let said = ["/open is still being written", "at once after `howdah fs rm`"];
    let _ = dev.run(&["fs", "put", "-f", text(&other), "/open"]).refused(1, &said);
    let mut open = dev.client(&["fs", "tail", "-f", "/open"]);
    let mut open = open.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut unfinished = BufReader::new(open.stdout.take().unwrap());
    unfinished.read_line(&mut first).unwrap();
    assert_eq!(first, "begun\n");
    // And what a slow one has written shows after a while, though its chunk is far from full.
    let mut slow = dev.client(&["fs", "put", "-", "/slow"]);
    let slow = slow.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut slow = slow.spawn().unwrap();
    let mut words = slow.stdin.take().unwrap();
    words.write_all(b"slowly\n").unwrap();
    wait::until("the slow file is there", PATIENCE, || {
        (dev.run(&["fs", "stat", "/slow"]).code == Some(0)).then_some(())
    });
    let mut seen = dev.client(&["fs", "tail", "-f", "/slow"]);
    let mut seen = seen.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(seen.stdout.take().unwrap()).lines();
    assert_eq!(shown.next().expect("a line").unwrap(), "slowly");
    words.write_all(b"but surely\n").unwrap();
    assert_eq!(shown.next().expect("a line").unwrap(), "but surely");
    drop(words);
    drop(Finished::from(slow.wait_with_output().unwrap()).success());
    drop(stdin);
    drop(Finished::from(writing.wait_with_output().unwrap()).success());
    for child in [&mut tail, &mut open, &mut seen] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn listings_are_those_of_find_and_du(howdah: &Shell, local: &Path) {
    let mut listed = howdah.names(&["ls", "-R", "/tree"]);
    listed.sort();
    assert_eq!(listed, shell("find . -mindepth 1 | sed 's|^[.]|/tree|'", local));

    let used = howdah.json(&["du", "-s", "/tree"])["usage"][0].clone();
    let sizes = shell("find . -type f -printf '%s\\n'", local);
    let sum: u64 = sizes.iter().map(|size| size.parse::<u64>().expect("a size")).sum();
    assert_eq!(used["bytes"], sum);
    assert_eq!(used["replica_bytes"], 2 * sum);
    let counted = howdah.ok(&["count", "/tree"]).text();
    let columns: Vec<&str> = counted.split_whitespace().collect();
    let folders = shell("find . -type d", local).len().to_string();
    assert_eq!(columns, [folders.as_str(), "4", &sum.to_string(), "/tree"]);
    assert_eq!(
        howdah.ok(&["du", "-h", "/tree/below/b.txt"]).text().split("  ").next(),
        Some("68.36 KiB")
    );

    let room = howdah.json(&["df"]);
    assert!(room["capacity_bytes"].as_u64() > room["free_bytes"].as_u64(), "{room}");
    let room = howdah.ok(&["df", "-h"]).text();
    assert!(room.contains("iB") && room.contains('%') && room.ends_with('2'), "{room}");
    assert_eq!(howdah.names(&["ls", "-S", "/tree"])[0], "/tree/ü b");
    assert_eq!(howdah.names(&["ls", "-d", "/tree"]), ["/tree"]);
    let by_name = howdah.names(&["ls", "/tree"]);
    let reversed: Vec<String> = by_name.iter().rev().cloned().collect();
    assert_eq!(howdah.names(&["ls", "-r", "/tree"]), reversed);
    howdah.ok(&["touch", "/tree/new"]);
    assert_eq!(howdah.names(&["ls", "-t", "/tree"])[0], "/tree/new");
    howdah.ok(&["rm", "/tree/new"]);
    assert!(howdah.ok(&["ls", "--help"]).text().contains("Newest first"));
    assert_eq!(howdah.json(&["stat", "/tree/a"])["length"], 1);

    for (test, path, code) in [
        ("-e", "/tree", 0),
        ("-e", "/tree/none", 1),
        ("-e", "/tree/a/none", 1),
        ("-f", "/tree/a", 0),
        ("-f", "/tree", 1),
        ("-d", "/tree", 0),
        ("-d", "/tree/a", 1),
        ("-s", "/tree/a", 0),
        ("-s", "/tree/below/deep/c", 1),
        ("-s", "/tree", 0),
        ("-s", "/tree/empty", 1),
        ("-z", "/tree/below/deep/c", 0),
        ("-z", "/tree/a", 1),
    ] {
        let asked = howdah.0.run(&["fs", "test", test, path]);
        assert_eq!((asked.code, asked.text().as_str()), (Some(code), ""), "test {test} {path}");
        assert_eq!(asked.stderr, "");
    }
}

fn patterns_are_expanded(howdah: &Shell) {
    let listed = |pattern: &str| howdah.names(&["ls", "-d", pattern]).join(" ");
    for (pattern, expected) in [
        ("/tree/*", "/tree/a /tree/below /tree/empty /tree/ü b"),
        ("/t*/[a-b]*", "/tree/a /tree/below"),
        ("/tree/?", "/tree/a"),
        ("/tree/{empty,a,none}", "/tree/empty /tree/a"),
        ("/tree/**/c", "/tree/below/deep/c"),
        ("/tree/**/*.txt", "/tree/below/b.txt"),
        ("/tree/below/**", "/tree/below/b.txt /tree/below/deep /tree/below/deep/c"),
        ("/*", "/tree"),
    ] {
        assert_eq!(listed(pattern), expected, "{pattern}");
    }
    // Who reads gets all files below, each once, and no folder.
    assert_eq!(
        howdah.names(&["ls", "/tree/below/**"]),
        ["/tree/below/b.txt", "/tree/below/deep/c"]
    );
    let used = howdah.json(&["du", "/tree/**"])["usage"].clone();
    assert_eq!(used.as_array().map(Vec::len), Some(4), "{used}");
    assert!(howdah.ok(&["cat", "/tree/below/**"]).stdout == bytes(70_000));
    let got = howdah.0.scratch().join("flat");
    fs::create_dir(&got).expect("it can be made");
    howdah.ok(&["get", "/tree/**", text(&got)]);
    assert_eq!(shell("ls", &got), ["a", "b.txt", "c", "ü b"]);
    howdah.refused(&["cat", "/tree/*.gz"], 1, &["/tree/*.gz", "nothing matches"]);
    howdah.ok(&["touch", "/tree/[a-b]*", "/tree/a\\*"]);
    assert_eq!(listed("/tree/[a-b]*"), "/tree/[a-b]*", "what is there by the letter wins");
    assert_eq!(listed("/tree/\\[a-b]\\*"), "/tree/[a-b]*");
    assert_eq!(listed("/tree/*\\**"), "/tree/[a-b]* /tree/a\\*");
    howdah.ok(&["rm", "/tree/\\[*", "/tree/a\\*"]);
    assert_eq!(listed("/tree/*"), "/tree/a /tree/below /tree/empty /tree/ü b");
}

fn parts_of_files_are_those_of_head_and_tail(howdah: &Shell, local: &Path) {
    let lines: String = (0..40_000).map(|n| format!("line {n}\n")).collect();
    for (name, content) in
        [("many", lines.as_str()), ("unended", "a\nb\nc"), ("gaps", "\n\n\n"), ("none", "")]
    {
        let file = above(local).join(name);
        write(&file, content);
        let path = format!("/{name}");
        howdah.ok(&["put", text(&file), &path]);
        for options in [
            &[][..],
            &["-n", "0"],
            &["-n", "1"],
            &["-n", "2"],
            &["-n", "39999"],
            &["-c", "0"],
            &["-c", "3"],
        ] {
            for verb in ["head", "tail"] {
                let theirs = finish(Command::new(verb).args(options).arg(&file)).success().stdout;
                let ours = howdah.ok(&[&[verb, &path], options].concat()).stdout;
                assert!(ours == theirs, "{verb} {options:?} {name}");
            }
        }
    }
    let theirs = finish(Command::new("tail").args(["many", "gaps"]).current_dir(above(local)));
    let theirs = theirs.success().text().replace("==> ", "==> /");
    assert_eq!(howdah.ok(&["tail", "/many", "/gaps"]).text(), theirs);
    howdah.ok(&["rm", "/many", "/unended", "/gaps", "/none"]);
}

fn files_come_and_go_through_pipes(howdah: &Shell, local: &Path) {
    let first = bytes(3 << 20);
    let client = |args: &[&str]| howdah.0.client(&[&["fs"], args].concat());
    let _ = fed(
        &mut client(&["put", "-", "/piped", "--chunk-size", "1MiB", "--replication", "1"]),
        &first,
    )
    .success();
    let stat = howdah.json(&["stat", "/piped"]);
    assert_eq!((&stat["n_chunks"], &stat["replication"]), (&3.into(), &1.into()));
    let a = local.join("a");
    howdah.ok(&["append", text(&a), text(&local.join("ü b")), "/piped"]);
    let _ = fed(&mut client(&["append", "-", "/piped"]), b"the end").success();
    let mut expected = first;
    for piece in [bytes(1), bytes(12_345), b"the end".to_vec()] {
        expected.extend(piece);
    }
    let piped = expected.clone();
    assert!(howdah.ok(&["get", "/piped", "-"]).stdout == expected);
    assert!(howdah.ok(&["cat", "/piped", "/tree/a"]).stdout == [expected, bytes(1)].concat());
    let _ = fed(&mut client(&["append", "-", "/made"]), b"new").success();
    assert_eq!(howdah.ok(&["cat", "/made"]).text(), "new");
    // Folders that are missing are made, as by a put.
    for (options, path) in [(&[][..], "/new/folder/file"), (&["--lines"], "/new/other/log")] {
        let append = [&["append"], options, &["-", path]].concat();
        let _ = fed(&mut client(&append), b"first").success();
        assert_eq!(howdah.ok(&["cat", path]).text(), "first");
        // Nothing of the log is sealed yet: it is filled all the same, and empty without a record.
        howdah.ok(&["test", "-s", path]);
        howdah.refused(&["test", "-z", path], 1, &[]);
    }
    howdah.ok(&["touch", "--log", "/new/empty"]);
    howdah.ok(&["test", "-z", "/new/empty"]);
    howdah.refused(&["test", "-s", "/new/empty"], 1, &[]);
    let kinds = howdah.ok(&["ls", "/new/folder", "/new/other"]).text();
    let kinds: Vec<&str> = kinds.lines().map(|line| &line[..1]).collect();
    assert_eq!(kinds, ["-", "l"]);
    howdah.ok(&["rm", "-r", "/new"]);
    howdah.refused(&["put", "-", text(&a), "/tree"], 2, &["standard input"]);
    howdah.refused(&["append", text(local), "/made"], 2, &["is a folder"]);
    let _ = fed(&mut client(&["put", "-", "/made"]), b"other").refused(1, &["/made", "exists"]);
    assert_eq!(howdah.ok(&["cat", "/made"]).text(), "new");
    for (path, expected) in
        [("/tree/ü b", bytes(12_345)), ("/piped", piped), ("/made", b"new".to_vec())]
    {
        assert_eq!(howdah.json(&["checksum", path])["checksums"][0]["crc32c"], crc(&expected));
    }
    let sum = crc(b"new");
    assert_eq!(howdah.ok(&["checksum", "/made"]).text(), format!("{sum}  /made"));
    howdah.ok(&["rm", "/piped", "/made"]);
}

fn a_log_in_a_folder_keeps_nobody_from_the_rest(howdah: &Shell, local: &Path) {
    let client = |args: &[&str]| howdah.0.client(&[&["fs"], args].concat());
    let _ =
        fed(&mut client(&["append", "--lines", "-", "/mixed/below/log"]), b"one\n\ntwo").success();
    let _ = fed(&mut client(&["put", "-", "/mixed/file"]), b"bytes").success();
    let got = above(local).join("mixed");
    howdah.ok(&["get", "/mixed", text(&got)]);
    assert_eq!(read(got.join("below/log")), b"one\n\ntwo\n");
    assert_eq!(read(got.join("file")), b"bytes");
    let copied = howdah.ok(&["cp", "-r", "/mixed", "/copied"]);
    let said = &copied.stderr;
    assert!(said.contains("/mixed/below/log is a log"), "{said}");
    assert_eq!(howdah.names(&["ls", "-R", "/copied"]), ["/copied/below", "/copied/file"]);
    howdah.refused(&["cp", "/mixed/below/log", "/copied"], 1, &["/mixed/below/log", "log"]);
    howdah.ok(&["rm", "-r", "/mixed", "/copied"]);
}

fn nothing_is_overwritten_unasked(howdah: &Shell, local: &Path) {
    let got = above(local).join("got");
    let got_text = text(&got);
    howdah.ok(&["get", "/tree", got_text]);
    assert!(same(local, &got));
    write(got.join("a"), "mine");
    write(got.join("own"), "mine");
    howdah.refused(&["get", "/tree/a", got_text], 2, &["got/a", "exists"]);
    howdah.refused(&["get", "/tree/*", got_text], 2, &["exists"]);
    assert_eq!(read(got.join("a")), b"mine");
    howdah.ok(&["get", "-f", "/tree/*", got_text]);
    assert_eq!(read(got.join("a")), bytes(1));
    assert_eq!(read(got.join("own")), b"mine", "folders get what is missing");
    fs::remove_file(got.join("own")).expect("it can be changed");
    assert!(same(local, &got));

    let before = howdah.all();
    let strange = above(local).join("strange");
    fs::create_dir(&strange).expect("it can be changed");
    write(strange.join("fine"), "");
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"not-\xff-text");
    write(strange.join(name), "");
    let strange_text = text(&strange);
    howdah.refused(&["put", strange_text, "/strange"], 2, &["strange/not-", "UTF-8"]);
    let put = finish(howdah.0.client(&["fs", "put", got_text]).arg(name));
    let _ = put.refused(2, &["not UTF-8"]);
    assert_eq!(howdah.all(), before);
}

fn files_are_replaced_and_copied_on_request(howdah: &Shell, local: &Path) {
    let changed = above(local).join("changed");
    let changed_text = text(&changed);
    tree(&changed);
    write(changed.join("a"), "changed");
    write(changed.join("below/more"), "more");
    howdah.ok(&["cp", "-r", "/tree", "/copy"]);
    howdah.refused(&["cp", "/tree", "/other"], 1, &["/tree", "add -r"]);
    howdah.refused(&["cp", "-r", "/tree", "/tree/below"], 1, &["/tree", "into itself"]);
    howdah.refused(&["cp", "/tree/a", "/copy/a"], 1, &["/copy/a", "exists"]);
    let before = howdah.all();
    howdah.ok(&["put", changed_text, "/copy"]);
    let merged = above(local).join("merged");
    howdah.ok(&["mv", "/copy/changed", "/changed"]);
    assert_eq!(before.lines().count() + 9, howdah.all().lines().count());
    // Folders get what is missing, and files are replaced.
    howdah.ok(&["rm", "-r", "/copy/empty"]);
    howdah.ok(&["cp", "-r", "-f", "/changed/a", "/changed/below", "/changed/empty", "/copy"]);
    howdah.ok(&["get", "/copy", text(&merged)]);
    assert!(same(&changed, &merged));
    howdah.refused(&["put", text(&changed.join("a")), "/tree/a"], 1, &["/tree/a", "exists"]);
    howdah.ok(&["put", "-f", text(&changed.join("a")), "/tree/a"]);
    assert_eq!(howdah.ok(&["cat", "/tree/a"]).text(), "changed");
    howdah.ok(&["mv", "/changed", "/tree/changed"]);
    fs::rename(&changed, local.join("changed")).expect("it can be changed");
    write(local.join("changed/below/more"), "even more");
    howdah.ok(&["put", "-f", text(&local.join("changed")), "/tree"]);
    assert_eq!(howdah.ok(&["cat", "/tree/changed/below/more"]).text(), "even more");
    assert_eq!(howdah.names(&["ls", "/tree/changed/below"]).len(), 3, "nothing unfinished stays");
    fs::rename(local.join("changed"), &changed).expect("it can be changed");
    howdah.ok(&["rm", "-r", "/tree/changed"]);
    assert!(howdah.ok(&["cat", "/copy/below/b.txt"]).stdout == bytes(70_000), "a copy lives on");

    // Of two that would have one name, none takes the other's place: nothing is moved, nor copied.
    let before = howdah.all();
    for verb in [
        &["mv", "-f", "/tree/a", "/copy/a", "/tree/empty"][..],
        &["mv", "/*/a", "/tree/empty"],
        &["cp", "-f", "/*/a", "/tree/empty"],
        &["cp", "-r", "/tree/below", "/copy/below", "/tree/empty"],
    ] {
        howdah.refused(verb, 2, &["two of these would both go to /tree/empty/"]);
    }
    assert_eq!(howdah.all(), before);
    howdah.refused(&["mv", "/tree/a", "/copy/a"], 1, &["/copy/a", "exists"]);
    howdah.ok(&["mv", "-f", "/copy/a", "/tree/a"]);
    assert_eq!(howdah.ok(&["cat", "/tree/a"]).text(), "changed");
    howdah.ok(&["setrep", "-w", "1", "/copy"]);
    howdah.ok(&["setrep", "-w", "2", "/copy/**/*.txt"]);
    assert_eq!(howdah.json(&["stat", "/copy/below/b.txt"])["replication"], 2);
    assert_eq!(howdah.json(&["stat", "/copy/ü b"])["replication"], 1);
    howdah.refused(&["setrep", "0", "/copy"], 2, &["0"]);
    howdah.ok(&["rm", "-r", "/copy"]);
}

fn the_tree_is_changed(howdah: &Shell) {
    howdah.ok(&["mkdir", "-p", "/into/x"]);
    howdah.ok(&["mv", "/tree/a", "/tree/below", "/into"]);
    assert_eq!(howdah.names(&["ls", "/into"]), ["/into/a", "/into/below", "/into/x"]);
    howdah.refused(&["mv", "/into/*", "/nowhere"], 1, &["/nowhere", "mkdir"]);
    howdah.ok(&["rm", "-f", "/nowhere", "/no/*"]);
    howdah.refused(&["rm", "/nowhere"], 1, &["/nowhere"]);
    howdah.ok(&["rm", "-r", "/into/**", "/tree"]);
    assert_eq!(howdah.names(&["ls", "/into"]), [""; 0]);
    howdah.ok(&["touch", "/into/a\n\u{1b}[2Jb"]);
    assert_eq!(howdah.names(&["ls", "/into"]), ["/into/a\\n\\u{1b}[2Jb"]);
    let exact = howdah.json(&["ls", "/into"])["entries"][0]["path"].clone();
    assert_eq!(exact, "/into/a\n\u{1b}[2Jb");
    howdah.refused(&["touch", "/into/none/\u{1b}[2J"], 1, &["/into/none/\\u{1b}[2J", "mkdir -p"]);
}

fn what_is_removed_comes_back_from_the_trash(howdah: &Shell) {
    howdah.ok(&["mkdir", "/kept"]);
    let path = "/kept/by mistake";
    let _ = fed(&mut howdah.0.client(&["fs", "put", "-", path]), b"work of years").success();
    let sum = crc(b"work of years");
    assert_eq!(howdah.ok(&["checksum", path]).text(), format!("{sum}  {path}"));
    let _ = fed(
        &mut howdah.0.client(&["fs", "put", "-", "/twin", "--chunk-size", "64KiB"]),
        &bytes(200_000),
    )
    .success();
    let _ = fed(&mut howdah.0.client(&["fs", "put", "-", "/other"]), &bytes(200_000)).success();
    for twin in ["/twin", "/other"] {
        assert_eq!(
            howdah.json(&["checksum", twin])["checksums"][0]["crc32c"],
            crc(&bytes(200_000))
        );
    }
    let removed = howdah.ok(&["rm", "-r", "/kept"]).stderr;
    let there = removed.split_once("howdah fs mv ").and_then(|(_, rest)| rest.split(' ').next());
    let there = there.unwrap_or_else(|| panic!("it says where it is: {removed}"));
    assert!(there.starts_with("/.howdah/trash/") && there.ends_with("/kept"), "{removed}");
    howdah.ok(&["mv", there, "/kept"]);
    assert_eq!(howdah.ok(&["cat", path]).text(), "work of years");

    let removed = howdah.ok(&["rm", "-r", "--skip-trash", "/kept"]);
    assert_eq!(removed.stderr, "");
    howdah.ok(&["rm", "/twin", "/other"]);
    assert!(
        howdah.names(&["ls", "-R", "/.howdah/trash"]).iter().any(|path| path.ends_with("/twin"))
    );
    howdah.ok(&["expunge"]);
    assert_eq!(howdah.names(&["ls", "/.howdah/trash"]), [""; 0]);
    howdah.ok(&["expunge"]);
}

#[test]
fn of_several_paths_each_is_done_that_can_be_and_the_others_are_said() {
    let dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("one\n", "/in/a");
    dev.put_text("two\n", "/in/b");
    let howdah = Shell(dev);
    let paths = ["/in/a", "/in/gone", "/no*/x", "/in/b"];
    // Each failure is said, and said once.
    let some = |args: &[&str], said: &[&str]| {
        let done = howdah.0.run(&[&["fs"], args].concat()).refused(1, said);
        assert_eq!(done.stderr.lines().count(), said.len(), "{args:?}: {}", done.stderr);
        done.text()
    };
    let missing = ["/in/gone", "/no*/x"];
    let both = "==> /in/a <==\none\n\n==> /in/b <==\ntwo";
    for (verb, printed) in
        [("cat", "one\ntwo"), ("text", "one\ntwo"), ("head", both), ("tail", both)]
    {
        assert_eq!(some(&[&[verb], &paths[..]].concat(), &missing), printed, "{verb}");
    }
    for (verb, list) in [
        ("ls", "entries"),
        ("stat", "entries"),
        ("du", "usage"),
        ("count", "usage"),
        ("checksum", "checksums"),
    ] {
        let lines = some(&[&[verb], &paths[..]].concat(), &missing);
        assert!(lines.contains("/in/a") && lines.contains("/in/b"), "{verb}: {lines}");
        let document = some(&[&[verb, "--format", "json"], &paths[..]].concat(), &missing);
        let document: Value = serde_json::from_str(&document).expect("one JSON document");
        let found: Vec<_> =
            document[list].as_array().expect("a list").iter().map(|it| &it["path"]).collect();
        assert_eq!(found, ["/in/a", "/in/b"], "{verb}");
    }
    let local = howdah.0.scratch().join("local");
    fs::create_dir(&local).expect("it can be made");
    let local_text = text(&local);
    assert_eq!(some(&[&["get"], &paths[..], &["-"]].concat(), &missing), "one\ntwo");
    some(&[&["get"], &paths[..], &[local_text]].concat(), &missing);
    assert_eq!(shell("cat a b", &local), ["one", "two"]);
    let names = ["a", "gone", "b"].map(|name| text(&local.join(name)).to_owned());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    some(&["mkdir", "/into", "/in", "/in/none/new"], &["/in already exists", "add -p"]);
    some(&[&["put"], &names[..], &["/into"]].concat(), &["local/gone"]);
    assert_eq!(howdah.names(&["ls", "/into"]), ["/into/a", "/into/b"]);
    // One that is left of two does not get a name that was meant for a folder.
    howdah.refused(&["put", names[0], names[1], "/new"], 1, &["/new is no folder"]);
    howdah.refused(
        &["get", paths[0], paths[2], &format!("{local_text}/new")],
        2,
        &["is no folder"],
    );
    howdah.refused(&["cp", paths[0], paths[2], "/new"], 1, &["/new is no folder"]);
    howdah.refused(&["mv", paths[0], paths[2], "/new"], 1, &["/new is no folder"]);
    howdah.ok(&["rm", "-r", "/into"]);
    howdah.ok(&["mkdir", "/into"]);
    some(&[&["cp"], &paths[..], &["/into"]].concat(), &missing);
    assert_eq!(howdah.names(&["ls", "/into"]), ["/into/a", "/into/b"]);
    some(
        &[&["setrep", "2"], &paths[..]].concat(),
        &[missing[0], missing[1], "1 chunkservers are live"],
    );
    assert_eq!(howdah.json(&["stat", "/in/b"])["replication"], 2);
    some(&["touch", "/in/none/x", "/in/c"], &["mkdir -p /in/none"]);
    some(&["mv", "/in/a", "/in/gone", "/in/c", "/into"], &["/into/a already exists", "/in/gone"]);
    assert_eq!(howdah.names(&["ls", "/into"]), ["/into/a", "/into/b", "/into/c"]);
    some(
        &["rm", "--skip-trash", "/in/gone", "/into/a", "/into", "/no*/x", "/into/b"],
        &["/in/gone", "add -r", "/no*/x"],
    );
    assert_eq!(howdah.names(&["ls", "-R", "/"]), ["/in", "/in/a", "/in/b", "/into", "/into/c"]);
    remedies_are_those_that_there_are(&howdah, &local, names[1]);
}

fn remedies_are_those_that_there_are(howdah: &Shell, local: &Path, gone: &str) {
    // What is tried in vain is no remedy; a number with a sign means something else to a shell's `tail`.
    howdah.refused(
        &["put", "-f", text(local), "/in/b"],
        1,
        &["/in/b already exists", "nothing a folder's"],
    );
    howdah.refused(&["tail", "-n", "+2", "/in/b"], 2, &["without a sign"]);
    howdah.refused(&["head", "-c", "+2", "/in/b"], 2, &["without a sign"]);
    let here = howdah.0.scratch().join("here");
    fs::create_dir(&here).expect("it can be made");
    drop(finish(howdah.0.client(&["fs", "get", "/in/b"]).current_dir(&here)).success());
    assert_eq!(read(here.join("b")), b"two\n");
    assert_eq!(howdah.ok(&["df", "/in"]).text().lines().count(), 2);
    // Nobody has to be asked about local files that are all missing.
    howdah.refused(&["put", gone, "/new"], 2, &["local/gone"]);
    // The remedy is one that there is.
    for verb in [&["cp", "/in/a", "/x/y/z"][..], &["mv", "/in/a", "/x/y/z"], &["touch", "/x/y/z"]] {
        howdah.refused(verb, 1, &["`howdah fs mkdir -p /x/y`"]);
    }
}

/// As `howdah fs checksum` writes it.
fn crc(bytes: &[u8]) -> String {
    // Reflected, bit by bit, as RFC 3720 has it: shares no code with ours.
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (if crc & 1 == 1 { 0x82f6_3b78 } else { 0 });
        }
    }
    format!("{:08x}", !crc)
}

#[test]
fn a_bad_path_is_refused_by_every_verb_before_anything_is_asked_and_changes_nothing() {
    let dev = Dev::start(&DevOptions::trackers(1));
    let file = dev.scratch().join("file");
    write(&file, "text");
    dev.put(&file, "/file");
    let howdah = Shell(dev);
    let before = howdah.all();
    let (long_part, long_path) = (format!("/{}", "x".repeat(256)), "/xy".repeat(1366));
    let file = text(&file);
    let out = format!("{file}-out");
    for bad in ["", "relative", "/a/../file", "/..", "/./file", "/a//b", &long_part, &long_path] {
        for verb in [
            &["put", file, bad][..],
            &["put", "-", bad],
            &["append", file, bad],
            &["get", bad, &out],
            &["cat", bad],
            &["head", bad],
            &["tail", bad],
            &["ls", bad],
            &["stat", bad],
            &["test", "-e", bad],
            &["du", bad],
            &["count", bad],
            &["mkdir", bad],
            &["mkdir", "-p", bad],
            &["touch", bad],
            &["mv", bad, "/moved"],
            &["mv", "/file", bad],
            &["cp", bad, "/copied"],
            &["cp", "-rf", "/file", bad],
            &["setrep", "1", bad],
            &["checksum", bad],
            &["rm", "--skip-trash", bad],
            &["tail", "-f", bad],
            &["rm", bad],
            &["rm", "-rf", bad],
        ] {
            howdah.refused(verb, 2, &[]);
        }
    }
    assert_eq!(howdah.all(), before);
    assert!(!Path::new(&out).exists());
}
