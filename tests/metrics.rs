#![cfg(all(feature = "metrics", not(any(captor_loom, captor_shuttle))))]
//! What is published through the `metrics` facade.

use captor::{Resource, Scheduler};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString,
    Unit,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Keeps what was published last.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<String, f64>>>);

struct Slot(String, Kept);

impl Slot {
    fn set(&self, value: f64) {
        self.1.0.lock().unwrap().insert(self.0.clone(), value);
    }
}

impl CounterFn for Slot {
    fn increment(&self, _: u64) {
        panic!("counters are set, not added to");
    }
    fn absolute(&self, value: u64) {
        self.set(value as f64);
    }
}

impl GaugeFn for Slot {
    fn increment(&self, _: f64) {
        panic!("gauges are set");
    }
    fn decrement(&self, _: f64) {
        panic!("gauges are set");
    }
    fn set(&self, value: f64) {
        Slot::set(self, value);
    }
}

fn slot(kept: &Kept, key: &Key) -> Arc<Slot> {
    let labels = key
        .labels()
        .map(|label| format!(" {}={}", label.key(), label.value()));
    let name = format!("{}{}", key.name(), labels.collect::<String>());
    Arc::new(Slot(name, kept.clone()))
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(slot(self, key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(slot(self, key))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn named_resources_are_published_under_their_names() {
    let s = Scheduler::builder().workers(1).build().unwrap();
    let named = |timed| {
        let builder = Resource::builder().name("orders").scheduler(&s);
        builder.timings(timed).build(()).unwrap()
    };
    let (one, two, unnamed) = (named(true), named(false), s.resource(()));
    one.with(|()| std::thread::sleep(Duration::from_millis(2)))
        .unwrap();
    for r in [&one, &two, &unnamed] {
        r.execute(|()| ()).unwrap();
    }
    two.close();
    assert!(two.execute(|()| ()).is_err());
    let kept = Kept::default();
    metrics::with_local_recorder(&kept, || {
        s.publish_metrics();
        s.publish_metrics(); // nothing is added twice
    });
    let kept = kept.0.lock().unwrap();
    let get = |name: &str| {
        *kept
            .get(name)
            .unwrap_or_else(|| panic!("{name} in {kept:?}"))
    };
    assert_eq!(get("captor_tasks_submitted resource=orders"), 3.0);
    assert_eq!(get("captor_tasks_completed resource=orders"), 3.0);
    assert_eq!(get("captor_tasks_rejected resource=orders"), 1.0);
    assert_eq!(get("captor_tasks_outstanding resource=orders"), 0.0);
    assert!(get("captor_longest_task_seconds resource=orders") >= 0.002);
    assert_eq!(
        get("captor_queue_wait_seconds resource=orders quantile=0.99"),
        0.0
    );
    assert_eq!(get("captor_threads"), 0.0);
    assert_eq!(get("captor_dispatched"), 0.0);
    assert_eq!(kept.len(), 8 + 3 + 4 + 3, "{kept:?}");
}
