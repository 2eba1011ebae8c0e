//! What the workflow of `bench suite --only pagerank` runs: the jobs of the example, built with the benchmarks.

use std::process::ExitCode;

#[path = "../../../mapreduce/examples/pagerank.rs"]
#[allow(dead_code)] // It has a main of its own.
mod example;

fn main() -> ExitCode {
    mapreduce::main(example::job)
}
