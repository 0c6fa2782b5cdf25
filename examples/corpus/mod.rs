//! The input of `quickstart`: the files and folders of the command line, or this crate and the
//! sources of its dependencies. Nothing in this module is about captor.

use std::env;
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process;
use walkdir::{DirEntry, WalkDir};

/// The texts, in memory, so that all counting threads read the same texts and no thread waits for
/// a disk.
pub struct Corpus {
    pub texts: Vec<String>,
    /// The limit was reached, so some texts were left out.
    pub cut: bool,
}

const DEFAULT_MIB: u64 = 64;
const MAX_MIB: u64 = 1 << 20;
const MAX_FILES: usize = 10_000;
const MAX_COMPLAINTS: usize = 10;
const USAGE: &str = "usage: quickstart [--mib N] [PATH...]";

/// The command line.
pub struct Args {
    paths: Vec<PathBuf>,
    mib: u64,
}

impl Args {
    pub fn parse() -> Result<Args, String> {
        let (mut paths, mut mib) = (Vec::new(), DEFAULT_MIB);
        let mut args = env::args_os().skip(1);
        while let Some(arg) = args.next() {
            if arg == "--mib" {
                let given = args.next().and_then(|n| n.to_str()?.parse().ok());
                mib = given
                    .filter(|n| (1..=MAX_MIB).contains(n))
                    .ok_or_else(|| format!("--mib needs a number between 1 and {MAX_MIB}"))?;
            } else if arg == "-h" || arg == "--help" {
                println!("{USAGE}");
                process::exit(0);
            } else if arg.as_encoded_bytes().starts_with(b"-") {
                let arg = arg.to_string_lossy();
                return Err(format!("no such option: {arg}\n{USAGE}"));
            } else {
                paths.push(arg.into());
            }
        }
        Ok(Args { paths, mib })
    }

    /// Reads the files and folders of the arguments. Reports unreadable files on stderr. Fails if
    /// no text is left.
    pub fn read(&self) -> Result<Corpus, String> {
        let mut reader = Reader {
            texts: Vec::new(),
            left: self.mib << 20,
            cut: false,
            skipped: 0,
        };
        if self.paths.is_empty() {
            let here = Path::new(env!("CARGO_MANIFEST_DIR"));
            reader.read_all(here, is_source);
            for dependency in dependencies(here) {
                reader.read_all(&dependency, is_source);
            }
        }
        for path in &self.paths {
            reader.read_all(path, |_| true);
        }
        reader.finish()
    }
}

/// Collects texts, up to a limit.
struct Reader {
    texts: Vec<String>,
    /// The number of bytes that may still be read.
    left: u64,
    cut: bool,
    skipped: usize,
}

impl Reader {
    /// Reads a file, or the `wanted` files of a folder.
    fn read_all(&mut self, root: &Path, wanted: fn(&Path) -> bool) {
        let walk = WalkDir::new(root).follow_links(true).sort_by_file_name();
        for entry in walk.into_iter().filter_entry(is_visible) {
            if self.cut {
                return;
            }
            match entry {
                Ok(entry) if entry.file_type().is_dir() || !wanted(entry.path()) => {}
                Ok(entry) => self.read(&entry),
                Err(error) => match (error.path(), error.io_error()) {
                    (Some(path), Some(why)) => self.skip_file(path, why),
                    _ => self.skip(error), // walkdir reports a loop of links
                },
            }
        }
    }

    fn read(&mut self, entry: &DirEntry) {
        let path = entry.path();
        if !entry.file_type().is_file() {
            return self.skip_file(path, "not a regular file");
        }
        if self.texts.len() == MAX_FILES {
            self.cut = true;
            return;
        }
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(self.left + 1).read_to_end(&mut bytes));
        match read.map(|n| (n as u64, String::from_utf8(bytes))) {
            Ok((n, _)) if n > self.left => self.cut = true,
            Ok((n, Ok(text))) => {
                self.left -= n;
                self.texts.push(text);
            }
            Ok((_, Err(_))) => self.skip_file(path, "not UTF-8 text"),
            Err(error) => self.skip_file(path, error),
        }
    }

    fn skip_file(&mut self, path: &Path, why: impl Display) {
        self.skip(format_args!("{}: {why}", path.display()));
    }

    fn skip(&mut self, what: impl Display) {
        self.skipped += 1;
        if self.skipped <= MAX_COMPLAINTS {
            eprintln!("skipped {what}");
        }
    }

    fn finish(self) -> Result<Corpus, String> {
        if self.skipped > MAX_COMPLAINTS {
            eprintln!("skipped {} more", self.skipped - MAX_COMPLAINTS);
        }
        match (self.texts.is_empty(), self.cut) {
            (false, cut) => Ok(Corpus {
                texts: self.texts,
                cut,
            }),
            (true, false) => Err("there was no text to read".to_owned()),
            (true, true) => Err("the first file is over the limit: --mib raises it".to_owned()),
        }
    }
}

/// Checks whether the entry is neither hidden nor a folder named `target`.
fn is_visible(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let hidden = name.as_encoded_bytes().starts_with(b".");
    // A path of the command line is always read, whatever its name.
    entry.depth() == 0 || !(hidden || entry.file_type().is_dir() && name == "target")
}

fn is_source(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    matches!(extension, Some("rs" | "md" | "toml" | "txt"))
}

/// Returns the source folders of the packages in `Cargo.lock` that cargo has unpacked.
fn dependencies(manifest_dir: &Path) -> Vec<PathBuf> {
    let lock = fs::read_to_string(manifest_dir.join("Cargo.lock")).unwrap_or_default();
    let values = |key: &'static str| {
        let lines = lock.lines().filter_map(move |line| line.strip_prefix(key));
        lines.map(|value| value.trim_end_matches('"'))
    };
    let packages = values("name = \"").zip(values("version = \""));
    let packages: Vec<_> = packages.map(|(name, v)| format!("{name}-{v}")).collect();
    let in_registries = registries().into_iter().flat_map(|registry| {
        let folders = packages.iter().map(move |package| registry.join(package));
        folders.filter(|folder| folder.is_dir())
    });
    in_registries.collect()
}

/// Returns the folders that cargo unpacks packages to, one for each registry.
fn registries() -> Vec<PathBuf> {
    let home = || env::var_os("HOME").or_else(|| env::var_os("USERPROFILE"));
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| home().map(|home| Path::new(&home).join(".cargo")));
    let registries = cargo_home.and_then(|home| home.join("registry/src").read_dir().ok());
    let mut registries: Vec<_> = registries
        .into_iter()
        .flatten()
        .filter_map(io::Result::ok)
        .map(|entry| entry.path())
        .collect();
    registries.sort();
    registries
}
