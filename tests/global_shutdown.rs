#![cfg(not(any(captor_loom, captor_shuttle)))]
//! A shutdown of the global scheduler closes the resources that have a name. The test needs its own
//! binary, since nothing else would work after the shutdown.

mod common;

use captor::{Resource, Scheduler, TaskError};
use common::{DEADLINE, outcome};

#[test]
fn global_shutdown_closes_only_named_resources() {
    let named = Resource::builder().name("named").build(1).unwrap();
    let unnamed = Resource::new(2);
    let listed = Scheduler::global().resources();
    assert_eq!(listed.len(), 1);
    assert!(Scheduler::global().shutdown(DEADLINE));
    assert_eq!(outcome(named.submit(|n| *n)), Err(TaskError::Closed));
    assert_eq!(outcome(unnamed.submit(|n| *n)), Ok(2));
}
