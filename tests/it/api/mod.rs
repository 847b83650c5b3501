//! Tests of the WeChat API: fetching a day, its errors, the network, and `kefu doctor --probe`.

mod compression;
mod fetching;
mod hostile_answers;
mod network;
mod probing;
