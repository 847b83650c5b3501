//! kefu from the outside: the API's behaviour, the lake's files, the numbers, the command line.
//!
//! One binary, loopback only, no sleeping. `chat` writes conversations as the definitions do, `oracle` computes them slowly and obviously,
//! `world` is a simulator with a lake beside it.
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
