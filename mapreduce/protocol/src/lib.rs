//! What clients, the JobTracker, TaskTrackers and task processes say to one another.
