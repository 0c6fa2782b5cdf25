//! The work on the shared value: the least work that a topic of a broker does, and as much more as
//! a row asks for.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A counter, eight words, and eight cache lines for longer work.
#[derive(Default)]
pub struct Topic {
    pub count: u64,
    words: [u64; 8],
    lines: [[u64; 8]; 8],
}

/// A piece of work: touch the topic, then pass over its cache lines `passes` times.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    passes: u32,
}

impl Op {
    /// Touches the counter and one word, in a few nanoseconds.
    pub const TINY: Op = Op { passes: 0 };

    /// Returns work that takes about `time` on this machine, if the thread is alone.
    pub fn lasting(time: Duration) -> Op {
        Op {
            passes: passes(time),
        }
    }

    #[inline(always)]
    pub fn run(self, topic: &mut Topic) -> u64 {
        topic.count += 1;
        let i = topic.count as usize % 8;
        topic.words[i] = topic.words[i].wrapping_add(topic.count);
        if self.passes > 0 {
            go_over(&mut topic.lines, self.passes);
        }
        topic.count
    }
}

/// The work that a caller does on its own data between calls.
pub struct Private {
    lines: [[u64; 8]; 8],
    passes: u32,
}

impl Private {
    pub fn lasting(time: Duration) -> Private {
        Private {
            lines: [[1; 8]; 8],
            passes: passes(time),
        }
    }

    #[inline]
    pub fn work(&mut self) {
        if self.passes > 0 {
            go_over(&mut self.lines, self.passes);
        }
    }
}

#[inline(never)]
fn go_over(lines: &mut [[u64; 8]; 8], passes: u32) {
    for pass in 0..u64::from(passes) {
        for line in lines.iter_mut() {
            line[0] = black_box(line[0].rotate_left(7) ^ pass);
        }
    }
}

fn passes(time: Duration) -> u32 {
    static PER_MICROSECOND: OnceLock<f64> = OnceLock::new();
    let rate = PER_MICROSECOND.get_or_init(|| {
        let mut lines = [[1; 8]; 8];
        const PASSES: u32 = 20_000;
        let best = (0..20)
            .map(|_| {
                let start = Instant::now();
                go_over(&mut lines, PASSES);
                start.elapsed()
            })
            .min();
        f64::from(PASSES) / (best.unwrap_or_default().as_secs_f64() * 1e6)
    });
    (rate * time.as_secs_f64() * 1e6).round() as u32
}
