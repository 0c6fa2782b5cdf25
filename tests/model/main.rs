//! Random programs against a model.
//!
//! Several threads: the interleaving is read from the value's log and from the stamps around each
//! call. [`ledger`] checks it against the same tasks run one after the other. One thread: the model
//! predicts the outcome of every task.

#![cfg(not(any(captor_loom, captor_shuttle)))]

mod asynchronous;
mod bells;
#[path = "../common/mod.rs"]
mod common;
#[path = "../ledger/mod.rs"]
mod ledger;
mod outcome;
mod program;
mod reference;
mod sequential;
mod steps;
mod tame;
mod threads;
mod world;

use common::within_deadline;
use program::{op, plain_setup, program};
use proptest::prelude::*;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases: match std::env::var_os("PROPTEST_CASES") {
            Some(_) => ProptestConfig::default().cases,
            None => cases,
        },
        // A failure depends on the interleaving, so a seed alone says little.
        failure_persistence: None,
        max_shrink_iters: 1000,
        // In milliseconds. A program that hangs takes long at each attempt.
        max_shrink_time: 60_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn concurrent_runs_match_some_sequence(program in program()) {
        ledger::silence_intended_panics();
        let result = within_deadline(move || threads::run(program));
        prop_assert!(result.is_ok(), "{}", result.unwrap_err());
    }
}

proptest! {
    // These programs leave nothing to chance and do not wait, so more of them can run.
    #![proptest_config(config(512))]

    #[test]
    fn single_thread_matches_model(
        setups in prop::collection::vec(plain_setup(), 1..=3),
        ops in prop::collection::vec(op(2), 0..40),
    ) {
        ledger::silence_intended_panics();
        let result = within_deadline(move || sequential::run(setups, ops));
        prop_assert!(result.is_ok(), "{}", result.unwrap_err());
    }
}
