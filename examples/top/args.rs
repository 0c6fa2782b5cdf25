//! What the command line says.

pub(crate) const USAGE: &str = "usage: top [--plain [SNAPSHOTS]] [--help]";

pub(crate) const HELP: &str = "
Watches the resources of a small broker, and lets keys change its load.

  --plain [SNAPSHOTS]  print so many (3), a quarter of a second apart; this is
                       what it does where the output is no terminal
  -h, --help           print this";

/// How many snapshots are printed, if nobody says.
const SNAPSHOTS: usize = 3;

/// What it is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Screen,
    /// So many snapshots.
    Plain(usize),
    Help,
}

/// `terminal`: that is what the output is.
///
/// # Errors
/// What is wrong with them, in a line.
pub(crate) fn parse(args: &[String], terminal: bool) -> Result<Mode, String> {
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match *args {
        _ if args.iter().any(|arg| ["-h", "--help"].contains(arg)) => Ok(Mode::Help),
        [] if terminal => Ok(Mode::Screen),
        [] | ["--plain"] => Ok(Mode::Plain(SNAPSHOTS)),
        ["--plain", snapshots] => match snapshots.parse() {
            Ok(n) if n > 0 => Ok(Mode::Plain(n)),
            _ => Err(format!("{snapshots:?} is not a number of snapshots")),
        },
        ["--plain", _, more, ..] | [more, ..] => Err(format!("{more:?} is not an argument")),
    }
}
