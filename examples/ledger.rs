//! 100 callers add to and subtract from one balance, 100,000 times each, and wait for each
//! result: ten million awaited tasks on one resource.
//!
//! ```text
//! cargo run --release --example ledger
//! cargo run --release --example ledger -- CALLERS OPERATIONS
//! ```
//!
//! With far more callers than cores, the longest waits come from the operating system: a thread
//! that has used up its time slice waits for the next. These waits are as long when each caller
//! has a separate ledger.
//!
//! Each caller is a thread that knows the sum of its own amounts. The exit code is 1 if the ledger
//! disagrees with the callers, and 2 if the arguments are wrong.

use captor::{Resource, TaskError};
use hdrhistogram::Histogram;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::env;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// The value that all callers change, without a lock and without atomics.
#[derive(Default)]
struct Ledger {
    balance: i64,
    entries: u64,
}

impl Ledger {
    fn enter(&mut self, amount: i64) -> i64 {
        self.balance += amount;
        self.entries += 1;
        self.balance
    }
}

/// One caller's own record of its entries and waits.
struct Account {
    sum: i64,
    waits: Histogram<u64>,
}

/// The longest wait that the histogram distinguishes from longer waits, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST, 3).expect("the bounds are valid")
}

fn caller(ledger: &Resource<Ledger>, seed: u64, operations: u64) -> Result<Account, TaskError> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut account = Account {
        sum: 0,
        waits: histogram(),
    };
    for _ in 0..operations {
        let amount = random.random_range(-1_000..=1_000);
        let start = Instant::now();
        // If the ledger is idle, this thread makes the entry itself. If the ledger is busy, its
        // holder makes the entry, and this thread waits.
        let _balance = ledger.submit(move |ledger| ledger.enter(amount)).wait()?;
        let wait = start.elapsed().as_nanos() as u64;
        account.waits.saturating_record(wait);
        account.sum += amount;
    }
    Ok(account)
}

fn run(callers: u64, operations: u64) -> Result<bool, TaskError> {
    let ledger = Resource::new(Ledger::default());
    let start = Instant::now();
    let accounts = thread::scope(|s| -> Result<Vec<Account>, TaskError> {
        let ledger = &ledger;
        let spawn = |n| s.spawn(move || caller(ledger, n, operations));
        let threads: Vec<_> = (0..callers).map(spawn).collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(account) => account,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect()
    })?;
    let took = start.elapsed();

    let sum: i64 = accounts.iter().map(|account| account.sum).sum();
    let mut waits = histogram();
    for account in &accounts {
        waits.add(&account.waits).expect("the bounds are the same");
    }
    let (balance, entries) = ledger.with(|ledger| (ledger.balance, ledger.entries))?;
    let right = balance == sum && entries == callers * operations;

    println!("{callers} callers, {operations} operations each, every one awaited");
    println!("balance      {balance}, {entries} entries");
    println!("by callers   {sum}, {} entries", callers * operations);
    let rate = entries as f64 / took.as_secs_f64() / 1e6;
    println!("time         {took:.2?}, {rate:.2} million operations per second");
    let at = |quantile| Duration::from_nanos(waits.value_at_quantile(quantile));
    let longest = Duration::from_nanos(waits.max());
    println!(
        "waits        half within {:.1?}, 99 % within {:.1?}, longest {longest:.1?}",
        at(0.5),
        at(0.99)
    );
    let stats = ledger.stats();
    println!("hand-offs    {}", stats.handoffs);
    println!("lent         {:.1?} of callers' time to others", stats.lent);
    println!(
        "{}",
        if right {
            "The ledger is right."
        } else {
            "THE LEDGER IS WRONG."
        }
    );
    Ok(right)
}

/// Parses the numbers of callers and operations.
fn parse_args() -> Option<(u64, u64)> {
    let args: Option<Vec<u64>> = env::args().skip(1).map(|arg| arg.parse().ok()).collect();
    match *args? {
        [] => Some((100, 100_000)),
        [callers @ 1..=10_000, operations @ 1..=1_000_000_000] => Some((callers, operations)),
        _ => None,
    }
}

fn main() -> ExitCode {
    let Some((callers, operations)) = parse_args() else {
        eprintln!("usage: ledger [CALLERS OPERATIONS]");
        eprintln!("CALLERS from 1 to 10000, OPERATIONS of each from 1 to 1000000000");
        return ExitCode::from(2);
    };
    match run(callers, operations) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
