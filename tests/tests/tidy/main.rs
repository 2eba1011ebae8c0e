//! What the compiler does not check of this house: arrows between crates, licences, budgets, words,
//! and that whatever is written twice says the same. Reads the sources; starts nothing.

mod arrows;
mod budgets;
mod dashboards;
mod dependencies;
mod documents;
mod drift;
mod openapi;
mod sources;
mod words;
