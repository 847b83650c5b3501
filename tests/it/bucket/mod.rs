//! A lake in a bucket, on a test server that fails on demand.
//!
//! - `stub` is the server. The unit tests of the lake use it, too.
//! - `interleavings` tests every order of the requests of two runs.
//! - `crashes` tests faults at every request.
//! - `forgetting` tests runs beside `kefu forget`.
//! - `runs` tests what a run asks of a bucket, and what it says of one that does not answer.

mod crashes;
mod forgetting;
mod interleavings;
mod runs;
pub mod stub;

use std::process::Command;

use kefu::lake::{Addressing, BucketCredentials, BucketOptions, Lake, LakePlace};
use kefu::pipeline::AccountJob;
use kefu::simulator::Simulator;
use kefu::wechat::Secret;

use crate::world::World;
use stub::Stub;

/// The prefix of all lakes.
pub const PREFIX: &str = "lake/中国";

/// The access key that the command line has.
pub const KEY_ID: &str = "AKIDEXAMPLE0000";
pub const KEY: &str = "s3cr3t/of+the=bucket";

/// A lake in a bucket of the stub. Its requests are signed by `signer`, which tells runs apart.
pub fn lake_of(stub: &Stub, world: &World, bucket: &str, signer: &str) -> Lake {
    let options = BucketOptions {
        bucket: bucket.to_owned(),
        prefix: PREFIX.to_owned(),
        endpoint: Some(stub.endpoint()),
        addressing: Addressing::Path,
        region: "us-east-1".to_owned(),
        single_writer: false,
        scratch: world.folder.path().join(signer),
        credentials: BucketCredentials::Keys {
            id: Secret::new(signer.to_owned()),
            key: Secret::new(KEY.to_owned()),
            token: None,
        },
    };
    Lake::open(&LakePlace::Bucket(Box::new(options))).unwrap()
}

/// The job of the world's account, with its lake in a bucket.
pub fn job_of(stub: &Stub, world: &World, simulator: &Simulator, bucket: &str) -> AccountJob {
    AccountJob { lake: lake_of(stub, world, bucket, KEY_ID), ..world.job(simulator) }
}

/// The command line with a lake in a bucket of the stub. kefu stages files in the world's folder.
pub fn command(
    stub: &Stub,
    world: &World,
    simulator: &Simulator,
    bucket: &str,
    arguments: &[&str],
) -> Command {
    in_bucket(world.kefu_command(simulator, arguments), stub, world, bucket)
}

/// A command with its lake in a bucket of the stub.
pub fn in_bucket(mut command: Command, stub: &Stub, world: &World, bucket: &str) -> Command {
    command
        .env("KEFU_LAKE", format!("s3://{bucket}/{PREFIX}"))
        .env("AWS_ENDPOINT_URL_S3", stub.endpoint())
        .env("AWS_ACCESS_KEY_ID", KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", KEY)
        .env("TMPDIR", world.folder.path());
    command
}
