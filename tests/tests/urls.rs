//! URLs of other stores, with a local S3 server: `howdah fs` between the host, the chunk store and S3. All of it is
//! skipped, and says so, where there is no such server.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use tests::command::{Finished, finish, howdah};
use tests::s3::{BUCKET, S3, SECRET, SECRET_VARIABLE};
use tests::{Dev, DevOptions};

/// A client of the server, without any cluster.
struct Client<'a> {
    s3: &'a S3,
    config: String,
    folder: tempfile::TempDir,
}

impl<'a> Client<'a> {
    fn new(s3: &'a S3) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { s3, config: s3.config_file(folder.path()), folder }
    }

    fn fs(&self, args: &[&str]) -> Finished {
        let mut command = howdah();
        command.args(["--config", &self.config, "fs"]).args(args);
        finish(command.env(SECRET_VARIABLE, SECRET))
    }

    fn ok(&self, args: &[&str]) -> String {
        self.fs(args).success().text()
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder above")).expect("it can be made");
        fs::write(&path, bytes).expect("a file can be written");
        text(&path).to_owned()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// The last column of each line.
fn names(listed: &str) -> Vec<&str> {
    listed.lines().filter_map(|line| line.split_whitespace().next_back()).collect()
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|at| (at * 31 % 251) as u8).collect()
}

#[test]
fn all_verbs_that_objects_know_work_on_s3_and_the_others_say_what_to_do_instead() {
    let Some(s3) = S3::start() else { return };
    let client = Client::new(&s3);
    let in_bucket = |key: &str| format!("s3://{BUCKET}/{key}");
    objects_come_and_go(&client, &in_bucket);
    objects_are_listed_counted_and_told(&client, &in_bucket);
    objects_move_and_go(&client, &in_bucket);
    what_objects_do_not_know_is_refused(&client, &in_bucket);
    assert_eq!(s3.uploads(), Vec::<String>::new(), "no upload is left unfinished");
}

/// With an object of several parts among them.
fn objects_come_and_go(client: &Client<'_>, in_bucket: &dyn Fn(&str) -> String) {
    let long = bytes(20_000_000);
    client.file("tree/long", &long);
    client.file("tree/below/b.txt", b"one\ntwo\nthree\n");
    let empty = client.file("tree/below/empty", b"");
    let tree = text(client.folder.path().join("tree").as_path()).to_owned();
    client.ok(&["put", &tree, &in_bucket("tree")]);
    let expected = ["tree/below/b.txt", "tree/below/empty", "tree/long"];
    assert_eq!(client.s3.keys(""), expected);
    drop(
        client
            .fs(&["put", &empty, &in_bucket("tree/long")])
            .refused(1, &["tree/long exists", "-f"]),
    );
    client.ok(&["put", &empty, &in_bucket("new/")]);
    assert_eq!(client.s3.keys("new"), ["new/empty"]);
    let back = client.folder.path().join("back");
    client.ok(&["get", &in_bucket("tree"), text(&back)]);
    assert!(fs::read(back.join("long")).expect("it was got") == long);
    assert_eq!(fs::read(back.join("below/b.txt")).expect("it was got"), b"one\ntwo\nthree\n");
    assert_eq!(client.ok(&["cat", &in_bucket("tree/below/*.txt")]), "one\ntwo\nthree");
    assert_eq!(client.ok(&["head", "-n", "1", &in_bucket("tree/below/b.txt")]), "one");
    assert_eq!(client.ok(&["tail", "-n", "2", &in_bucket("tree/below/b.txt")]), "two\nthree");
    assert_eq!(client.ok(&["tail", "-c", "6", &in_bucket("tree/below/b.txt")]), "three");
    let mut command = howdah();
    command.args(["--config", &client.config, "fs", "put", "-", &in_bucket("piped")]);
    let command = command.env(SECRET_VARIABLE, SECRET).stdin(Stdio::piped());
    let mut piped = command.spawn().expect("it starts");
    let mut stdin = piped.stdin.take().expect("a pipe");
    stdin.write_all(b"through a pipe\n").expect("it reads");
    drop(stdin);
    assert!(piped.wait().expect("it ends").success());
    assert_eq!(client.s3.text("piped"), "through a pipe\n");
}

fn objects_are_listed_counted_and_told(client: &Client<'_>, in_bucket: &dyn Fn(&str) -> String) {
    let listed = client.ok(&["ls", &in_bucket("tree")]);
    assert_eq!(names(&listed), [in_bucket("tree/below"), in_bucket("tree/long")]);
    let listed = client.ok(&["ls", "-R", &in_bucket("tree/")]);
    assert_eq!(names(&listed).len(), 3, "{listed}");
    assert!(client.ok(&["ls", &format!("s3://{BUCKET}")]).contains(&in_bucket("piped")));
    let stat = client.ok(&["stat", &in_bucket("tree/long")]);
    assert!(stat.contains("length       20000000") && stat.contains("e_tag"), "{stat}");
    assert!(client.ok(&["stat", &in_bucket("tree")]).contains("objects      3"));
    for (is_so, args) in [
        (true, ["-e", "tree"]),
        (true, ["-d", "tree"]),
        (true, ["-f", "tree/long"]),
        (true, ["-z", "tree/below/empty"]),
        (false, ["-f", "tree"]),
        (false, ["-e", "tre"]),
        (false, ["-s", "tree/below/empty"]),
    ] {
        let code = client.fs(&["test", args[0], &in_bucket(args[1])]).code;
        assert_eq!(code, Some(i32::from(!is_so)), "{args:?}");
    }
    let counted = client.ok(&["count", &in_bucket("tree")]);
    let counted: Vec<_> = counted.split_whitespace().collect();
    assert_eq!(counted, ["3", "20000014", &in_bucket("tree")]);
    assert!(client.ok(&["du", "-h", &in_bucket("tree/below")]).starts_with("14 B"));
    drop(client.fs(&["ls", &in_bucket("no/such")]).refused(1, &["no/such does not exist"]));
    drop(client.fs(&["cat", &in_bucket("no*")]).refused(1, &["nothing matches"]));
}

fn objects_move_and_go(client: &Client<'_>, in_bucket: &dyn Fn(&str) -> String) {
    client.ok(&["mv", &in_bucket("piped"), &in_bucket("moved")]);
    client.ok(&["cp", &in_bucket("moved"), &in_bucket("copied")]);
    assert_eq!(client.s3.text("copied"), "through a pipe\n");
    drop(client.fs(&["cp", &in_bucket("tree"), &in_bucket("again")]).refused(1, &["add -r"]));
    client.ok(&["cp", "-r", &in_bucket("tree"), &in_bucket("again")]);
    client.ok(&["mv", &in_bucket("again"), &in_bucket("once")]);
    assert_eq!(client.s3.keys("once"), ["once/below/b.txt", "once/below/empty", "once/long"]);
    drop(client.fs(&["mv", &in_bucket("moved"), &in_bucket("copied")]).refused(1, &["exists"]));
    client.ok(&["mv", "-f", &in_bucket("moved"), &in_bucket("copied")]);
    drop(client.fs(&["rm", &in_bucket("once")]).refused(1, &["is a folder", "-r"]));
    client.ok(&["rm", "-r", &in_bucket("once"), &in_bucket("c*")]);
    assert_eq!(client.s3.keys("").len(), 4, "{:?}", client.s3.keys(""));
    drop(client.fs(&["rm", &in_bucket("once")]).refused(1, &["does not exist"]));
    client.ok(&["rm", "-f", &in_bucket("once")]);
}

fn what_objects_do_not_know_is_refused(client: &Client<'_>, in_bucket: &dyn Fn(&str) -> String) {
    let url = in_bucket("tree/long");
    for (args, why) in [
        (&["setrep", "2", &url][..], "that store's own business"),
        (&["checksum", &url], "fs stat"),
        (&["append", "-", &url], "never gets longer"),
        (&["mkdir", &url], "need not be made"),
        (&["touch", &url], "put /dev/null"),
        (&["fsck", &url], "checked by that store"),
        (&["tail", "-f", &url], "never gets longer"),
        (&["put", "--replication", "2", "/dev/null", &url], "leave them out"),
        (&["mv", "/a", &url], "within one store"),
        (&["cat", "/a", &url], "side by side"),
        (&["cat", "s3://other-bucket/x"], "no entry of `stores` in the configuration covers"),
        (&["cat", "ftp://h/x"], "accepted are s3://"),
        (&["cat", "s3://b/../x"], "'..'"),
    ] {
        drop(client.fs(args).refused(2, &[why]));
    }
    // A key that is not set is said by its name, and no secret is in any message.
    let mut command = howdah();
    command.args(["--config", &client.config, "fs", "cat", &url]).env_remove(SECRET_VARIABLE);
    drop(finish(&mut command).refused(2, &[SECRET_VARIABLE, "is not set"]));
}

#[test]
fn files_are_copied_between_the_chunk_store_and_s3() {
    let Some(s3) = S3::start() else { return };
    let stores = format!("stores=[{}]", s3.entry());
    let dev = Dev::start(&DevOptions::trackers(1).set(&stores));
    let run = |args: &[&str]| {
        let mut command = dev.client(&[&["fs"], args].concat());
        finish(command.env(SECRET_VARIABLE, SECRET))
    };
    let long = bytes(9_000_000);
    let local = dev.scratch().join("long");
    fs::write(&local, &long).expect("a file can be written");
    dev.put(&local, "/in/long");
    dev.put_text("short\n", "/in/short");
    let (out, back) = (format!("s3://{BUCKET}/out"), "/back");
    drop(run(&["cp", "-r", "howdah:///in", &out]).success());
    assert_eq!(s3.keys(""), ["out/long", "out/short"]);
    drop(run(&["cp", "-r", &out, back]).success());
    let got = dev.scratch().join("got");
    dev.get("/back/long", &got);
    assert!(fs::read(&got).expect("it was got") == long, "the same bytes, there and back");
    drop(run(&["cp", &format!("{out}/short"), "/back/long"]).refused(1, &["exists", "-f"]));
    drop(run(&["cp", "-f", &format!("{out}/short"), "/back/long"]).success());
    assert_eq!(dev.run(&["fs", "cat", "/back/long"]).success().text(), "short");
    assert_eq!(s3.uploads(), Vec::<String>::new());
}
