//! Which adapter a command runs on.

mod host;
mod threads;

use clap::{Args, ValueEnum};

pub(crate) use host::{Host, within};
pub(crate) use threads::{enter_tokio, set_threads};

use crate::Failure;

/// The options of every command that talks.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct RuntimeArgs {
    /// The adapter to run on: blocking sockets and threads, or an asynchronous runtime.
    #[arg(long, value_name = "NAME", value_enum, default_value = "std")]
    pub(crate) runtime: Runtime,

    /// How many threads the runtime has; as many as it likes unless given
    /// (`std` has one for each connection)
    #[arg(verbatim_doc_comment, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

/// The adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtime {
    /// sansocket-std.
    Std,
    /// sansocket-tokio.
    Tokio,
    /// sansocket-async-std, on async-std.
    AsyncStd,
    /// sansocket-async-std, on smol.
    Smol,
}

impl RuntimeArgs {
    /// Sees to the number of threads, as far as that has to be done before any of them runs.
    pub(crate) fn prepare(self) -> Result<(), Failure> {
        match (self.runtime, self.threads) {
            (_, None) | (Runtime::Tokio, _) => Ok(()),
            (Runtime::Std, Some(_)) => Err(Failure::Usage(
                "--threads is for a --runtime other than `std`, which has a thread for each connection".to_owned(),
            )),
            (Runtime::AsyncStd, Some(threads)) => set_threads("ASYNC_STD_THREAD_COUNT", threads),
            (Runtime::Smol, Some(threads)) => set_threads("SMOL_THREADS", threads),
        }
    }
}
