//! Tests that kefu survives crashes, faults, hostile input and limits of the process.

pub mod crashes;
mod faults;
mod fuzzing;
mod hostile_input;
pub mod killed;
mod limits;
