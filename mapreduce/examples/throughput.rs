//! How fast one core counts words, through the whole runtime: reads FILE in splits of 64 MiB, maps,
//! combines, sorts, writes map outputs, merges, reduces. Prints seconds and rates.
//!
//! usage: cargo run --release -p mapreduce --example throughput -- FILE [BUILTIN=wordcount] [REDUCES=4]

use std::collections::BTreeMap;
use std::process::ExitCode;

use clock::Stopwatch;
use mapreduce::runtime::{builtin, run_local};
use mapreduce_protocol::{Builtin, JobSpec, LocalJob, Program, TaskSettings};

const MIB: u64 = 1 << 20;

fn local_job(file: &str, output: &str, name: &str, reduces: u32) -> LocalJob {
    LocalJob {
        spec: JobSpec {
            reduces: Some(reduces),
            ..JobSpec::new(
                name,
                vec![file.to_owned()],
                output,
                Program::Builtin(Builtin { name: name.to_owned(), args: BTreeMap::new() }),
            )
        },
        sequential: false,
        parallelism: 1,
        split_bytes: 64 * MIB,
        settings: TaskSettings {
            sort_buffer_bytes: 128 * MIB,
            fetch_buffer_bytes: 128 * MIB,
            parallel_fetches: 5,
            merge_factor: 64,
            fetch_retry_ms: 200,
            fetch_stall_ms: 30_000,
            connect_timeout_ms: 2000,
            request_timeout_ms: 30_000,
            silence_timeout_ms: 3000,
            store_retry_ms: 30_000,
            hedge_after_ms: 500,
            output_replication: None,
        },
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(file) = arguments.first() else {
        eprintln!("usage: throughput FILE [BUILTIN=wordcount] [REDUCES=4]");
        return ExitCode::from(2);
    };
    let name = arguments.get(1).map_or("wordcount", String::as_str);
    let reduces = arguments.get(2).and_then(|n| n.parse().ok()).unwrap_or(4);
    let output = format!("{file}.throughput");
    let job = match builtin(name, &BTreeMap::new()) {
        Ok(job) => job,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let watch = Stopwatch::start();
    let result = run_local(&job, &local_job(file, &output, name, reduces));
    let seconds = watch.elapsed().as_secs_f64();
    let removed = std::fs::remove_dir_all(&output);
    match (result.outcome, removed) {
        (Ok(counters), Ok(())) => {
            let count = |name: &str| counters.get(&format!("task.{name}")).copied().unwrap_or(0);
            let megabytes = count("SPLIT_BYTES") as f64 / 1e6;
            let records = count("MAP_OUTPUT_RECORDS");
            println!("{megabytes:.0} MB in {seconds:.3} s: {:.1} MB/s", megabytes / seconds);
            println!("{:.1} ns a pair ({records})", seconds * 1e9 / records.max(1) as f64);
            for (name, sum) in counters {
                println!("  {name} {sum}");
            }
            ExitCode::SUCCESS
        }
        (Err(failure), _) => {
            eprintln!("{}", failure.message);
            ExitCode::FAILURE
        }
        (_, Err(error)) => {
            eprintln!("{output}: {error}");
            ExitCode::FAILURE
        }
    }
}
