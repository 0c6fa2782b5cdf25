#![cfg(all(feature = "metrics", not(any(captor_loom, captor_shuttle))))]
//! The metrics that captor publishes through the `metrics` facade.

mod common;

use captor::{Resource, ResourceBuilder, Scheduler};
use common::{hold_running, pooled};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString,
    Unit,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

/// Adds up counters, and keeps the last published value of gauges.
#[derive(Clone, Default)]
struct Kept {
    values: Arc<Mutex<BTreeMap<String, f64>>>,
    units: Arc<Mutex<BTreeMap<String, Option<Unit>>>>,
    /// Called for each increment of a counter.
    on_count: Option<Arc<dyn Fn() + Send + Sync>>,
}

struct Slot(String, Kept);

impl Kept {
    fn publish(&self, scheduler: &Scheduler) {
        metrics::with_local_recorder(self, || scheduler.publish_metrics());
    }

    #[track_caller]
    fn get(&self, name: &str) -> f64 {
        let values = self.values.lock().unwrap();
        let value = values.get(name);
        *value.unwrap_or_else(|| panic!("{name} in {values:?}"))
    }

    fn slot(&self, key: &Key) -> Arc<Slot> {
        let labels = key
            .labels()
            .map(|label| format!(" {}={}", label.key(), label.value()));
        let name = format!("{}{}", key.name(), labels.collect::<String>());
        Arc::new(Slot(name, self.clone()))
    }

    fn describe(&self, name: &KeyName, unit: Option<Unit>) {
        let name = name.as_str().to_owned();
        self.units.lock().unwrap().insert(name, unit);
    }
}

impl CounterFn for Slot {
    fn increment(&self, more: u64) {
        let Slot(name, kept) = self;
        if let Some(f) = &kept.on_count {
            f();
        }
        *kept.values.lock().unwrap().entry(name.clone()).or_default() += more as f64;
    }
    fn absolute(&self, _: u64) {
        panic!("counters are incremented, since two schedulers may share one");
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
        let Slot(name, kept) = self;
        kept.values.lock().unwrap().insert(name.clone(), value);
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }
    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.slot(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.slot(key))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

const COMPLETED: &str = "captor_tasks_completed resource=orders";

fn scheduler() -> Scheduler {
    Scheduler::builder().workers(1).build().unwrap()
}

/// A setting for a resource.
type Setting = fn(ResourceBuilder) -> ResourceBuilder;

fn orders(scheduler: &Scheduler, setting: Setting) -> Resource<()> {
    let builder = Resource::builder().name("orders").scheduler(scheduler);
    setting(builder).build(()).unwrap()
}

fn run(r: &Resource<()>, tasks: usize) {
    (0..tasks).for_each(|_| r.with(|()| ()).unwrap());
}

#[test]
fn named_resources_are_published_by_name() {
    let s = scheduler();
    let (one, two) = (orders(&s, |b| b.timings(true)), orders(&s, |b| b));
    one.with(|()| thread::sleep(Duration::from_millis(2)))
        .unwrap();
    for r in [&one, &two, &s.resource(())] {
        r.execute(|()| ()).unwrap();
    }
    two.close();
    assert!(two.execute(|()| ()).is_err());
    let kept = Kept::default();
    kept.publish(&s);
    assert_eq!(kept.get("captor_tasks_submitted resource=orders"), 3.0);
    assert_eq!(kept.get(COMPLETED), 3.0);
    assert_eq!(kept.get("captor_tasks_panicked resource=orders"), 0.0);
    assert_eq!(kept.get("captor_tasks_rejected resource=orders"), 1.0);
    assert_eq!(kept.get("captor_tasks_outstanding resource=orders"), 0.0);
    assert!(kept.get("captor_longest_task_seconds resource=orders") >= 0.002);
    let wait = "captor_queue_wait_seconds resource=orders quantile=0.99";
    assert_eq!(kept.get(wait), 0.0);
    assert_eq!(kept.values.lock().unwrap().len(), 8 + 3 + 4 + 3);
}

#[test]
fn second_publish_counts_only_new_tasks() {
    let (s, kept) = (scheduler(), Kept::default());
    let r = orders(&s, |b| b);
    for sum in [2.0, 4.0, 6.0] {
        run(&r, 2);
        kept.publish(&s);
        kept.publish(&s);
        assert_eq!(kept.get(COMPLETED), sum);
    }
}

#[test]
fn counters_add_up_when_names_are_equal() {
    let (s, other, kept) = (scheduler(), scheduler(), Kept::default());
    let all = [orders(&s, |b| b), orders(&s, |b| b), orders(&other, |b| b)];
    for (r, tasks) in all.iter().zip([5, 3, 1]) {
        run(r, tasks);
        kept.publish(&s);
        kept.publish(&other);
    }
    assert_eq!(kept.get(COMPLETED), 9.0);
}

#[test]
fn counter_continues_when_resource_is_remade() {
    let (s, kept) = (scheduler(), Kept::default());
    for (tasks, sum) in [(5, 5.0), (2, 7.0)] {
        let r = orders(&s, |b| b);
        run(&r, tasks);
        kept.publish(&s);
        assert_eq!(kept.get(COMPLETED), sum);
    }
}

#[test]
fn nested_publish_counts_nothing_twice() {
    let s = scheduler();
    let r = orders(&s, |b| b);
    run(&r, 3);
    let mut kept = Kept::default();
    let (inner, again) = (kept.clone(), s.clone());
    // Runs before the outer call counts anything.
    kept.on_count = Some(Arc::new(move || inner.publish(&again)));
    kept.publish(&s);
    assert_eq!(kept.get("captor_tasks_submitted resource=orders"), 3.0);
    assert_eq!(kept.get(COMPLETED), 3.0);
}

#[test]
fn concurrent_publishes_count_each_task_once() {
    const THREADS: usize = 4;
    let (s, kept) = (scheduler(), Kept::default());
    let r = orders(&s, |b| b);
    let together = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..200 {
                    run(&r, 1);
                    together.wait();
                    kept.publish(&s);
                }
            });
        }
    });
    assert_eq!(kept.get(COMPLETED), (THREADS * 200) as f64);
}

#[test]
fn scheduler_label_is_the_thread_name() {
    let kept = Kept::default();
    let named = || Scheduler::builder().thread_name("index").build().unwrap();
    let (plain, index, again) = (scheduler(), named(), named());
    let count = |s: &Scheduler| s.stats().dispatched as f64;
    let r = pooled(&index, ());
    for _ in 0..2 {
        r.with(|()| ()).unwrap();
        kept.publish(&index);
        kept.publish(&plain);
        let published = kept.get("captor_dispatched scheduler=index");
        assert!(published >= 1.0 && published == count(&index));
    }
    assert!(kept.get("captor_threads scheduler=index") >= 1.0);
    assert_eq!(kept.get("captor_threads scheduler=captor"), 0.0);
    assert_eq!(kept.get("captor_threads_idle scheduler=captor"), 0.0);
    assert_eq!(kept.get("captor_dispatched scheduler=captor"), 0.0);
    pooled(&again, ()).with(|()| ()).unwrap();
    kept.publish(&again);
    let both = kept.get("captor_dispatched scheduler=index");
    assert_eq!(both, count(&index) + count(&again));
}

#[test]
fn label_is_default_when_executor_is_set() {
    let s = Scheduler::builder().executor(|job: captor::Job| job.run());
    let kept = Kept::default();
    kept.publish(&s.build().unwrap());
    assert_eq!(kept.get("captor_threads scheduler=captor"), 0.0);
}

#[test]
fn longest_task_is_published_when_slow_task_set() {
    let (s, kept) = (scheduler(), Kept::default());
    let longest = "captor_longest_task_seconds resource=orders";
    let sleep = |r: Resource<()>| {
        r.with(|()| thread::sleep(Duration::from_millis(2)))
            .unwrap();
        kept.publish(&s);
    };
    sleep(orders(&s, |b| b));
    assert!(!kept.values.lock().unwrap().contains_key(longest));
    sleep(orders(&s, |b| b.slow_task(Duration::from_secs(60))));
    assert!(kept.get(longest) >= 0.002);
}

#[test]
fn last_published_gauge_wins() {
    let (s, other, kept) = (scheduler(), scheduler(), Kept::default());
    let outstanding = "captor_tasks_outstanding resource=orders";
    let busy = orders(&s, |b| b.dispatch(captor::Dispatch::Pool));
    let (gate, task) = hold_running(&busy, |()| ());
    let _idle = orders(&other, |b| b);
    for (scheduler, expected) in [(&s, 1.0), (&other, 0.0), (&s, 1.0)] {
        kept.publish(scheduler);
        assert_eq!(kept.get(outstanding), expected);
    }
    gate.open();
    task.wait().unwrap();
}

#[test]
fn units_match_name_suffixes() {
    let kept = Kept::default();
    kept.publish(&scheduler());
    let units = kept.units.lock().unwrap();
    assert_eq!(units.len(), 8 + 4 + 3);
    for (name, unit) in &*units {
        let expected = match name {
            n if n.ends_with("_nanoseconds") => Unit::Nanoseconds,
            n if n.ends_with("_seconds") => Unit::Seconds,
            _ => Unit::Count,
        };
        assert_eq!(*unit, Some(expected), "{name}");
    }
}

#[test]
fn panic_in_recorder_is_contained() {
    let s = Scheduler::builder().build().unwrap();
    let recorder = Kept {
        on_count: Some(Arc::new(|| panic!("intended"))),
        ..Kept::default()
    };
    recorder.publish(&s);
    let recorder = Kept::default();
    recorder.publish(&s);
    recorder.get("captor_threads scheduler=captor");
}
