//! A resource in async code: thousands of tokio tasks share a score board and `.await` its
//! answers. Then some callers stop waiting.
//!
//! ```text
//! cargo run --release --example tokio
//! ```
//!
//! [`Resource::submit`] never blocks, so any task of any runtime may call it. `with` and `wait`
//! block: they are for threads.

use captor::{Dispatch, Resource, TaskError};
use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

const PLAYERS: u64 = 4_000;
const GAMES: u64 = 100;
const TEAMS: u64 = 8;

type Board = BTreeMap<u64, u64>; // the points of each team

/// Runs a task for each player. Each task adds points and awaits its team's score.
async fn play() -> Result<bool, Box<dyn Error>> {
    let board = Resource::new(Board::new());
    let start = Instant::now();
    let mut players = JoinSet::new();
    for player in 0..PLAYERS {
        let board = board.clone();
        players.spawn(async move {
            let team = player % TEAMS;
            let mut seen = 0;
            for points in 1..=GAMES {
                // The completion is mostly ready at once. Then its poll is only a branch.
                let score = board.submit(move |board| {
                    let score = board.entry(team).or_default();
                    *score += points;
                    *score
                });
                let score = score.await?;
                assert!(score > seen, "the score of a team only grows");
                seen = score;
            }
            Ok::<_, TaskError>(())
        });
    }
    while let Some(player) = players.join_next().await {
        player??;
    }

    let took = start.elapsed();
    let scores: Vec<u64> = board
        .submit(|board| board.values().copied().collect())
        .await?;
    let expected = PLAYERS / TEAMS * GAMES * (GAMES + 1) / 2;
    let right = scores.len() as u64 == TEAMS && scores.iter().all(|&score| score == expected);
    println!("{PLAYERS} tasks awaited {GAMES} answers each, in {took:.1?}");
    println!("each team has {expected} points: {right}");
    println!("{} hand-offs\n", board.stats().handoffs);
    Ok(right)
}

/// Shows that a caller that stops waiting cancels its task only on request.
async fn give_up() -> Result<bool, Box<dyn Error>> {
    // On a default resource, the slow task would run here, inside `execute`, and block a thread
    // of tokio. With `Dispatch::Pool`, tasks run on captor's workers only.
    let log = Resource::builder()
        .dispatch(Dispatch::Pool)
        .build(Vec::new())?;
    let (open, gate) = mpsc::channel();
    log.execute(move |log| {
        let _ = gate.recv(); // slow: blocks until the gate opens
        log.push("slow");
    })?;

    // Dropping a completion leaves its task in the queue.
    let short = Duration::from_millis(10);
    let kept = timeout(short, log.submit(|log| log.push("timed out, kept"))).await;
    println!("without cancel_on_drop: {}", outcome(&kept));

    // With `cancel_on_drop`, the timeout drops the completion and so cancels the task.
    let entry = log.submit(|log| log.push("timed out, cancelled"));
    let cancelled = timeout(short, entry.cancel_on_drop()).await;
    println!("with cancel_on_drop:    {}", outcome(&cancelled));

    // A branch of a `select!` that loses is also dropped, so its task is cancelled too.
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(async move {
        tokio::time::sleep(short).await;
        stop.send(())
    });
    let won = tokio::select! {
        _ = log.submit(|log| log.push("select!")).cancel_on_drop() => "entry",
        _ = stopped => "stop",
    };
    println!("select!:                {won} came first");

    open.send(())?;
    let entries = log.submit(|log| log.clone()).await?;
    println!("tasks that ran:         {entries:?}");
    println!("cancelled:              {}", log.stats().cancelled);
    Ok(entries == ["slow", "timed out, kept"] && log.stats().cancelled == 2)
}

fn outcome<T, E>(result: &Result<T, E>) -> &'static str {
    match result {
        Ok(_) => "in time",
        Err(_) => "timed out",
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let right = play().await? & give_up().await?;
    Ok(match right {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
