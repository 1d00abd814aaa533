//! Writes lines of the audit file, in a thread of its own, so that nothing waits for a disk.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::SystemTime,
};

use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use serde_json::Value;

use super::{config::AuditConfig, digest::Sha256};
use crate::{
    error::{Code, Error, Kind},
    plugin::wire::{members, to_json, value},
    wire::rfc3339,
};

/// Lines that wait to be written. One more is lost, and counted.
const MAX_WAITING: usize = 1_024;
/// Most bytes of a line that is read again to go on after it.
const MAX_LINE: u64 = 64 << 10;

/// How much an event matters, as a number of Go's.
#[derive(Debug, Clone, Copy)]
pub(super) enum Level {
    Info = 0,
    Critical = 2,
    Security = 3,
}

pub(super) type Context = BTreeMap<&'static str, Value>;

/// Where lines are sent to be written.
#[derive(Debug, Clone)]
pub(super) struct Audit {
    to: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Entry {
    at: SystemTime,
    level: Level,
    event: &'static str,
    context: Context,
}

impl Audit {
    /// Opens the file, to go on at its end. The thread ends with the last clone.
    pub(super) fn open(config: &AuditConfig, lost: Arc<AtomicU64>) -> Result<Self, Error> {
        let cannot = |error: io::Error| {
            Error::not_sent(Kind::InvalidConfig)
                .coded(Some(Code::SECURITY_1806))
                .message(format!("cannot open the audit file `{}`", config.file.escape_debug()))
                .caused_by(error)
        };
        let mut trail = Trail::open(Path::new(&config.file), config.max_bytes).map_err(cannot)?;
        let (to, from) = sync_channel(MAX_WAITING);
        let uncounted = lost.clone();
        let write = move || trail.write_all(&from, &uncounted);
        let thread = thread::Builder::new().name("upstream-audit".to_owned());
        thread.stack_size(256 << 10).spawn(write).map_err(cannot)?;
        Ok(Self { to, lost })
    }

    pub(super) fn note(&self, level: Level, event: &'static str, context: Context) {
        let entry = Entry { at: SystemTime::now(), level, event, context };
        if self.to.try_send(entry).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A line, in the order in which Go writes its members.
#[derive(Serialize)]
struct Written<'a> {
    timestamp: &'a str,
    level: u8,
    event: &'a str,
    component: &'a str,
    process_id: u32,
    process_name: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    context: &'a Context,
    checksum: String,
}

/// As Go calls the library that writes its own.
const COMPONENT: &str = "argus";

/// The line of an event, and what the next one is chained to. Go's checksum covers little of the line, and
/// not that none is missing; `chain` is the hash of the `chain` before and of all of this line before it.
fn line(entry: &Entry, before: &str) -> (Vec<u8>, String) {
    let timestamp = rfc3339(Some(entry.at));
    let covered = format!("{timestamp}:{}:{COMPONENT}:<nil>:<nil>", entry.event);
    let written = Written {
        timestamp: &timestamp,
        level: entry.level as u8,
        event: entry.event,
        component: COMPONENT,
        process_id: std::process::id(),
        process_name: COMPONENT,
        context: &entry.context,
        checksum: Sha256::of(covered).to_string(),
    };
    // It is made of texts and numbers.
    let mut text = to_json(&written).unwrap_or_default();
    text.pop();
    let chain = Sha256::of([before.as_bytes(), &text].concat()).to_string();
    text.extend(format!(",\"chain\":\"{chain}\"}}\n").bytes());
    (text, chain)
}

/// The file, and what its last line is.
#[derive(Debug)]
struct Trail {
    path: PathBuf,
    file: File,
    length: u64,
    most: u64,
    chain: String,
    /// Whether a part of a line may stand at its end.
    is_torn: bool,
    is_failing: bool,
}

impl Trail {
    fn open(path: &Path, most: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|of| !of.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        }
        let (mut file, length) = append(path)?;
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(length.saturating_sub(MAX_LINE)))?;
        Read::by_ref(&mut file).take(MAX_LINE).read_to_end(&mut end)?;
        let is_torn = end.last().is_some_and(|last| *last != b'\n');
        let end = String::from_utf8_lossy(&end);
        let chain = end.lines().rev().find_map(|line| {
            let [chain] = members(line, ["chain"]).ok()?;
            value::<Option<String>>(chain).ok()?
        });
        let chain = chain.unwrap_or_default();
        Ok(Self { path: path.to_owned(), file, length, most, chain, is_torn, is_failing: false })
    }

    fn write_all(&mut self, from: &Receiver<Entry>, lost: &AtomicU64) {
        while let Ok(entry) = from.recv() {
            let result = self.write(&entry);
            if let Err(error) = &result {
                lost.fetch_add(1, Ordering::Relaxed);
                if !self.is_failing {
                    let code = Code::SECURITY_1806.as_str();
                    tracing::error!(code, file = ?self.path, %error, "cannot write the audit file");
                }
            }
            self.is_failing = result.is_err();
        }
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let (mut text, chain) = line(entry, &self.chain);
        if self.is_torn {
            text.insert(0, b'\n');
        }
        let length = text.len() as u64;
        if self.length > 0 && self.length + length > self.most {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            fs::rename(&self.path, old)?;
            (self.file, self.length) = append(&self.path)?;
        }
        self.is_torn = true;
        self.file.write_all(&text)?;
        self.file.sync_data()?;
        self.is_torn = false;
        self.length += length;
        self.chain = chain;
        Ok(())
    }
}

/// Opens a file to add to it; its length too.
fn append(path: &Path) -> io::Result<(File, u64)> {
    // One that is a FIFO must not be waited for.
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))?);
    let found = file.metadata()?;
    Ok((file, if found.is_file() { found.len() } else { 0 }))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn entry(number: u32) -> Entry {
        let context = [
            ("authorized", Value::from(false)),
            ("plugin_name", "tax".into()),
            ("plugin_type", "exec".into()),
            ("policy", "strict".into()),
            ("violations", number.into()),
        ];
        Entry {
            at: UNIX_EPOCH + Duration::new(1_758_362_400, 123_456_789),
            level: Level::Security,
            event: "plugin_rejected",
            context: context.into(),
        }
    }

    #[test]
    fn a_line_is_byte_for_byte_that_of_go_and_a_chain() {
        let (text, chain) = line(&entry(1), "");
        let text = String::from_utf8(text).unwrap();
        let own = std::process::id();
        let start = format!(
            r#"{{"timestamp":"2025-09-20T10:00:00.123456789Z","level":3,"event":"plugin_rejected","component":"argus","process_id":{own},"process_name":"argus","context":{{"authorized":false,"plugin_name":"tax","plugin_type":"exec","policy":"strict","violations":1}},"checksum":"76a69e6b075444bf5848aae44d00755b50d411c4fe3feda423125f5c175cf950""#
        );
        assert_eq!(text, format!("{start},\"chain\":\"{chain}\"}}\n"));
        assert_eq!(chain, Sha256::of(&start).to_string());
        assert_eq!(line(&entry(1), &chain).1, Sha256::of(chain + &start).to_string());
    }

    #[test]
    fn a_file_is_gone_on_with_after_a_part_of_a_line_and_stays_short() {
        let folder = std::env::temp_dir().join(format!("tu-audit-{}", std::process::id()));
        let path = folder.join("a").join("audit.jsonl");
        let mut trail = Trail::open(&path, 1 << 20).unwrap();
        trail.write(&entry(1)).unwrap();
        trail.file.write_all(b"{\"timestamp\":\"2").unwrap();
        let mut trail = Trail::open(&path, 1 << 20).unwrap();
        trail.write(&entry(2)).unwrap();
        let (first, chain) = line(&entry(1), "");
        let second = line(&entry(2), &chain).0;
        let torn = b"{\"timestamp\":\"2\n";
        let both = [&first[..], torn, &second].concat();
        assert_eq!(fs::read(&path).unwrap(), both);
        trail.most = 1_000;
        trail.write(&entry(3)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), line(&entry(3), &line(&entry(2), &chain).1).0);
        assert_eq!(fs::read(path.with_extension("jsonl.1")).unwrap(), both);
        fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_full_disk_loses_is_counted_and_holds_nothing_up() {
        let lost = Arc::new(AtomicU64::new(0));
        let audit = Audit::open(&AuditConfig::new("/dev/full"), lost.clone()).unwrap();
        for number in 0..3_000 {
            audit.note(Level::Info, "plugin_authorized", entry(number).context);
        }
        drop(audit);
        while lost.load(Ordering::Relaxed) < 3_000 {
            thread::yield_now();
        }
    }
}
