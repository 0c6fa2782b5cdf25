//! A dashboard over a running workload. The dashboard shows resources, their queues, rates, waits
//! and hand-offs. Keys change the load.
//!
//! ```sh
//! cargo run --release --example top                 # q quits
//! cargo run --release --example top -- --plain 5    # five snapshots as text
//! cargo run --release --example top -- --help       # explains every column
//! ```
//!
//! `LENT%` is the time that captured submitters spent on tasks of other submitters, in percent of
//! one core. "dispatched" counts the jobs given to the workers since the start; a job is a resource
//! with queued tasks.
//!
//! The dashboard reads `Scheduler::resources()` and `Scheduler::stats()`. You can watch your own
//! program in the same way.

mod args;
mod load;
mod model;
mod signals;
mod view;

use args::Mode;
use captor::Scheduler;
use load::{Knobs, Load, MAX_PRODUCERS, MAX_TASK};
use model::Model;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::widgets::TableState;
use std::error::Error;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How often the dashboard takes a snapshot.
const PERIOD: Duration = Duration::from_millis(250);

/// How long the queued tasks may still run after the user quits.
const GRACE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mode = match args::parse(&args, io::stdout().is_terminal()) {
        Ok(mode) => mode,
        Err(wrong) => {
            eprintln!("top: {wrong}; {}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(mode) {
        Err(error) if !is_broken_pipe(&*error) => {
            eprintln!("top: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Checks whether the reader of the output has closed it.
fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn run(mode: Mode) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    if let Mode::Help = mode {
        return Ok(writeln!(out, "{}\n{}", args::USAGE, args::HELP)?);
    }
    let scheduler = Scheduler::builder().thread_name("broker").build()?;
    let load = Load::start(&scheduler)?;
    let shown = match mode {
        Mode::Plain(snapshots) => plain(&mut out, &scheduler, snapshots),
        _ => on_screen(&scheduler, &load.knobs),
    };
    load.stop();
    shown?;
    writeln!(out, "running the queued tasks, for at most {GRACE:?}")?;
    match scheduler.try_shutdown(GRACE) {
        Ok(()) => writeln!(out, "all published tasks have run")?,
        Err(left) => writeln!(out, "{left}")?,
    }
    Ok(())
}

/// Shows the dashboard on the whole screen, and restores the screen, after a panic too.
fn on_screen(scheduler: &Scheduler, knobs: &Knobs) -> io::Result<()> {
    let signals = signals::Quit::new()?;
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, scheduler, knobs, &signals);
    // If the screen has grown, tmux leaves parts of it beside the earlier contents.
    let cleared = terminal.clear();
    ratatui::restore();
    signals.pass_on();
    shown.and(cleared)
}

/// Draws until the user quits.
fn show(
    terminal: &mut ratatui::DefaultTerminal,
    scheduler: &Scheduler,
    knobs: &Knobs,
    signals: &signals::Quit,
) -> io::Result<()> {
    let mut model = Model::new();
    let mut selected = TableState::new().with_selected(0);
    let mut looks_at = Instant::now();
    while !signals.came() {
        if Instant::now() >= looks_at {
            model.look(scheduler);
            looks_at = Instant::now() + PERIOD;
        }
        terminal.draw(|frame| view::draw(frame, &model, knobs, &mut selected))?;
        if !event::poll(looks_at.saturating_duration_since(Instant::now()))? {
            continue;
        }
        let Event::Key(key) = event::read()? else {
            continue; // a new size: the loop draws again
        };
        if key.kind == KeyEventKind::Press && press(key, knobs, &mut selected, model.rows.len()) {
            break;
        }
    }
    Ok(())
}

/// Handles a key. Returns whether the key quits.
fn press(key: KeyEvent, knobs: &Knobs, selected: &mut TableState, rows: usize) -> bool {
    let at = selected.selected().unwrap_or(0);
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return true,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
        KeyCode::Char('j') | KeyCode::Down => {
            selected.select(Some((at + 1).min(rows.saturating_sub(1))));
        }
        KeyCode::Char('k') | KeyCode::Up => selected.select(Some(at.saturating_sub(1))),
        KeyCode::Char(key) => turn(knobs, key),
        _ => {}
    }
    false
}

/// Changes the load.
fn turn(knobs: &Knobs, key: char) {
    let (producers, task) = (knobs.producers.load(Relaxed), knobs.task.load(Relaxed));
    match key {
        '+' | '=' => knobs
            .producers
            .store((producers + 1).min(MAX_PRODUCERS), Relaxed),
        '-' => knobs.producers.store(producers.saturating_sub(1), Relaxed),
        'f' => knobs.task.store(task / 2, Relaxed),
        's' => knobs.task.store((task * 2).clamp(1, MAX_TASK), Relaxed),
        'b' => drop(knobs.bursts.fetch_xor(true, Relaxed)),
        'p' => drop(knobs.paused.fetch_xor(true, Relaxed)),
        _ => {}
    }
}

/// Prints this number of snapshots, with the columns of a screen of 80 columns. A legend comes
/// first.
fn plain(out: &mut impl Write, scheduler: &Scheduler, snapshots: usize) -> io::Result<()> {
    let columns = view::columns(80);
    for line in view::legend(80) {
        writeln!(out, "{line}")?;
    }
    let mut model = Model::new();
    model.look(scheduler);
    for _ in 0..snapshots {
        std::thread::sleep(PERIOD);
        model.look(scheduler);
        let total = view::short(model.sum(|row| row.rate));
        let threads = model.scheduler.threads;
        let dispatched = view::dispatched(&model);
        writeln!(out, "\n{total} tasks/s, {threads} threads, {dispatched}")?;
        writeln!(out, "{}", view::heads(&columns).join(" "))?;
        for row in &model.rows {
            writeln!(out, "{}", view::cells(row, &columns).join(" "))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
