//! The memory of a resource: one allocation of 96 bytes beyond the value, and none when the
//! resource is used. A program may therefore have very many resources.

#![cfg(not(any(captor_loom, captor_shuttle)))]

use allocation_counter::measure;
use captor::{Resource, ResourceBuilder, Scheduler};
use std::hint::black_box;

/// The bytes that a resource may take beyond its value.
const OVERHEAD: usize = 96;

#[cfg(debug_assertions)]
const MANY: usize = 100_000;
#[cfg(not(debug_assertions))]
const MANY: usize = 1_000_000;

/// Makes the global scheduler, which the first resource needs.
fn warm_up() {
    black_box(Resource::new(0).with(|n| *n)).unwrap();
}

#[track_caller]
fn assert_small<T: Send + 'static>(value: T) {
    warm_up();
    // The value starts at a word boundary.
    let limit = OVERHEAD + size_of::<T>().next_multiple_of(size_of::<usize>());
    let mut made = None;
    let info = measure(|| made = Some(Resource::new(value)));
    assert_eq!(info.count_total, 1, "{info:?}");
    assert!(info.bytes_total <= limit as u64, "{info:?} beyond {limit}");

    let r = made.unwrap();
    let used = measure(|| {
        r.execute(|_| ()).unwrap();
        r.with(|_| ()).unwrap();
        r.submit(|_| ()).wait().unwrap();
        drop(r.clone());
        assert_eq!(r.stats().completed, 3);
    });
    assert_eq!(used.count_total, 0, "{used:?}");

    let dropped = measure(|| drop(r));
    let net = dropped.bytes_current + info.bytes_current;
    assert_eq!(net, 0, "{dropped:?}");
}

#[test]
fn idle_resource_is_a_single_small_allocation() {
    assert_small(());
    assert_small(0_u8);
    assert_small(0_u64);
    assert_small([0_u32; 3]);
    assert_small([0_u64; 8]);
    assert_small([0_u8; 100]);
    assert_small([0_u8; 4096]);
    assert_small(Vec::<String>::new());
    assert_small(None::<Box<u64>>);
}

#[test]
fn handles_are_word_sized() {
    assert_eq!(size_of::<Resource<[u64; 100]>>(), size_of::<usize>());
    assert_eq!(
        size_of::<captor::WeakResource<[u64; 100]>>(),
        size_of::<usize>()
    );
}

#[test]
fn settings_cost_a_second_allocation() {
    warm_up();
    let with = |builder: ResourceBuilder| measure(|| drop(black_box(builder.build(0_u64))));
    assert_eq!(with(Resource::builder()).count_total, 1);
    assert_eq!(with(Resource::builder().capture_limit(2)).count_total, 2);
    // The settings, the name, and an entry in the scheduler's list of named resources.
    let named = with(Resource::builder().name("n"));
    assert!(named.count_total <= 4, "{named:?}");
    assert_eq!(named.count_current, 0);
}

#[test]
fn many_resources_stay_within_byte_limit() {
    warm_up();
    let mut all: Vec<Resource<u64>> = Vec::with_capacity(MANY);
    let limit = MANY * (OVERHEAD + size_of::<u64>());
    let info = measure(|| {
        for n in 0..MANY as u64 {
            all.push(Resource::new(n));
        }
        for (n, r) in all.iter().enumerate() {
            r.execute(|v| *v += 1).unwrap();
            assert_eq!(r.with(|v| *v), Ok(n as u64 + 1));
        }
    });
    assert_eq!(info.count_total, MANY as u64);
    assert!(info.bytes_max <= limit as u64, "{info:?}");
    let dropped = measure(|| all.clear());
    assert_eq!(dropped.bytes_current + info.bytes_current, 0);
    assert_eq!(dropped.count_current + info.count_current, 0);
}

/// Measures very many resources with a suspended task each. No task is lost when two workers resume
/// them.
#[test]
fn suspended_tasks_take_256_bytes_and_all_resume() {
    const WAITING: usize = 100_000;
    warm_up();
    let s = Scheduler::builder().workers(2).build().unwrap();
    let resources: Vec<_> = (0..WAITING).map(|_| s.resource(0_u32)).collect();
    let (sends, receives): (Vec<_>, Vec<_>) = (0..WAITING)
        .map(|_| futures::channel::oneshot::channel::<u32>())
        .unzip();
    let mut tasks = Vec::with_capacity(WAITING);
    let info = measure(|| {
        for (r, receive) in resources.iter().zip(receives) {
            tasks.push(r.submit_async(async move |n: &mut u32| {
                *n = receive.await.unwrap();
                *n
            }));
        }
    });
    let each = info.bytes_current / WAITING as i64;
    println!("a task that waits takes {each} bytes, its future's included");
    assert!(each <= 256, "{each}");
    let (first, second) = sends
        .into_iter()
        .enumerate()
        .partition::<Vec<_>, _>(|(n, _)| n % 2 == 0);
    std::thread::scope(|scope| {
        for half in [first, second] {
            scope.spawn(|| {
                for (n, send) in half {
                    send.send(n as u32).unwrap();
                }
            });
        }
    });
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.wait(), Ok(n as u32));
    }
    assert!(s.stats().threads <= 2);
}

/// Measures very many pending timers. Closing the resource ends all of them.
#[test]
fn pending_timers_take_at_most_512_bytes() {
    const TIMERS: usize = 100_000;
    const LATER: std::time::Duration = std::time::Duration::from_secs(3600);
    warm_up();
    let s = Scheduler::builder().workers(1).build().unwrap();
    let r = s.resource(0_u32);
    let mut timers = Vec::with_capacity(TIMERS);
    let info = measure(|| {
        for _ in 0..TIMERS {
            timers.push(r.submit_after(LATER, |n| *n += 1));
        }
    });
    let each = info.bytes_current / TIMERS as i64;
    println!("a timer takes {each} bytes");
    assert!(each <= 512, "{each}");
    r.close();
    for timer in timers {
        assert_eq!(timer.wait(), Err(captor::TaskError::Closed));
    }
}
