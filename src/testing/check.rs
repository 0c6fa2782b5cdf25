//! [`check`]: runs a test under many seeds, one after the other, and prints the seed that fails.

use super::Simulation;
use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The environment variable that makes [`check`] try one seed only.
const SEED_VAR: &str = "CAPTOR_SEED";

/// Runs `test` once for each seed, with a simulation of that seed.
///
/// When `test` returns, `check` runs the tasks that are left. The seed fails if `test` panics, or
/// if a task panics and no caller takes its outcome. `check` then prints the seed, and the panic
/// continues. If the environment variable `CAPTOR_SEED` is set, `check` tries that seed only.
///
/// # Panics
/// Panics if a seed fails, or if `CAPTOR_SEED` is not a number.
///
/// ```
/// use captor::testing::check;
///
/// check(0..100, |sim| {
///     let total = sim.resource(0);
///     for n in [1, 2] {
///         let total = total.clone();
///         let client = sim.resource(());
///         client.execute(move |()| total.execute(move |t| *t += n).unwrap()).unwrap();
///     }
///     sim.run();
///     assert_eq!(total.with(|t| *t), Ok(3));
/// });
/// ```
pub fn check(seeds: impl IntoIterator<Item = u64>, mut test: impl FnMut(&Simulation)) {
    match std::env::var_os(SEED_VAR) {
        Some(seed) => attempt(parse_seed(&seed), &mut test),
        None => (seeds.into_iter()).for_each(|seed| attempt(seed, &mut test)),
    }
}

fn attempt(seed: u64, test: &mut impl FnMut(&Simulation)) {
    let sim = Simulation::new(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        test(&sim);
        sim.run();
        if let Some(message) = sim.take_panic() {
            panic!("a task panicked, and no caller took its outcome: {message}");
        }
    }));
    if let Err(payload) = outcome {
        drop(sim);
        eprintln!("captor: seed {seed} fails; to repeat this seed alone: {SEED_VAR}={seed}");
        resume_unwind(payload);
    }
}

fn parse_seed(seed: &OsStr) -> u64 {
    let number = seed.to_str().and_then(|seed| seed.trim().parse().ok());
    number.unwrap_or_else(|| panic!("{SEED_VAR} must be a number, but is {seed:?}"))
}
