//! Every example, and its twins in Python, awk and shell, against an independent script: on local files, on a cluster
//! of three TaskTrackers, and on the cluster while one of them is killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::binary::root;
use tests::cluster::PATIENCE;
use tests::command::{Finished, finish, run};
use tests::job_author::{gallery, pattern};
use tests::oracle::lines_of_parts;
use tests::{Dev, DevOptions, wait};

/// What is compared: a name, what the script calls it, what the job file says, and the folders of its input.
struct Trial {
    name: String,
    script: &'static str,
    /// The job without name, input and output.
    job: String,
    inputs: &'static [&'static str],
    reduces: u32,
}

/// Examples in Rust that are one job: the program with its arguments, and the reduces.
const RUST: &[(&str, &str, &str, &[&str], u32)] = &[
    ("cooccurrence_pairs", "", "cooccurrence", &["prose"], 3),
    ("cooccurrence_stripes", "", "cooccurrence", &["prose"], 2),
    ("grep", ", w7 w1", "grep", &["prose"], 0),
    ("inverted_index", "", "inverted_index", &["books"], 2),
    ("link_graph", "", "link_graph", &["html"], 0),
    ("map_join", "", "join", &["orders"], 0),
    ("max_temperature", "", "max_temperature", &["days"], 3),
    ("projection", ", 3, 1", "projection", &["table"], 2),
    ("reduce_join", "", "join", &["users", "orders"], 3),
    ("relative_frequency", "", "relative_frequency", &["prose"], 3),
    ("selection", ", 2, 450", "selection", &["table"], 0),
    ("sum_by_key", "", "sum_by_key", &["sums"], 3),
    ("top_n", ", 10", "top_n", &["scores"], 1),
];

/// What each twin is compared with, and reads.
const TWINS: &[(&str, &str, &[&str])] = &[
    ("grep", "regex", &["prose"]),
    ("max_temperature", "max_temperature", &["days"]),
    ("projection", "projection", &["table"]),
    ("reduce_join", "join", &["users", "orders"]),
    ("sum_by_key", "sum_by_key", &["sums"]),
    ("word_count", "word_count", &["prose"]),
];

fn script(name: &str, here: &Path) -> Finished {
    let script = root().join("tests/programs/examples.py");
    finish(Command::new("python3").arg(script).arg(name).arg(here)).success()
}

fn expected(name: &str, here: &Path) -> Vec<String> {
    let text = script(name, here).stdout;
    let text = String::from_utf8(text).expect("a script writes text");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(!lines.is_empty(), "the script {name} wrote nothing");
    lines.sort_unstable();
    lines
}

fn parts(folder: &Path) -> Vec<String> {
    let lines = lines_of_parts(folder).into_iter();
    lines.map(|line| String::from_utf8(line).expect("the outputs are text")).collect()
}

/// Lines agree but for the last digits of fractions, whose sums depend on the order; whole numbers agree exactly.
fn assert_same(found: &[String], expected: &[String], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: {found:?}, not {expected:?}");
    for (found, expected) in found.iter().zip(expected) {
        let is_near = |(a, b): (&str, &str)| match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(x), Ok(y)) if a.contains(['.', 'e']) => {
                (x - y).abs() <= 1e-8 * x.abs().max(y.abs())
            }
            _ => a == b,
        };
        let (fields, others) = (found.split('\t'), expected.split('\t'));
        let same =
            fields.clone().count() == others.clone().count() && fields.zip(others).all(is_near);
        assert!(same, "{what}: {found:?}, not {expected:?}");
    }
}

fn trials(program: &Path, here: &Path) -> Vec<Trial> {
    let of_rust = RUST.iter().map(|(name, args, script, inputs, reduces)| {
        let format = if *name == "link_graph" { "input_format: whole-file\n" } else { "" };
        let files = match *name {
            "map_join" => format!(", files: ['{}']", here.join("brought/users.tsv").display()),
            _ => String::new(),
        };
        let job = format!(
            "{format}program: {{native: {{executable: {}, args: [{name}{args}]{files}}}}}\n",
            program.display()
        );
        Trial { name: (*name).to_owned(), script, job, inputs, reduces: *reduces }
    });
    let of_streaming = TWINS.iter().flat_map(|(name, script, inputs)| {
        ["py", "awk", "sh"].into_iter().map(move |language| {
            let file = format!("{name}.{language}.yaml");
            let path = root().join("mapreduce/examples/streaming").join(&file);
            let text = fs::read_to_string(&path).expect("the twin stands there");
            let folder = path.parent().expect("it lies in a folder").display();
            let program =
                text.split("program:\n").nth(1).and_then(|it| it.split("reduces:").next());
            let program = program
                .expect("it has a program")
                .replace("files: [", &format!("files: [{folder}/"));
            let reduces = text.split("reduces: ").nth(1).and_then(|it| it.trim().parse().ok());
            let job = format!("program:\n{program}");
            Trial { name: file, script, job, inputs, reduces: reduces.expect("it has reduces") }
        })
    });
    of_rust.chain(of_streaming).collect()
}

impl Trial {
    fn file(&self, dev: &Dev, root: &str, output: &str) -> String {
        let inputs: Vec<String> = self.inputs.iter().map(|it| format!("{root}/{it}")).collect();
        let Self { name, job, reduces, .. } = self;
        let text = format!(
            "name: {name}\ninput: [{}]\noutput: {output}\n{job}reduces: {reduces}\n",
            inputs.join(", ")
        );
        dev.job_file(&format!("{name}.job.yaml"), &text)
    }

    /// Submits it to the cluster; its id.
    fn submit(&self, dev: &Dev, output: &str) -> String {
        dev.run(&["job", "submit", &self.file(dev, "/in", output)]).success().text()
    }
}

struct Cluster {
    dev: Dev,
    here: PathBuf,
}

impl Cluster {
    fn start() -> Self {
        let options = DevOptions::trackers(3)
            .set("jobtracker.split_bytes=16KiB")
            .set("jobtracker.heartbeat_interval=200ms")
            .set("jobtracker.dead_after=3s");
        let dev = Dev::start(&options);
        let here = dev.scratch().join("in");
        fs::create_dir(&here).expect("a folder can be made");
        let _ = script("make", &here);
        dev.put(&here, "/in");
        Self { dev, here }
    }

    fn get(&self, output: &str) -> Vec<String> {
        let local = self.dev.scratch().join("got");
        self.dev.get(output, &local);
        let lines = parts(&local);
        fs::remove_dir_all(local).expect("the copy can be removed");
        lines
    }
}

#[test]
fn every_example_and_its_twins_equal_an_independent_script_though_a_tracker_dies() {
    let mut cluster = Cluster::start();
    let here = cluster.here.clone();
    let names: Vec<&str> = RUST.iter().map(|it| it.0).collect();
    let trials = trials(&gallery(cluster.dev.scratch(), &names), &here);
    for it in &trials {
        let output = cluster.dev.scratch().join("local").join(&it.name);
        fs::create_dir_all(output.parent().expect("it lies in a folder")).expect("it can be made");
        let file =
            it.file(&cluster.dev, here.to_str().expect("text"), output.to_str().expect("text"));
        let _ = run(["local", &file]).success();
        assert_same(&parts(&output), &expected(it.script, &here), &format!("{} locally", it.name));
    }
    let finish_all = |cluster: &Cluster, ids: &[String], below: &str| {
        for (it, id) in trials.iter().zip(ids) {
            let _ = cluster.dev.await_job(id, "succeeds", |job| job["state"] == "SUCCEEDED");
            let what = format!("{} in {below}", it.name);
            assert_same(
                &cluster.get(&format!("{below}/{}", it.name)),
                &expected(it.script, &here),
                &what,
            );
        }
    };
    let submit_all = |dev: &Dev, below: &str| -> Vec<String> {
        trials.iter().map(|it| it.submit(dev, &format!("{below}/{}", it.name))).collect()
    };
    let ids = submit_all(&cluster.dev, "/calm");
    finish_all(&cluster, &ids, "/calm");
    let ids = submit_all(&cluster.dev, "/rough");
    // Some are done, some run, some wait.
    wait::until("a few jobs are done", PATIENCE, || {
        let done = ids.iter().filter(|id| cluster.dev.job(id)["state"] == "SUCCEEDED").count();
        (done >= 3).then_some(())
    });
    cluster.dev.kill("tasktracker-2");
    finish_all(&cluster, &ids, "/rough");
}

#[test]
fn workflows_of_the_examples_equal_an_independent_script() {
    let cluster = Cluster::start();
    let here = cluster.here.clone();
    let cases: [(&str, &str, &str, &[&str]); 3] = [
        ("by_frequency", "text", "words", &["prose"]),
        ("pagerank", "links", "ranks", &["links"]),
        ("kmeans", "points", "centres", &["points"]),
    ];
    for (name, input, output, folders) in cases {
        let program = format!("program={}", pattern(cluster.dev.scratch(), name).display());
        let file = root().join("mapreduce/examples").join(format!("{name}.yaml"));
        let file = file.to_str().expect("text");
        let runs = cluster.dev.scratch().join("runs");
        let local = cluster.dev.scratch().join(format!("{name}-out"));
        let variables = |root: &str, out: &str| {
            [program.clone(), format!("{input}={root}/{}", folders[0]), format!("{output}={out}")]
                .into_iter()
                .flat_map(|it| ["--var".to_owned(), it])
                .collect::<Vec<_>>()
        };
        let arguments = variables(here.to_str().expect("text"), local.to_str().expect("text"));
        let runs = ["--local", "--runs", runs.to_str().expect("text")];
        let start = ["workflow", "run", file].into_iter().chain(runs);
        let _ = run(start.map(str::to_owned).chain(arguments)).success();
        assert_same(&parts(&local), &expected(name, &here), &format!("{name} locally"));

        let remote = format!("/out/{name}");
        let arguments = variables("/in", &remote);
        let mut command = cluster.dev.client(&["workflow", "run", file]);
        let run = finish(command.args(&arguments)).success().text();
        assert_same(&cluster.get(&remote), &expected(name, &here), &format!("{name} on a cluster"));
        let left = cluster.dev.run(&["fs", "ls", &format!("/workflows/{run}")]).success().text();
        assert!(!left.contains("/data"), "intermediate data is gone: {left}");
    }
    let terasort = root().join("mapreduce/examples/terasort.yaml");
    let arguments = ["ranges=/in/ranges", "sorted=/out/sorted", "verdict=/out/verdict"];
    let mut command = cluster.dev.client(&["workflow", "run"]);
    let command = command.arg(terasort).args(arguments.iter().flat_map(|it| ["--var", it]));
    let _ = finish(command).success();
    let verdict = cluster.get("/out/verdict");
    let wanted = ["records\t1000", "sorted\tyes"].map(str::to_owned);
    assert!(verdict.len() == 3 && wanted.iter().all(|it| verdict.contains(it)), "{verdict:?}");
    assert_eq!(cluster.get("/out/sorted").len(), 1000);
}

#[test]
fn every_example_is_tried() {
    let names = |folder: &str, ending: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root().join(folder)).expect("the folder can be read");
        let names =
            entries.map(|it| it.expect("an entry").file_name().into_string().expect("text"));
        names.filter_map(|name| Some(name.strip_suffix(ending)?.to_owned())).collect()
    };
    let mut rust = names("mapreduce/examples", ".rs");
    // Shown in README.md and tried as the builtin; a benchmark; tried with what it writes beside its parts, by `native`.
    for other in ["word_count", "throughput", "sort_out"] {
        assert!(rust.remove(other), "{other}");
    }
    let tried = RUST.iter().map(|it| it.0).chain(["by_frequency", "pagerank", "kmeans"]);
    assert_eq!(rust, tried.map(str::to_owned).collect());
    let workflows = ["by_frequency", "pagerank", "kmeans", "terasort"].map(str::to_owned);
    assert_eq!(names("mapreduce/examples", ".yaml"), workflows.into());
    let twins =
        TWINS.iter().flat_map(|(name, ..)| ["py", "awk", "sh"].map(|it| format!("{name}.{it}")));
    assert_eq!(names("mapreduce/examples/streaming", ".yaml"), twins.collect());
}
