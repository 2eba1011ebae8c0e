//! The JobTracker: schedules jobs, serves the job API.
