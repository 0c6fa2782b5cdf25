//! A resource in async code: thousands of tokio tasks share a score board and
//! `.await` its answers. Then some of them give up waiting.
//!
//! ```text
//! cargo run --release --example tokio
//! ```
//!
//! [`Resource::submit`] never blocks, so it may be called from any task of any
//! runtime. What blocks is `with` and `wait`: they are for threads.

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

/// One task for each player; each hands in points and awaits the team's score.
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
                // Mostly ready at once: polling it is a branch then.
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

/// Callers that go away take their tasks with them, if they say so.
async fn give_up() -> Result<bool, Box<dyn Error>> {
    // On a default resource the slow task below would run right here, in
    // `execute`, and hold up a thread of tokio's. With `Dispatch::Pool` tasks
    // run on captor's threads only.
    let log = Resource::builder()
        .dispatch(Dispatch::Pool)
        .build(Vec::new())?;
    let (open, gate) = mpsc::channel();
    log.execute(move |log| {
        let _ = gate.recv(); // slow: until the gate opens
        log.push("slow");
    })?;

    // Dropping a completion leaves its task in the queue...
    let short = Duration::from_millis(10);
    let kept = timeout(short, log.submit(|log| log.push("timed out, kept"))).await;
    println!("without cancel_on_drop: {}", outcome(&kept));

    // ...but not this one: when the timeout drops it, the task is cancelled.
    let entry = log.submit(|log| log.push("timed out, cancelled"));
    let cancelled = timeout(short, entry.cancel_on_drop()).await;
    println!("with cancel_on_drop:    {}", outcome(&cancelled));

    // The same goes for the branches of a `select!`.
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
