//! A resource is an actor: its value is the actor's state, its queue is the mailbox, and a
//! closure is a message. There is no message enum, no loop, and no thread.
//!
//! ```text
//! cargo run --release --example actor
//! ```
//!
//! Two accounts send each other money. Neither account waits for the other inside a message.
//! An account that has something to tell the other account sends another message.
//!
//! One message panics on purpose. The example announces the panic, and then the standard panic
//! report appears on stderr, with a backtrace if `RUST_BACKTRACE` is set.

use captor::{Completion, Resource, SubmitError, TaskError};
use std::error::Error;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// The address of an actor whose state is a balance. The address is cheap to clone. Each method
/// is a message.
#[derive(Clone)]
struct Account(Resource<u64>);

impl Account {
    fn open(balance: u64) -> Account {
        Account(Resource::new(balance))
    }

    /// Asks for the balance. The completion carries the answer.
    fn balance(&self) -> Completion<u64> {
        self.0.submit(|balance| *balance)
    }

    /// Adds to the balance, without an answer.
    fn deposit(&self, amount: u64) -> Result<(), SubmitError> {
        self.0.execute(move |balance| *balance += amount)
    }

    /// Moves money by a message that sends another message. `to` may be this same account: the
    /// account handles a message to itself after the current message, not inside it.
    fn transfer(&self, to: &Account, amount: u64) -> Result<(), SubmitError> {
        let to = to.clone();
        self.0.execute(move |balance| {
            if *balance >= amount && to.deposit(amount).is_ok() {
                *balance -= amount;
            }
        })
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (ann, bob) = (Account::open(1_000), Account::open(1_000));

    // Many senders; each actor handles one message at a time.
    thread::scope(|s| {
        for n in 1..=4 {
            let (ann, bob) = (&ann, &bob);
            s.spawn(move || {
                for _ in 0..10_000 {
                    ann.transfer(bob, n)?;
                    bob.transfer(ann, 5 - n)?;
                }
                Ok::<_, SubmitError>(())
            });
        }
    });
    // Once both accounts have answered, no transfer is left to handle, and all deposits are in
    // the mailboxes. The deposits stand before the next question, so its answer includes them.
    let _ = (ann.balance().wait()?, bob.balance().wait()?);
    let (a, b) = (ann.balance().wait()?, bob.balance().wait()?);
    println!("Ann has {a}, Bob has {b}, together {}", a + b);

    // A panic is the outcome of its message. The actor continues.
    eprintln!("Bob gets a message that panics on purpose; a panic report follows:");
    let panicking = bob.0.submit(|_| -> u64 { panic!("no such currency") });
    println!("a bad message to Bob: {}", outcome(panicking.wait()));
    println!("a good one: {}", outcome(bob.balance().wait()));

    // A closed actor handles all accepted messages, and refuses later messages.
    bob.0.close();
    let ended = bob.0.wait_closed(Duration::from_secs(5));
    println!("Bob is closed: {}", outcome(bob.balance().wait()));
    ann.transfer(&bob, 1)?;
    let kept = ann.balance().wait()?;
    println!("Ann cannot send him money, and still has {kept}");

    Ok(match a + b == 2_000 && kept == a && ended {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn outcome(result: Result<u64, TaskError>) -> String {
    match result {
        Ok(n) => n.to_string(),
        Err(error) => error.to_string(),
    }
}
