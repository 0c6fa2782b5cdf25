#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Spans follow the task, not the thread. captor reports its own events.

mod common;

use captor::{Dispatch, Job, PanicPolicy, Resource, ResourceBuilder, Scheduler};
use common::{Gate, Sleepers, hold, join, outcome, pooled, wait_until};
use std::fmt::Write as _;
use std::panic::resume_unwind;
use std::sync::{Mutex, Once, mpsc};
use std::thread;
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::{Level, Span, Subscriber, info, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// An event as text, its target, and its spans from the innermost outwards.
#[derive(Clone, Debug)]
struct Seen {
    level: Level,
    target: String,
    fields: String,
    scope: Vec<&'static str>,
}

static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

struct Record;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Record {
    fn on_event(&self, event: &tracing::Event<'_>, ctx: Context<'_, S>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                let _ = write!(self.0, "{field}={value:?} ");
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        let scope = ctx.event_scope(event).into_iter().flatten();
        SEEN.lock().unwrap().push(Seen {
            level: *event.metadata().level(),
            target: event.metadata().target().to_owned(),
            fields: text.0,
            scope: scope.map(|span| span.name()).collect(),
        });
    }
}

/// All threads report to one list. Tests find their events by names that no other test uses.
fn record() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Record);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// Returns captor's events whose fields contain `name`.
fn events(name: &str) -> Vec<Seen> {
    let seen = SEEN.lock().unwrap();
    let ours = |e: &&Seen| e.target == "captor" && e.fields.contains(name);
    seen.iter().filter(ours).cloned().collect()
}

fn with_message(name: &str, message: &str) -> Vec<Seen> {
    let mut events = events(name);
    events.retain(|e| e.fields.contains(message));
    events
}

/// Returns the span that the caller is in.
fn current() -> Option<&'static str> {
    Span::current().metadata().map(|span| span.name())
}

fn named(name: &str) -> ResourceBuilder {
    Resource::builder().name(name)
}

// Spans.

#[test]
fn inline_task_runs_in_submitter_span() {
    record();
    let r = Resource::new(());
    let _span = info_span!("caller").entered();
    assert_eq!(r.with(|_| current()), Ok(Some("caller")));
    assert_eq!(r.submit(|_| current()).wait(), Ok(Some("caller")));
    assert_eq!(current(), Some("caller"));
}

/// Queues tasks in a span, in no span, and in a second span. Each task must run in its own span,
/// on whichever thread.
fn assert_spans_follow(r: &Resource<()>) {
    let held = hold(r);
    let outer = info_span!("outer");
    let in_span = outer.in_scope(|| info_span!("inner").in_scope(|| r.submit(|_| current())));
    let in_none = r.submit(|_| current());
    let in_other = info_span!("other").in_scope(|| r.submit(|_| current()));
    held.release();
    assert_eq!(outcome(in_span), Ok(Some("inner")));
    assert_eq!(outcome(in_none), Ok(None));
    assert_eq!(outcome(in_other), Ok(Some("other")));
}

#[test]
fn spans_follow_tasks_on_captured_submitter() {
    record();
    let r = named("spans-captured")
        .capture_limit(100)
        .capture_time(Duration::from_secs(3600))
        .build(())
        .unwrap();
    assert_spans_follow(&r);
    assert_eq!(r.stats().handoffs, 0);
}

#[test]
fn spans_follow_tasks_on_workers() {
    record();
    assert_spans_follow(&named("spans-limit").capture_limit(1).build(()).unwrap());
    let pooled = named("spans-pool").dispatch(Dispatch::Pool);
    assert_spans_follow(&pooled.build(()).unwrap());
}

#[test]
fn spans_follow_tasks_on_waiter_in_own_span() {
    let asleep = Sleepers::new();
    record();
    // The executor keeps its jobs, so the waiter runs all tasks.
    let (send, jobs) = mpsc::channel::<Job>();
    let scheduler = Scheduler::builder()
        .capture_limit(1)
        .executor(move |job| drop(send.send(job)))
        .build()
        .unwrap();
    let r = scheduler.resource(());
    let held = hold(&r);
    let in_span = info_span!("submitter").in_scope(|| r.submit(|_| current()));
    let in_none = r.submit(|_| current());
    let waiter = {
        let (r, asleep) = (r.clone(), asleep.clone());
        thread::spawn(move || {
            asleep.here();
            let _span = info_span!("waiter").entered();
            let own = r.with(|_| current());
            (own, current())
        })
    };
    asleep.wait(&r, 4);
    held.release();
    assert_eq!(join(waiter).unwrap(), (Ok(Some("waiter")), Some("waiter")));
    assert_eq!(outcome(in_span), Ok(Some("submitter")));
    assert_eq!(outcome(in_none), Ok(None));
    drop(jobs);
}

/// Runs `queue` while a thread in the spans "first" and "second" runs its own task. The queued
/// tasks then capture the thread. Returns the thread's spans afterwards.
fn queue_during_task_in_spans(
    r: &Resource<()>,
    panics: bool,
    queue: impl FnOnce(),
) -> [Option<&'static str>; 3] {
    let (running, go) = (Gate::new(), Gate::new());
    let captured = {
        let (r, running, go) = (r.clone(), running.clone(), go.clone());
        thread::spawn(move || {
            let first = info_span!("first").entered();
            let second = info_span!("second").entered();
            let own = r.submit(move |_| {
                assert_eq!(current(), Some("second"));
                running.open();
                go.wait();
                if panics {
                    resume_unwind(Box::new("own"));
                }
            });
            assert_eq!(own.wait().is_err(), panics);
            let within_both = current();
            drop(second);
            let within_first = current();
            drop(first);
            [within_both, within_first, current()]
        })
    };
    running.wait();
    queue();
    go.open();
    join(captured).unwrap()
}

#[test]
fn captured_threads_span_does_not_leak() {
    record();
    for panics in [false, true] {
        let r = named("leak")
            .capture_limit(100)
            .capture_time(Duration::from_secs(3600))
            .build(())
            .unwrap();
        let mut tasks = Vec::new();
        let after = queue_during_task_in_spans(&r, panics, || {
            let submitter = info_span!("submitter");
            submitter.in_scope(|| {
                tasks.push(r.submit(|_| {
                    info!(marker = "leak-in-span");
                    current()
                }));
            });
            tasks.push(r.submit(|_| {
                info!(marker = "leak-in-none");
                // A span made inside the task has the right parent, too.
                info_span!("made").in_scope(|| info!(marker = "leak-made"));
                current()
            }));
        });
        assert_eq!(after, [Some("second"), Some("first"), None]);
        let seen: Vec<_> = tasks.into_iter().map(outcome).collect();
        assert_eq!(seen, [Ok(Some("submitter")), Ok(None)]);
    }
    let scopes = |marker: &str| -> Vec<Vec<&str>> {
        let seen = SEEN.lock().unwrap();
        let with = |e: &&Seen| e.fields.contains(marker);
        seen.iter().filter(with).map(|e| e.scope.clone()).collect()
    };
    assert_eq!(scopes("leak-in-span"), [["submitter"], ["submitter"]]);
    assert_eq!(scopes("leak-in-none"), [[""; 0], [""; 0]]);
    assert_eq!(scopes("leak-made"), [["made"], ["made"]]);
}

#[test]
fn span_entered_twice_is_restored_twice() {
    record();
    let r = named("twice")
        .capture_time(Duration::from_secs(3600))
        .build(())
        .unwrap();
    let (running, go) = (Gate::new(), Gate::new());
    let captured = {
        let (r, running, go) = (r.clone(), running.clone(), go.clone());
        thread::spawn(move || {
            let (a, b) = (info_span!("a"), info_span!("b"));
            let in_a = a.enter();
            let in_b = b.enter();
            let in_a_again = a.enter();
            r.execute(move |_| {
                running.open();
                go.wait();
            })
            .unwrap();
            let mut seen = vec![current()];
            drop(in_a_again);
            seen.push(current());
            drop(in_b);
            seen.push(current());
            drop(in_a);
            seen.push(current());
            seen
        })
    };
    running.wait();
    let task = r.submit(|_| current());
    go.open();
    let seen = join(captured).unwrap();
    assert_eq!(outcome(task), Ok(None));
    assert_eq!(seen[1..], [Some("b"), Some("a"), None]);
}

#[test]
fn queued_task_has_full_scope_of_submitter() {
    record();
    let r = Resource::new(());
    let held = hold(&r);
    let task = info_span!("outermost")
        .in_scope(|| info_span!("middle").in_scope(|| r.submit(|_| info!(marker = "whole-scope"))));
    held.release();
    outcome(task).unwrap();
    let seen = SEEN.lock().unwrap();
    let event = seen.iter().find(|e| e.fields.contains("whole-scope"));
    assert_eq!(event.unwrap().scope, ["middle", "outermost"]);
}

#[test]
fn workers_are_in_no_span_between_tasks() {
    record();
    let scheduler = Scheduler::builder().workers(1).build().unwrap();
    let r = pooled(&scheduler, ());
    for _ in 0..10 {
        let inside = info_span!("short").in_scope(|| r.submit(|_| current()));
        assert_eq!(outcome(inside), Ok(Some("short")));
        assert_eq!(outcome(r.submit(|_| current())), Ok(None));
    }
}

// Events.

#[test]
fn handoff_event_names_pool_or_waiter() {
    record();
    let r = named("handoff-pool").capture_limit(1).build(()).unwrap();
    let held = hold(&r);
    r.execute(|_| ()).unwrap();
    held.release();
    let seen = with_message("handoff-pool", "hand-off");
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].level, Level::TRACE);
    assert!(seen[0].fields.contains("to=\"pool\""), "{seen:?}");

    let r = named("handoff-waiter").capture_limit(1).build(()).unwrap();
    wait_until("a waiter sleeps when the holder hands off", || {
        let asleep = Sleepers::new();
        let held = hold(&r);
        let waiter = {
            let (r, asleep) = (r.clone(), asleep.clone());
            thread::spawn(move || {
                asleep.here();
                r.with(|_| ())
            })
        };
        asleep.wait(&r, 2);
        held.release();
        join(waiter).unwrap().unwrap();
        !with_message("handoff-waiter", "to=\"waiter\"").is_empty()
    });
}

#[test]
fn no_handoff_event_within_capture_limit() {
    record();
    let r = named("handoff-none")
        .capture_time(Duration::from_secs(3600))
        .build(())
        .unwrap();
    let held = hold(&r);
    r.execute(|_| ()).unwrap();
    held.release();
    r.with(|_| ()).unwrap();
    assert!(events("handoff-none").is_empty());
}

#[test]
fn unobserved_panic_is_logged_as_error() {
    record();
    let boom = |text: &'static str| move |_: &mut ()| -> () { resume_unwind(Box::new(text)) };
    let r = named("unobserved").build(()).unwrap();
    let task = || r.task().name("falls");
    task().execute(boom("unobserved-1")).unwrap();
    drop(task().submit(boom("unobserved-2")));
    let held = hold(&r);
    task().execute(boom("unobserved-3")).unwrap();
    drop(task().submit(boom("unobserved-4")));
    let kept = task().submit(boom("unobserved-5"));
    held.release();
    r.with(|_| ()).unwrap();
    wait_until("the task ran", || kept.is_finished());
    drop(kept);
    for n in 1..=5 {
        let seen = with_message(&format!("unobserved-{n}"), "nobody took");
        assert_eq!(seen.len(), 1, "{n}: {seen:?}");
        assert_eq!(seen[0].level, Level::ERROR);
        let fields = &seen[0].fields;
        let named = fields.contains("unobserved\"") && fields.contains("falls");
        assert!(named, "which task of which resource: {seen:?}");
    }
}

#[test]
fn unobserved_attach_panic_is_logged_as_error() {
    record();
    let r = named("attached").build(()).unwrap();
    let boom = |text: &'static str| move |_: &mut (), ()| resume_unwind(Box::new(text));
    drop(r.attach(futures::stream::iter([()]), boom("attached-1")));
    let every = std::time::Duration::from_millis(1);
    drop(r.every(every, |()| resume_unwind(Box::new("attached-2"))));
    let kept = r.attach(futures::stream::iter([()]), boom("attached-3"));
    wait_until("the attachment ended", || kept.is_finished());
    drop(kept);
    for n in 1..=3 {
        let text = format!("attached-{n}");
        wait_until("the panic is logged", || {
            !with_message(&text, "nobody took").is_empty()
        });
        assert_eq!(with_message(&text, "nobody took")[0].level, Level::ERROR);
    }
    let taken = r.attach(futures::stream::iter([()]), boom("attached-4"));
    taken.wait().unwrap_err();
    assert!(with_message("attached-4", "nobody took").is_empty());
}

#[test]
fn observed_panic_is_logged_as_debug() {
    record();
    let r = named("noticed").build(()).unwrap();
    let boom = |_: &mut ()| -> () { resume_unwind(Box::new("noticed-panic")) };
    r.with(boom).unwrap_err();
    r.submit(boom).wait().unwrap_err();
    let held = hold(&r);
    let queued = r.task().name("noticed-task").submit(boom);
    held.release();
    outcome(queued).unwrap_err();
    assert!(with_message("noticed-panic", "nobody took").is_empty());
    // The panics are still logged, at a lower level.
    let seen = with_message("noticed", "task panicked");
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert!(seen.iter().all(|e| e.level == Level::DEBUG));
    assert!(seen[2].fields.contains("noticed-task"), "{seen:?}");
}

#[test]
fn contained_panic_is_logged_as_error() {
    record();
    struct Bomb(&'static str);
    impl Drop for Bomb {
        fn drop(&mut self) {
            resume_unwind(Box::new(self.0));
        }
    }
    let r = Resource::new(());
    drop(r.submit(|_| Bomb("contained-result")));
    let closed = Resource::new(());
    closed.close();
    let bomb = Bomb("contained-closure");
    closed.execute(move |_| drop(bomb)).unwrap_err();
    drop(Resource::new(Bomb("contained-value")));
    for what in ["contained-result", "contained-closure", "contained-value"] {
        let seen = with_message(what, "panic contained");
        assert_eq!(seen.len(), 1, "{what}: {seen:?}");
        assert_eq!(seen[0].level, Level::ERROR);
    }
}

#[test]
fn refusal_event_names_reason() {
    record();
    let r = named("refuses").build(()).unwrap();
    r.close();
    r.execute(|_| ()).unwrap_err();
    r.try_submit(|_| ()).unwrap_err();
    let seen = with_message("refuses", "task refused");
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.iter().all(|e| e.level == Level::DEBUG));
    assert!(seen.iter().all(|e| e.fields.contains("closed")));

    let r = named("poison-refuses")
        .panic_policy(PanicPolicy::Poison)
        .build(())
        .unwrap();
    r.with(|_| -> () { resume_unwind(Box::new("x")) })
        .unwrap_err();
    r.execute(|_| ()).unwrap_err();
    let seen = with_message("poison-refuses", "task refused");
    assert_eq!(seen.len(), 1);
    assert!(seen[0].fields.contains("poisoned"), "{seen:?}");
}

#[test]
fn close_event_is_logged_once() {
    record();
    let r = named("closes").build(()).unwrap();
    r.close();
    r.close();
    let seen = with_message("closes", "resource closed");
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].level, Level::DEBUG);
}

#[test]
fn dropped_job_is_logged_as_warning() {
    record();
    let scheduler = Scheduler::builder().executor(drop::<Job>).build().unwrap();
    let r = named("dropped-job")
        .scheduler(&scheduler)
        .dispatch(Dispatch::Pool)
        .build(1)
        .unwrap();
    assert_eq!(outcome(r.submit(|n| *n)), Ok(1));
    let seen = with_message("dropped-job", "did not run a hand-off");
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].level, Level::WARN);
}

#[test]
fn handoff_after_shutdown_is_logged_as_warning() {
    record();
    let scheduler = Scheduler::builder().workers(1).build().unwrap();
    assert!(scheduler.shutdown(common::DEADLINE));
    let r = named("no-worker")
        .scheduler(&scheduler)
        .dispatch(Dispatch::Pool)
        .build(1)
        .unwrap();
    assert_eq!(outcome(r.submit(|n| *n)), Ok(1));
    let seen = with_message("no-worker", "no worker");
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].level, Level::WARN);
}

/// Each long task is warned of once, during its run and not at its end.
#[test]
fn slow_task_is_logged_once_during_run() {
    record();
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let name = format!("slow-{dispatch:?}");
        let limit = Duration::from_millis(10);
        let r = named(&name).dispatch(dispatch).slow_task(limit);
        let r = r.build(()).unwrap();
        let warnings = || with_message(&name, "has been running for long");
        let (inside, gate) = (r.clone(), Gate::new());
        let opened = gate.clone();
        let submitter = thread::spawn(move || {
            let task = inside.task().name("stuck").submit(move |()| opened.wait());
            outcome(task)
        });
        wait_until("the watchdog warns", || !warnings().is_empty());
        // Behind the long task, a short task and a second long task.
        let short = r.task().name("short").submit(|()| ());
        let again = r.task().name("again").submit({
            let name = name.clone();
            move |()| {
                wait_until("the watchdog warns again", || {
                    with_message(&name, "has been running for long").len() == 2
                });
            }
        });
        gate.open();
        assert_eq!(join(submitter).unwrap(), Ok(()));
        assert_eq!((outcome(short), outcome(again)), (Ok(()), Ok(())));
        let seen = warnings();
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert!(seen.iter().all(|e| e.level == Level::WARN));
        assert!(seen[0].fields.contains("stuck") && seen[1].fields.contains("again"));
        assert!(with_message(&name, "a task ran for long").is_empty());
        assert!(r.stats().longest_task >= limit);
    }
}
