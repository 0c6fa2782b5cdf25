//! A dashboard over a running workload: resources, how much is queued, rates,
//! waits, hand-offs, and keys that change the load.
//!
//! ```sh
//! cargo run --release --example top                 # q quits
//! cargo run --release --example top -- --plain 5    # five snapshots as text
//! ```
//!
//! What it reads is `Scheduler::resources()` and `Scheduler::stats()`: a program of
//! your own can be watched the same way.

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

/// How often it looks.
const PERIOD: Duration = Duration::from_millis(250);

/// How long it goes on with what is queued when it is told to quit.
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

/// Who reads has read enough.
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
    writeln!(out, "running what is queued, for {GRACE:?} at most")?;
    match scheduler.try_shutdown(GRACE) {
        Ok(()) => writeln!(out, "all that was published has run")?,
        Err(left) => writeln!(out, "{left}")?,
    }
    Ok(())
}

/// Shows it on the whole screen, and restores that: when it panics, too.
fn on_screen(scheduler: &Scheduler, knobs: &Knobs) -> io::Result<()> {
    let signals = signals::Quit::new()?;
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, scheduler, knobs, &signals);
    // tmux leaves parts of a screen that grew beside what was there before.
    let cleared = terminal.clear();
    ratatui::restore();
    signals.pass_on();
    shown.and(cleared)
}

/// Draws until it is told to quit.
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
            continue; // a new size: drawn anew
        };
        if key.kind == KeyEventKind::Press && press(key, knobs, &mut selected, model.rows.len()) {
            break;
        }
    }
    Ok(())
}

/// Does what a key says. Whether that is to quit.
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

/// Prints so many snapshots: of 80 columns, what the screen shows.
fn plain(out: &mut impl Write, scheduler: &Scheduler, snapshots: usize) -> io::Result<()> {
    let columns = view::columns(80);
    let mut model = Model::new();
    model.look(scheduler);
    for _ in 0..snapshots {
        std::thread::sleep(PERIOD);
        model.look(scheduler);
        let total = view::short(model.sum(|row| row.rate));
        let threads = model.scheduler.threads;
        writeln!(out, "{total} tasks/s, {threads} threads")?;
        writeln!(out, "{}", view::heads(&columns).join(" "))?;
        for row in &model.rows {
            writeln!(out, "{}", view::cells(row, &columns).join(" "))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
