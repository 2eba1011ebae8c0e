//! HTTP client and server plumbing: capabilities, problem documents, retries, limits.
