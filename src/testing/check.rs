//! Many seeds, one after the other.

use super::Simulation;
use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Name of the variable that has [`check`] try one seed only.
const SEED_VAR: &str = "CAPTOR_SEED";

/// Runs `test` once for each seed, with a simulation of it.
///
/// What is left when `test` returns is run. If it panics, or a task does whose outcome
/// nobody takes, the seed is printed, and the panic goes on. Where the environment has
/// `CAPTOR_SEED`, that seed alone is tried.
///
/// # Panics
/// As `test` does; or if `CAPTOR_SEED` is no number.
///
/// ```
/// use captor::testing::check;
///
/// check(0..100, |sim| {
///     let total = sim.resource(0);
///     for n in [1, 2] {
///         let total = total.clone();
///         sim.resource(()).execute(move |()| total.execute(move |t| *t += n)).unwrap();
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
            panic!("a task panicked, and nobody took its outcome: {message}");
        }
    }));
    if let Err(payload) = outcome {
        drop(sim);
        eprintln!("captor: seed {seed} fails; to repeat it alone: {SEED_VAR}={seed}");
        resume_unwind(payload);
    }
}

fn parse_seed(seed: &OsStr) -> u64 {
    let number = seed.to_str().and_then(|seed| seed.trim().parse().ok());
    number.unwrap_or_else(|| panic!("{SEED_VAR} must be a number, and is {seed:?}"))
}
