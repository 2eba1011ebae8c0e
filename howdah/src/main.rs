//! The one binary of Howdah.
fn main() {}
