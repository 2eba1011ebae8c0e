//! End-to-end, fault, drift and tidy tests; everything drives the howdah binary.
