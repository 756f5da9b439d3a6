//! Decides: builds, answers, scheduling, commits.
