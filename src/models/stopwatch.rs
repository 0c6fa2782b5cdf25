//! Models of the stopwatch: the watchdog reads the record that a holder writes.

use super::model;
use crate::raw::timing::stopwatch::{NEVER, Running};
use crate::sync::{Arc, thread};

#[test]
fn watchdog_reads_whole_entry_during_write() {
    model(3, || {
        let running = Arc::new(Running::new());
        let writer = Arc::clone(&running);
        let other = thread::spawn(move || {
            writer.write(1, Some("a"));
            writer.write(333, Some("bbb"));
        });
        let seen = running.read();
        match (seen.since, seen.name) {
            (NEVER, None) | (1, Some("a")) | (333, Some("bbb")) => {}
            other => panic!("{other:?}"),
        }
        other.join().unwrap();
    });
}
