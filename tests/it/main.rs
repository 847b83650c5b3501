//! Integration tests of kefu: the WeChat API, the files of the lake, the metrics and the command
//! line.
//!
//! All tests are in one binary. They use loopback only and never sleep.
//!
//! - `chat` parses conversations in the notation of the definitions.
//! - `oracle` computes the metrics with slow and simple code.
//! - `world` has a simulator and a lake for one test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod chat;
mod command_line;
mod commit_rules;
mod crashes;
mod errors;
mod faults;
mod fetching;
mod fuzzing;
mod hostile;
mod hostile_answers;
mod identity;
mod killed;
mod lake_files;
mod layers;
mod limits;
mod log;
mod network;
mod older_lakes;
mod operations;
mod oracle;
mod own_days;
mod privacy;
mod probing;
mod properties;
mod pruning;
mod publishing;
mod refusals;
mod report;
mod rules;
mod settings;
mod staleness;
mod verifying;
mod wording;
mod worked_cases;
mod world;
