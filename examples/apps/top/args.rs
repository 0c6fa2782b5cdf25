//! The command line.

pub(crate) const USAGE: &str = "usage: top [--plain [SNAPSHOTS]] [--help]";

pub(crate) const HELP: &str = "
Watches the resources of a small broker. Keys change the load.

  --plain [SNAPSHOTS]  print this many snapshots (default 3), a quarter of a second
                       apart; the default if the output is not a terminal
  -h, --help           print this

Columns, one row for each resource; rates cover the last quarter of a second:
  OUTST.   tasks that are queued or running now
  TASKS/S  tasks completed per second
  REFUSED  tasks refused per second, for instance because the queue is full
  EXPIRED  tasks per second that reached their deadline before they started
  HANDOFF  hand-offs per second
  LENT%    time that submitters spent on tasks of other submitters, in percent of
           one core
  WAIT99   99 % of the tasks of the last second waited no longer in the queue
  LATELY   TASKS/S over the last seconds, the latest on the right

\"dispatched\" counts the jobs that were given to the workers since the start. A job
is a resource with queued tasks.";

/// How many snapshots are printed by default.
const SNAPSHOTS: usize = 3;

/// The work that the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Screen,
    /// Prints this number of snapshots.
    Plain(usize),
    Help,
}

/// Parses the arguments. `terminal` says whether the output is a terminal.
///
/// # Errors
/// Returns a line that says what is wrong with the arguments.
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
