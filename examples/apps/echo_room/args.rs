//! The command line.

use std::net::SocketAddr;

pub(crate) const USAGE: &str = "usage: echo_room [ADDRESS] [--clients N] [--help]";

pub(crate) const HELP: &str = "
A chat room for nc and similar programs: `nc 127.0.0.1 7000`, then a name, then lines.

  cargo run --release --features io --example echo_room -- [ADDRESS] [--clients N]

  ADDRESS       listen here (default 127.0.0.1:7000; with --clients 127.0.0.1:0)
  --clients N   connect N clients, send a few lines to all of them, check that
                each client gets each line, print the times, and end
  -h, --help    print this";

/// The work that the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Serve(SocketAddr),
    /// Serves this address and connects this number of clients.
    Try(SocketAddr, usize),
    Help,
}

/// Parses the arguments.
///
/// # Errors
/// Returns a line that says what is wrong with the arguments.
pub(crate) fn parse(args: &[String]) -> Result<Mode, String> {
    let (mut address, mut clients) = (None, None);
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        match arg {
            "-h" | "--help" => return Ok(Mode::Help),
            "--clients" if clients.is_none() => clients = Some(number(args.next())?),
            arg if address.is_none() => {
                let parsed = arg.parse::<SocketAddr>();
                address = Some(parsed.map_err(|_| format!("{arg:?} is not IP:PORT"))?);
            }
            arg => return Err(format!("{arg:?} is not an argument")),
        }
    }
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Ok(match clients {
        Some(clients) => Mode::Try(address.unwrap_or(local(0)), clients),
        None => Mode::Serve(address.unwrap_or(local(7000))),
    })
}

fn number(arg: Option<&str>) -> Result<usize, String> {
    match arg.unwrap_or_default().parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err("--clients needs a number greater than 0".to_owned()),
    }
}
