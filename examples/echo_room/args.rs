//! What the command line says.

use std::net::SocketAddr;

pub(crate) const USAGE: &str = "usage: echo_room [ADDRESS] [--clients N] [--help]";

pub(crate) const HELP: &str = "
A chat room, for nc and the like: `nc 127.0.0.1 7000`, then a name, then lines.

  ADDRESS       where to listen (127.0.0.1:7000; with --clients 127.0.0.1:0)
  --clients N   connect so many clients, tell each of them something a few times,
                see that all of them get it, say what that took, and end
  -h, --help    print this";

/// What it is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Serve(SocketAddr),
    /// With so many clients.
    Try(SocketAddr, usize),
    Help,
}

/// # Errors
/// What is wrong with them, in a line.
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
        _ => Err("--clients needs a number of them".to_owned()),
    }
}
