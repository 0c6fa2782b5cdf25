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

mod load;
mod model;
mod view;

use captor::Scheduler;
use load::{Knobs, Load, MAX_PRODUCERS, MAX_TASK};
use model::Model;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use std::error::Error;
use std::io::IsTerminal;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How often it looks.
const PERIOD: Duration = Duration::from_millis(250);

/// How long it goes on with what is queued when it is told to quit.
const GRACE: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let snapshots = match args.as_slice() {
        [] if std::io::stdout().is_terminal() => None,
        [] => Some(3),
        [plain, n] if plain == "--plain" => Some(n.parse()?),
        _ => return Err("usage: top [--plain SNAPSHOTS]".into()),
    };
    let scheduler = Scheduler::builder().thread_name("broker").build()?;
    let load = Load::start(&scheduler)?;
    let shown = match snapshots {
        Some(n) => plain(&scheduler, n),
        // Restores the terminal when it panics, too.
        None => {
            let mut terminal = ratatui::init();
            let shown = show(&mut terminal, &scheduler, &load.knobs);
            ratatui::restore();
            shown
        }
    };
    load.stop();
    println!("running what is queued, for {GRACE:?} at most");
    match scheduler.try_shutdown(GRACE) {
        Ok(()) => println!("all that was published has run"),
        Err(left) => println!("{left}"),
    }
    Ok(shown?)
}

/// Draws until it is told to quit.
fn show(
    terminal: &mut ratatui::DefaultTerminal,
    scheduler: &Scheduler,
    knobs: &Knobs,
) -> std::io::Result<()> {
    let mut model = Model::new();
    let mut selected = 0;
    let mut looks_at = Instant::now();
    loop {
        if Instant::now() >= looks_at {
            model.look(scheduler);
            looks_at = Instant::now() + PERIOD;
        }
        terminal.draw(|frame| view::draw(frame, &model, knobs, selected))?;
        if !event::poll(looks_at.saturating_duration_since(Instant::now()))? {
            continue;
        }
        let Event::Key(key) = event::read()? else {
            continue; // a new size: drawn anew
        };
        if key.kind != KeyEventKind::Press {
            continue;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
            KeyCode::Char('j') | KeyCode::Down => {
                selected = (selected + 1).min(model.rows.len().saturating_sub(1));
            }
            KeyCode::Char('k') | KeyCode::Up => selected = selected.saturating_sub(1),
            KeyCode::Char(key) => turn(knobs, key),
            _ => {}
        }
    }
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

/// Prints so many snapshots.
fn plain(scheduler: &Scheduler, snapshots: usize) -> std::io::Result<()> {
    let mut model = Model::new();
    model.look(scheduler);
    for _ in 0..snapshots {
        std::thread::sleep(PERIOD);
        model.look(scheduler);
        let total = view::short(model.sum(|row| row.rate));
        println!("{total} tasks/s, {} threads", model.scheduler.threads);
        for row in &model.rows {
            println!(
                "  {:10} queued {:>6}, {:>6}/s, refused {:>6}/s, expired {:>6}/s, waits {:>6}",
                row.name,
                view::short(row.depth as f64),
                view::short(row.rate),
                view::short(row.refused),
                view::short(row.expired),
                view::time(row.long_wait),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn screen(width: u16, height: u16) -> String {
        let scheduler = Scheduler::builder().build().unwrap();
        let load = Load::start(&scheduler).unwrap();
        let mut model = Model::new();
        for _ in 0..3 {
            model.look(&scheduler);
            std::thread::sleep(Duration::from_millis(30));
        }
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let draw = |frame: &mut ratatui::Frame<'_>| view::draw(frame, &model, &load.knobs, 1);
        terminal.draw(draw).unwrap();
        load.stop();
        terminal.backend().to_string()
    }

    #[test]
    fn all_of_it_fits_into_80_columns_and_24_lines() {
        let screen = screen(80, 24);
        for text in ["sessions", "LATELY", " audit ", "tasks so far", "q quit"] {
            assert!(screen.contains(text), "no {text}:\n{screen}");
        }
    }

    #[test]
    fn a_terminal_of_any_size_will_do() {
        for (width, height) in [(1, 1), (20, 5), (200, 60)] {
            screen(width, height);
        }
    }
}
