//! Runs one path many times, so that an instruction counter can watch.
//!
//! ```text
//! instructions PATH N     # runs PATH N times
//! instructions            # lists the paths
//! ```
//!
//! `ci/instructions.sh` runs each path under callgrind with two values of N. The difference is the
//! cost of the passes between them, without start and end.

use captor::Resource;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[derive(Default)]
struct Topic {
    count: u64,
    words: [u64; 8],
}

impl Topic {
    #[inline]
    fn touch(&mut self) -> u64 {
        self.count += 1;
        let i = self.count as usize % 8;
        self.words[i] = self.words[i].wrapping_add(self.count);
        self.count
    }
}

type Path = (&'static str, fn(u64));

const PATHS: &[Path] = &[
    ("idle-parking_lot", |n| {
        let m = parking_lot::Mutex::new(Topic::default());
        for _ in 0..n {
            black_box(black_box(&m).lock().touch());
        }
    }),
    ("idle-submit", |n| {
        let r = Resource::new(Topic::default());
        for _ in 0..n {
            black_box(black_box(&r).submit(|t| t.touch()).wait().unwrap());
        }
    }),
    ("idle-poll", |n| {
        let r = Resource::new(Topic::default());
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..n {
            let task = pin!(black_box(&r).submit(|t| t.touch()));
            let Poll::Ready(outcome) = task.poll(&mut cx) else {
                panic!("an idle resource runs the task at once");
            };
            black_box(outcome.unwrap());
        }
    }),
    ("idle-with", |n| {
        let r = Resource::new(Topic::default());
        for _ in 0..n {
            black_box(black_box(&r).with(|t| t.touch()).unwrap());
        }
    }),
    ("idle-execute", |n| {
        let r = Resource::new(Topic::default());
        for _ in 0..n {
            black_box(&r)
                .execute(|t| {
                    t.touch();
                })
                .unwrap();
        }
    }),
    // A task that is submitted from inside a task of the same resource is queued. The queued task
    // runs when the outer task has finished.
    ("queued-execute", |n| {
        queued(n, |r| {
            r.execute(|t| {
                t.touch();
            })
            .unwrap()
        });
    }),
    ("queued-submit", |n| {
        queued(n, |r| drop(r.submit(|t| t.touch())));
    }),
    ("queued-submit-poll", |n| {
        queued(n, |r| {
            let mut cx = Context::from_waker(Waker::noop());
            let mut task = pin!(r.submit(|t| t.touch()));
            assert!(task.as_mut().poll(&mut cx).is_pending());
        });
    }),
];

/// Queues eight tasks at a time. Eight is within the capture limit, so one capture runs them all,
/// however slow the counting machine is.
fn queued(n: u64, mut submit: impl FnMut(&Resource<Topic>) + Send) {
    let r = Resource::builder()
        .capture_time(Duration::MAX)
        .build(Topic::default())
        .expect("valid settings");
    for _ in 0..n / 8 {
        r.with(|_| (0..8).for_each(|_| submit(&r))).unwrap();
    }
    assert_eq!(r.with(|t| t.count), Ok(n / 8 * 8));
}

fn main() {
    let mut args = std::env::args().skip(1);
    let Some(wanted) = args.next() else {
        PATHS.iter().for_each(|(name, _)| println!("{name}"));
        return;
    };
    let n = args.next().and_then(|n| n.parse().ok()).expect("PATH N");
    let (_, path) = PATHS
        .iter()
        .find(|(name, _)| *name == wanted)
        .expect("a path that is listed");
    path(n);
}
