//! The `sansocket` command: an echo server, a client for the terminal, and a demonstration of both.

mod args;
mod connect;
mod demo;
mod ending;
mod runtime;
mod serve;
mod terminal;
mod tls;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Cli, Command};

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let name = command.name();
    let ended = match command {
        Command::Serve(args) => serve::run(args),
        Command::Connect(args) => connect::run(args),
        Command::Demo(args) => demo::run(args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Told) => ExitCode::FAILURE,
        Err(Failure::Message(message)) => {
            terminal::note(format_args!("error: {message}"));
            ExitCode::FAILURE
        }
        // Exits with 2, as for any other fault in the command line.
        Err(Failure::Usage(message)) => {
            let mut cli = Cli::command();
            cli.build();
            let mut command = cli.find_subcommand(name).cloned().unwrap_or(cli);
            command.error(clap::error::ErrorKind::ValueValidation, message).exit()
        }
    }
}

/// Why a command did not end well.
pub(crate) enum Failure {
    /// The reason was printed already.
    Told,
    /// The reason, and what to do about it.
    Message(String),
    /// The command line asks for what cannot be.
    Usage(String),
}

impl Failure {
    fn message(message: impl ToString) -> Self {
        Self::Message(message.to_string())
    }
}
