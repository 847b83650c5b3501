//! Tests that kefu survives crashes, faults, hostile input and limits of the process.

mod crashes;
mod faults;
mod fuzzing;
mod hostile_input;
mod killed;
mod limits;
