//! Tests of the files of the lake: when they are written, replaced, deleted and verified, and what
//! they contain.

mod commit_rules;
mod files;
mod older_lakes;
mod privacy;
mod pruning;
mod publishing;
mod verifying;
mod workers;
