//! Types that all parts of kefu share. No I/O.

mod account;
pub mod calendar;
pub mod cancel;
pub mod column;
pub mod error_kind;
mod partition;
pub mod privacy;
pub mod record;
pub mod redaction;
mod shard;
mod table;
mod worker;

pub use account::Account;
pub use column::Column;
pub use partition::PartitionKey;
pub use shard::{SHARDS_MAX, Shard};
pub use table::Table;
pub use worker::ListedWorker;
