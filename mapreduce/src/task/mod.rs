//! The runtime of the task process: what turns a task's description into an attempt's result. The map
//! side collects, sorts, combines, spills and merges; the reduce side fetches, merges and reduces. The
//! local runner uses the same parts on local files.

mod bits;
mod block_codec;
mod bzip2_units;
mod channel;
mod codec;
pub(crate) mod collector;
mod combine_table;
mod compress;
mod csv_records;
mod cursor;
mod elsewhere;
pub(crate) mod failure;
mod fetch;
mod fetch_body;
mod fetch_plan;
pub(crate) mod fold;
pub(crate) mod following;
mod hadoop_blocks;
mod huge;
mod io;
mod key_sort;
pub(crate) mod lines;
pub(crate) mod map;
pub(crate) mod merge;
pub(crate) mod named;
mod part_forms;
pub(crate) mod part_output;
pub(crate) mod partitions;
mod places;
mod process;
pub(crate) mod progress;
pub(crate) mod records;
pub(crate) mod reduce;
pub(crate) mod run_writer;
pub(crate) mod segments;
pub(crate) mod skips;
mod slots;
pub(crate) mod sort_buffer;
pub(crate) mod source;
mod spills;
pub(crate) mod storage;
mod zstd_units;

pub use codec::decoder;
pub use process::task_main;
