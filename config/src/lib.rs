//! The typed YAML configuration, and the sample files that users copy.
