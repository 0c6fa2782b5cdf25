//! Hand-offs on the threads of another library, in place of captor's own pool: on rayon's
//! threads, and on the threads that tokio keeps for blocking work.
//!
//! ```text
//! cargo run --release --example executor
//! ```
//!
//! An executor is a function that receives a [`Job`] and runs it on another thread. A job is the
//! unit of a hand-off: a resource that has tasks in its queue.

use captor::{Dispatch, Job, Resource, Scheduler};
use rayon::ThreadPoolBuilder;
use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

const CALLERS: usize = 4;
const TASKS: usize = 2_500; // of each caller

/// The number of tasks that ran on each thread.
type Threads = BTreeMap<String, usize>;

fn note_thread(threads: &mut Threads) {
    let name = thread::current().name().unwrap_or("unnamed").to_owned();
    *threads.entry(name).or_default() += 1;
    // About 10 µs of work, so that the callers' tasks overlap.
    for n in 0..10_000 {
        black_box(n);
    }
}

/// Submits from some threads, and prints where the tasks ran.
fn show(what: &str, threads: &Resource<Threads>) -> Result<bool, Box<dyn Error>> {
    println!("  {what}");
    thread::scope(|s| -> Result<(), Box<dyn Error>> {
        for n in 0..CALLERS {
            let submit = || (0..TASKS).try_for_each(|_| threads.execute(note_thread));
            let builder = thread::Builder::new().name(format!("caller-{n}"));
            builder.spawn_scoped(s, submit)?;
        }
        Ok(())
    })?;

    // All other tasks were submitted earlier, so they have run before this task.
    let ran_on = threads.with(|threads| threads.clone())?;
    for (name, tasks) in &ran_on {
        println!("    {name:<10} {tasks:>7} tasks");
    }
    Ok(ran_on.values().sum::<usize>() == CALLERS * TASKS)
}

/// Submits to a resource whose callers run tasks themselves, then to a resource whose tasks run
/// only on the executor.
fn show_both(scheduler: &Scheduler) -> Result<bool, Box<dyn Error>> {
    let inline = Resource::builder()
        .scheduler(scheduler)
        .capture_limit(2) // the caller's own task and one more, then a hand-off
        .build(Threads::new())?;
    let inline = show("Dispatch::Inline: on callers, and on hand-off", &inline)?;

    let pooled = Resource::builder()
        .scheduler(scheduler)
        .dispatch(Dispatch::Pool)
        .build(Threads::new())?;
    let pooled = show("Dispatch::Pool: never on callers", &pooled)?;

    // Waits until the executor has finished all jobs.
    let ended = scheduler.shutdown(Duration::from_secs(10));
    println!(
        "  {} jobs went to the executor\n",
        scheduler.stats().dispatched
    );
    Ok(inline && pooled && ended)
}

fn on_rayon() -> Result<bool, Box<dyn Error>> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(2)
        .thread_name(|n| format!("rayon-{n}"))
        .build()?;
    let scheduler = Scheduler::builder()
        .executor(move |job: Job| pool.spawn(|| job.run()))
        .build()?;
    println!("rayon");
    show_both(&scheduler)
}

fn on_tokio() -> Result<bool, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("tokio")
        .build()?;
    let handle = runtime.handle().clone();
    let scheduler = Scheduler::builder()
        .executor(move |job: Job| {
            handle.spawn_blocking(|| job.run());
        })
        .build()?;
    println!("tokio's spawn_blocking");
    show_both(&scheduler)
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let right = on_rayon()? & on_tokio()?;
    Ok(match right {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
