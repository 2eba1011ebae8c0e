//! The pure scheduler: jobs, tasks, attempts, trackers, placement, commit.
