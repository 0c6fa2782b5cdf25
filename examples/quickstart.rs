//! Counts the words of a few thousand files on all cores, into one index that all threads share.
//!
//! ```text
//! cargo run --release --example quickstart              # this crate and its dependencies
//! cargo run --release --example quickstart -- PATH...   # your files and folders
//! cargo run --release --example quickstart -- --mib 500 PATH...
//! ```
//!
//! The example shows the three ways to use a [`Resource`]:
//!
//! - `execute`: a thread submits the counts of each file and continues with the next file.
//! - `submit`: after each batch of files, a thread asks how large the index has become. The
//!   answers are collected at the end.
//! - `with`: the main thread asks for the progress, and reads the result.
//!
//! The result is compared with the result of one thread that does the same work. The time is
//! compared with the time of the same threads around a `std::sync::Mutex`.
//!
//! The example reads at most 10,000 files and 64 MiB; `--mib` sets another size. In folders, it
//! leaves out hidden files and folders, and folders named `target`. A file that cannot be read, or
//! is not UTF-8 text, is reported and left out. The exit code is 1 if there was nothing to read or
//! if the results differ, and 2 if the arguments are wrong.

use captor::{Completion, Resource, SubmitError, TaskError};
use corpus::{Args, Corpus};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The value that the threads share.
#[derive(Debug, Default, PartialEq)]
struct Index {
    words: HashMap<String, Entry>,
    files: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Entry {
    occurrences: u64,
    files: u64,
}

/// The size of the index at some time.
#[derive(Clone, Copy, Debug)]
struct Size {
    files: u64,
    words: u64,
}

impl Index {
    /// Adds the words of one file.
    fn merge(&mut self, counts: HashMap<String, u64>) {
        self.files += 1;
        for (word, n) in counts {
            let entry = self.words.entry(word).or_default();
            entry.occurrences += n;
            entry.files += 1;
        }
    }

    fn size(&self) -> Size {
        Size {
            files: self.files,
            words: self.words.len() as u64,
        }
    }

    fn top(&self, n: usize) -> Vec<(String, Entry)> {
        let mut words: Vec<_> = self.words.iter().collect();
        words.sort_by_key(|&(word, entry)| (Reverse(entry.occurrences), word));
        let top = words.into_iter().take(n);
        top.map(|(word, entry)| (word.clone(), *entry)).collect()
    }

    fn occurrences(&self) -> u64 {
        self.words.values().map(|entry| entry.occurrences).sum()
    }
}

/// Builds the index by many threads, with the index in a [`Resource`].
fn with_captor(
    texts: &[String],
    index: &Resource<Index>,
    bar: &ProgressBar,
) -> Result<Vec<Size>, TaskError> {
    // Each thread calls this with a batch of files. `execute` does not wait: if another thread
    // holds the index, that thread runs this merge too.
    let count = |batch: &[String]| -> Result<Completion<Size>, SubmitError> {
        for text in batch {
            let counts = count_words(text);
            index.execute(move |index| index.merge(counts))?;
        }
        // This task runs after this batch's merges, so its answer includes them.
        Ok(index.submit(|index| index.size()))
    };
    // `with` blocks the main thread until the answer is there.
    let progress = || {
        if let Ok(files) = index.with(|index| index.files) {
            bar.set_position(files);
        }
    };
    let submitted = on_many_threads(texts, count, progress);
    submitted.into_iter().map(|size| size?.wait()).collect()
}

/// Builds the index by many threads, with the index in a mutex.
fn with_mutex(texts: &[String], index: &Mutex<Index>) -> Vec<Size> {
    let lock = || index.lock().unwrap_or_else(PoisonError::into_inner);
    let count = |batch: &[String]| {
        for text in batch {
            let counts = count_words(text);
            lock().merge(counts);
        }
        lock().size()
    };
    let progress = || {
        let _files = lock().files;
    };
    on_many_threads(texts, count, progress)
}

/// Builds the index on one thread.
fn alone(texts: &[String]) -> Index {
    let mut index = Index::default();
    for text in texts {
        index.merge(count_words(text));
    }
    index
}

/// Counts words. A word is a run of letters of two bytes or more, in lower case.
fn count_words(text: &str) -> HashMap<String, u64> {
    let mut counts = HashMap::new();
    for word in text.split(|c: char| !c.is_alphabetic()) {
        if word.len() > 1 {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    counts
}

/// Runs `work` on all texts, a batch at a time, on many threads. Meanwhile, calls `progress` on
/// the calling thread. Returns the results of `work`.
fn on_many_threads<R: Send>(
    texts: &[String],
    work: impl Fn(&[String]) -> R + Sync,
    progress: impl Fn(),
) -> Vec<R> {
    let threads = thread_count();
    let batches: Vec<_> = texts
        .chunks((texts.len() / threads / 8).clamp(1, 16))
        .collect();
    let next = AtomicUsize::new(0);
    let (results, incoming) = mpsc::channel();
    let mut all = Vec::new();
    thread::scope(|s| {
        for _ in 0..threads {
            let results = results.clone();
            s.spawn(|| {
                let results = results; // dropped at the end of the thread
                while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let _ = results.send(work(batch)); // the receiver outlives the threads
                }
            });
        }
        drop(results);
        loop {
            match incoming.recv_timeout(Duration::from_millis(50)) {
                Ok(result) => all.push(result),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            progress();
        }
    });
    all
}

/// Returns the number of cores, and at least 4, so that threads contend on small machines too.
fn thread_count() -> usize {
    thread::available_parallelism().map_or(4, |n| n.get().max(4))
}

/// How many times captor and the mutex run, in turn.
const ROUNDS: usize = 5;

/// Runs captor and the mutex in turn. Returns `false` if either builds a wrong index.
fn run(corpus: &Corpus, out: &mut impl Write) -> Result<bool, Box<dyn Error>> {
    let texts = &corpus.texts;
    let limit = if corpus.cut {
        ", as much as the limit allows (see --mib)"
    } else {
        ""
    };
    writeln!(
        out,
        "{} threads, {} files, {} of text{limit}",
        thread_count(),
        HumanCount(texts.len() as u64),
        HumanBytes(texts.iter().map(|text| text.len() as u64).sum()),
    )?;

    let expected = alone(texts);
    let (mut captor_times, mut mutex_times) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let index = Resource::new(Index::default());
        let bar = progress_bar(texts.len(), round == 0);
        let start = Instant::now();
        let sizes = with_captor(texts, &index, &bar)?;
        captor_times.push(start.elapsed());
        bar.finish_and_clear();

        // The closure of `with` may borrow, so the comparison copies nothing.
        if !index.with(|index| *index == expected)? {
            writeln!(out, "WRONG: this is not the index that one thread makes")?;
            return Ok(false);
        }
        if round == 0 {
            show_growth(sizes, out)?;
            show_index(&index, out)?;
        }

        let index = Mutex::new(Index::default());
        let start = Instant::now();
        with_mutex(texts, &index);
        mutex_times.push(start.elapsed());
        if index.into_inner()? != expected {
            writeln!(out, "WRONG: the mutex has not the index of one thread")?;
            return Ok(false);
        }
    }
    compare(captor_times, mutex_times, out)?;
    Ok(true)
}

fn show_growth(mut sizes: Vec<Size>, out: &mut impl Write) -> io::Result<()> {
    sizes.sort_by_key(|size| size.files);
    write!(out, "words known after a quarter, half, all of the files:")?;
    let all = sizes.last().map_or(0, |size| size.files);
    for quarters in [1, 2, 4] {
        if let Some(size) = sizes.iter().find(|s| s.files * 4 >= all * quarters) {
            write!(out, " {}", HumanCount(size.words))?;
        }
    }
    writeln!(out)
}

/// Prints the contents of the index and the statistics of its resource.
fn show_index(index: &Resource<Index>, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    // Other tasks wait while this task runs. So the task only reads, and the printing follows
    // after the task.
    let (occurrences, top) = index.with(|index| (index.occurrences(), index.top(10)))?;
    let occurrences = HumanCount(occurrences);
    writeln!(
        out,
        "words counted: {occurrences}, as by one thread alone\n"
    )?;
    for (word, entry) in top {
        let times = HumanCount(entry.occurrences).to_string();
        let files = HumanCount(entry.files).to_string();
        writeln!(out, "  {word:<12} {times:>10} times in {files:>6} files")?;
    }

    let stats = index.stats();
    writeln!(out, "\n  tasks run           {:>8}", stats.completed)?;
    writeln!(out, "  most at once        {:>8}", stats.max_outstanding)?;
    writeln!(out, "  hand-offs           {:>8}", stats.handoffs)?;
    writeln!(
        out,
        "  lent by submitters  {:>8} to tasks of others\n",
        format!("{:.1?}", stats.lent)
    )?;
    Ok(())
}

fn compare(
    mut captor: Vec<Duration>,
    mut mutex: Vec<Duration>,
    out: &mut impl Write,
) -> io::Result<()> {
    const LAST: usize = ROUNDS - 1;
    captor.sort();
    mutex.sort();
    let verdict = match (captor[0], mutex[0]) {
        (a, b) if a.min(b) < Duration::from_millis(50) => "too short to compare",
        (best, _) if best > mutex[LAST] => "the mutex is faster here",
        (_, best) if best > captor[LAST] => "captor is faster here",
        _ => "no clear difference",
    };
    let range = |times: &[Duration]| format!("{:.1?} to {:.1?}", times[0], times[LAST]);
    writeln!(
        out,
        "{ROUNDS} runs each: {verdict}\n  \
           captor             {}\n  \
           std::sync::Mutex   {}\n\
         Both spend most of the time on counting, which threads do side by side. The\n\
         difference is while the index is busy: with the mutex, a thread waits. With\n\
         captor, a thread queues the merge and continues with the next file.",
        range(&captor),
        range(&mutex)
    )
}

/// Makes a bar that draws to stderr. If stderr is not a terminal, the bar draws nothing.
fn progress_bar(files: usize, visible: bool) -> ProgressBar {
    if !visible {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} files");
    let bar = ProgressBar::new(files as u64);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn main() -> ExitCode {
    let args = match Args::parse() {
        Ok(args) => args,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    let corpus = match args.read() {
        Ok(corpus) => corpus,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::FAILURE;
        }
    };
    match run(&corpus, &mut io::stdout()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
