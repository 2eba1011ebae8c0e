//! The jobs of the suite: what they read, what they say, what is right, and which programs do the same elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::lines::{Lines, each};
use super::pagerank;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Workload {
    /// Word count of text.
    Wordcount,
    /// 100-byte records by their first ten bytes.
    Terasort,
    /// Lines with a rare word.
    Grep,
    /// Which of 16 files hold a word.
    Index,
    /// Orders with their customers' names.
    Join,
    /// Ranks of linked pages, by a workflow of many jobs.
    Pagerank,
    /// Lines through `cat`, without a reduce.
    Streaming,
    /// A file into the store.
    Put,
    /// A file out of the store.
    Get,
    /// Tera-sort's records to the reduces, which write nothing.
    Shuffle,
    /// Tera-sort by one process, without daemons and network.
    Sort,
    /// A job of one line.
    Empty,
}

/// A program that does the same, and how long Howdah may take, in its time.
pub(super) struct Peer {
    /// As `bench/peers/run` knows it.
    pub(super) name: &'static str,
    /// Howdah's time in this one's; absent where nothing was promised.
    pub(super) ratio_max: Option<f64>,
    /// Whether it may take an empty job's time besides.
    pub(super) and_a_job: bool,
}

/// Files in the input of the index.
const INDEXED_FILES: u64 = 16;
/// A word that a line in some ten thousand has.
const RARE: &str = "howdah";
/// Lines between two that have it.
const RARE_EVERY: u64 = 10_000;
/// Orders for each customer.
const ORDERS: u64 = 16;
/// An order's line is about so long.
const ORDER_BYTES: u64 = 64;
/// Of the size that is asked for, PageRank's links have this part: it reads as much again in each of its jobs.
const LINKS_PART: u64 = 16;

impl Workload {
    /// As people type it.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What its row says.
    pub(super) fn title(self, size: config::Bytes) -> String {
        match self {
            Self::Wordcount => format!("word count, {size} of text, 2 reduces"),
            Self::Terasort => format!("tera-sort, {size}, 2 reduces"),
            Self::Grep => format!("grep for a rare word, {size}, no reduce"),
            Self::Index => format!("inverted index of {INDEXED_FILES} files, {size}, 2 reduces"),
            Self::Join => format!("join of orders and customers, {size}, 2 reduces"),
            Self::Pagerank => {
                let (links, rounds) = (config::Bytes(size.0 / LINKS_PART), pagerank::ROUNDS);
                format!("PageRank, {links} of links, {rounds} rounds of 2 jobs, by a workflow")
            }
            Self::Streaming => format!("streaming `cat`, {size}, no reduce"),
            Self::Put => format!("put, {size}, 2 replicas"),
            Self::Get => format!("get, {size}"),
            Self::Shuffle => format!("shuffle alone, {size} of records, 2 reduces"),
            Self::Sort => format!("sort alone by `howdah local`, {size} of records, 2 reduces"),
            Self::Empty => "word count of one line, 1 reduce".to_owned(),
        }
    }

    /// Whom it is compared with; of those, the ones that are asked for.
    pub(super) fn peers(self) -> &'static [Peer] {
        const fn peer(name: &'static str, ratio_max: Option<f64>) -> Peer {
            Peer { name, ratio_max, and_a_job: false }
        }
        match self {
            Self::Wordcount => {
                const {
                    &[
                        peer("rust", Some(0.4)),
                        peer("rust-tuned", None),
                        peer("gnu", None),
                        peer("duckdb", None),
                        peer("polars", None),
                        peer("spark-dataframe", Some(0.1)),
                        peer("spark", Some(1.0 / 15.0)),
                        peer("hadoop", Some(1.0 / 20.0)),
                    ]
                }
            }
            Self::Terasort => {
                const {
                    &[
                        peer("rust", None),
                        peer("gnu", None),
                        peer("spark", Some(0.2)),
                        peer("hadoop", None),
                    ]
                }
            }
            Self::Grep => {
                const {
                    &[
                        peer("rust", None),
                        Peer { and_a_job: true, ..peer("rg", Some(4.0)) },
                        peer("spark", Some(0.05)),
                        peer("hadoop", None),
                    ]
                }
            }
            Self::Sort => const { &[peer("rust", None), peer("gnu", None)] },
            Self::Pagerank => const { &[peer("rust", None)] },
            Self::Index | Self::Join | Self::Streaming | Self::Put | Self::Get => {
                const { &[peer("gnu", None)] }
            }
            Self::Shuffle => &[],
            Self::Empty => const { &[peer("spark", None), peer("hadoop", None)] },
        }
    }

    /// Makes up its input in `folder`, about `size` bytes in all: files or folders.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn make_input(self, folder: &Path, size: u64) -> anyhow::Result<Vec<PathBuf>> {
        std::fs::create_dir_all(folder)?;
        let file = |name: &str| folder.join(name);
        let bytes = |size: u64| format!("{size}B");
        Ok(match self {
            Self::Wordcount | Self::Streaming | Self::Put | Self::Get => {
                tests::books::generate(&file("text"), &bytes(size), 42);
                vec![file("text")]
            }
            Self::Empty => {
                std::fs::write(file("text"), "one line of text\n")?;
                vec![file("text")]
            }
            Self::Grep => {
                tests::books::generate(&file("plain"), &bytes(size), 42);
                plant(&file("plain"), &file("text"))?;
                std::fs::remove_file(file("plain"))?;
                vec![file("text")]
            }
            Self::Index => {
                std::fs::create_dir_all(file("texts"))?;
                for nth in 0..INDEXED_FILES {
                    let text = folder.join(format!("texts/text-{nth:02}"));
                    tests::books::generate(&text, &bytes(size / INDEXED_FILES), nth);
                }
                vec![file("texts")]
            }
            Self::Pagerank => {
                pagerank::write_links(&file("links"), size / LINKS_PART)?;
                vec![file("links")]
            }
            Self::Terasort | Self::Shuffle | Self::Sort => {
                let records = (size / 100).max(1) * 100;
                let (records, path) = (bytes(records), file("records"));
                let mut args = ["gen", "tera", "--size", &*records, "--seed", "42"]
                    .map(std::ffi::OsStr::new)
                    .to_vec();
                args.push(path.as_os_str());
                let _made = tests::command::run(args).success();
                vec![path]
            }
            Self::Join => {
                write_orders(&file("orders"), &file("customers"), size)?;
                vec![file("orders"), file("customers")]
            }
        })
    }

    /// Whether the input is not in the store before it is run.
    pub(super) fn is_of_local_files(self) -> bool {
        matches!(self, Self::Put | Self::Sort)
    }

    /// The job, on `inputs`; none for what is no job.
    pub(super) fn spec(self, inputs: &[String], output: &str) -> Option<Value> {
        let builtin = |name: &str, args: Value| json!({"builtin": {"name": name, "args": args}});
        let (reduces, program) = match self {
            Self::Wordcount => (2, builtin("wordcount", json!({}))),
            Self::Empty => (1, builtin("wordcount", json!({}))),
            Self::Terasort | Self::Shuffle | Self::Sort => (2, builtin("terasort", json!({}))),
            Self::Grep => (0, builtin("grep", json!({"pattern": RARE}))),
            Self::Index => (2, builtin("index", json!({}))),
            Self::Join => {
                let args = json!({"left": "orders", "right": "customers", "left_field": 2});
                (2, builtin("join", args))
            }
            Self::Streaming => (0, json!({"streaming": {"mapper": "cat"}})),
            Self::Pagerank | Self::Put | Self::Get => return None,
        };
        let format = if self == Self::Shuffle { "none" } else { "text" };
        Some(json!({
            "name": self.name(), "input": inputs, "output": output, "reduces": reduces,
            "program": program, "output_format": format,
        }))
    }

    /// What the output must be, by other means than Howdah's.
    ///
    /// # Errors
    /// When the input can't be read.
    pub(super) fn expected(self, inputs: &[PathBuf]) -> anyhow::Result<Lines> {
        let mut lines = Lines::default();
        match self {
            Self::Wordcount | Self::Empty => {
                let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
                each(&inputs[0], |line| tests::oracle::count_words(line, &mut counts))?;
                let counted = tests::oracle::lines_of_counts(&counts);
                lines = Lines::of(counted.iter().map(Vec::as_slice));
            }
            Self::Terasort | Self::Streaming | Self::Put | Self::Get | Self::Sort => {
                each(&inputs[0], |line| lines.add(line))?;
            }
            // What they are compared with is not made of lines alone.
            Self::Pagerank | Self::Shuffle => {}
            Self::Grep => {
                let rare = memchr::memmem::Finder::new(RARE);
                each(&inputs[0], |line| {
                    if rare.find(line).is_some() {
                        lines.add(line);
                    }
                })?;
            }
            Self::Index => lines = index(&inputs[0])?,
            Self::Join => {
                let mut names: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
                each(&inputs[1], |line| {
                    let mut fields = line.splitn(2, |byte| *byte == b'\t').map(<[u8]>::to_vec);
                    names.extend(fields.next().zip(fields.next()));
                })?;
                each(&inputs[0], |line| {
                    let fields: Vec<_> = line.split(|byte| *byte == b'\t').collect();
                    let [order, customer, what] = fields[..] else { return };
                    if let Some(name) = names.get(customer) {
                        lines.add(&[customer, order, what, name].join(&b'\t'));
                    }
                })?;
            }
        }
        Ok(lines)
    }

    /// Whether an output of `lines` is in the order that was asked for.
    ///
    /// # Errors
    /// When it can't be read.
    pub(super) fn is_in_order(self, output: &Path) -> anyhow::Result<bool> {
        let (mut last, mut is_sorted) = (Vec::new(), true);
        if matches!(self, Self::Terasort | Self::Sort) {
            each(output, |line| {
                let key = line.get(..10).unwrap_or(line);
                is_sorted &= last.as_slice() <= key;
                last.clear();
                last.extend_from_slice(key);
            })?;
        }
        Ok(is_sorted)
    }
}

/// Copies text, with the rare word at the end of some lines.
fn plant(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(to)?);
    let (mut nth, mut written) = (0_u64, Ok(()));
    each(from, |line| {
        nth += 1;
        let word = if nth.is_multiple_of(RARE_EVERY) { RARE } else { "" };
        let line = [line, word.as_bytes(), b"\n"].concat();
        if written.is_ok() {
            written = out.write_all(&line);
        }
    })?;
    written?;
    Ok(out.flush()?)
}

/// Orders `number<TAB>customer<TAB>what`, and their customers `number<TAB>name`: of the customers, each tenth ordered nothing,
/// and some orders are of nobody who is known.
fn write_orders(orders: &Path, customers: &Path, size: u64) -> anyhow::Result<()> {
    let n_orders = (size / ORDER_BYTES).max(1);
    let n_customers = (n_orders / ORDERS).max(1);
    let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(orders)?);
    for order in 0..n_orders {
        // Any odd number far from a power of two scatters them.
        let customer = order.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
        let customer = customer % (n_customers + n_customers / 50 + 1);
        let customer = customer - customer % 10 % 9;
        writeln!(out, "{order:012}\tcustomer-{customer:010}\t{:>30}", order ^ customer)?;
    }
    out.flush()?;
    let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(customers)?);
    for customer in 0..n_customers {
        writeln!(out, "customer-{customer:010}\tname of {customer}")?;
    }
    Ok(out.flush()?)
}

/// Each word of the folder's files with their names, as the builtin writes them.
fn index(folder: &Path) -> anyhow::Result<Lines> {
    let mut files = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    files.sort_unstable();
    let mut found: BTreeMap<Vec<u8>, BTreeSet<usize>> = BTreeMap::new();
    for (nth, file) in files.iter().enumerate() {
        let mut words = BTreeMap::new();
        each(file, |line| tests::oracle::count_words(line, &mut words))?;
        words.into_keys().for_each(|word| {
            found.entry(word).or_default().insert(nth);
        });
    }
    let names: Vec<_> = files.iter().filter_map(|file| file.file_name()?.to_str()).collect();
    let mut lines = Lines::default();
    for (word, files) in found {
        let mut line = word;
        for file in files {
            line.push(b'\t');
            line.extend_from_slice(names[file].as_bytes());
        }
        lines.add(&line);
    }
    Ok(lines)
}
