//! How many threads a runtime has.

use std::process::Command;

use crate::Failure;

/// Sees to it that the variable, by which a runtime is told its number of threads, has this value.
///
/// A process cannot safely change its own environment, so it begins anew with another one.
pub(crate) fn set_threads(variable: &str, threads: u16) -> Result<(), Failure> {
    let threads = threads.to_string();
    if std::env::var_os(variable).is_some_and(|value| *value == *threads) {
        return Ok(());
    }
    let program = std::env::current_exe().map_err(Failure::message)?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(variable, threads);
    Err(replaced_by(command))
}

#[cfg(unix)]
fn replaced_by(mut command: Command) -> Failure {
    Failure::message(std::os::unix::process::CommandExt::exec(&mut command))
}

#[cfg(not(unix))]
fn replaced_by(mut command: Command) -> Failure {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => Failure::message(error),
    }
}

/// A runtime of tokio's; the caller's thread is in it until the guard is dropped.
pub(crate) fn enter_tokio(threads: Option<u16>) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads.into());
    }
    builder.enable_all().build().map_err(Failure::message)
}
