//! Benchmarks of the whole system against its targets and its peers.
